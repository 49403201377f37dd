//! Targets.

use super::Extension;
use super::info::Info;
use std::net::IpAddr;

/// The effect of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// No effect that a later rule could see: `LOG`, `NFLOG` and the like.
    Continue,
    /// `MARK`: `mark = (mark & !clears) ^ flips`.
    Mark {
        /// The bits cleared.
        clears: u32,
        /// The bits flipped.
        flips: u32,
    },
    /// `DNAT`.
    Dnat {
        /// The new address; `None` leaves the address as it is.
        address: Option<IpAddr>,
        /// The new port; `None` leaves the port as it is.
        port: Option<u16>,
    },
    /// `SNAT` or `MASQUERADE`.
    Snat,
    /// `REJECT`.
    Reject {
        /// Whether it sends a TCP reset.
        reset: bool,
    },
    /// `REDIRECT` to this machine, to that port or to the same.
    Redirect {
        /// The new port; `None` leaves the port as it is.
        port: Option<u16>,
    },
    /// `CONNMARK`.
    ConnectionMark(ConnectionMark),
    /// `CT --notrack`, or `NOTRACK`.
    Notrack,
}

/// What `CONNMARK` does with the marks of the packet and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionMark {
    /// `ct mark = (ct mark & !clears) ^ flips`.
    Set {
        /// The bits cleared.
        clears: u32,
        /// The bits flipped.
        flips: u32,
    },
    /// `ct mark = (ct mark & !clears) ^ (mark & takes)`.
    Save {
        /// The bits cleared.
        clears: u32,
        /// The bits taken from the packet's mark.
        takes: u32,
    },
    /// `mark = (mark & !clears) ^ (ct mark & takes)`.
    Restore {
        /// The bits cleared.
        clears: u32,
        /// The bits taken from the connection's mark.
        takes: u32,
    },
}

/// `NF_NAT_RANGE_*`.
const MAP_IPS: u32 = 1;
const PROTO_SPECIFIED: u32 = 2;
/// Random and persistent choices. They have no effect with a single address and port.
const CHOICES: u32 = 0x4 | 0x8 | 0x10;

impl Extension {
    /// Reads the extension as a target, in an IPv4 or an IPv6 table; `None` if it is not known.
    #[must_use]
    pub fn as_target(&self, ipv4: bool) -> Option<Target> {
        let info = Info(&self.info);
        match (self.name.as_str(), self.revision) {
            (name, _) if WITHOUT_EFFECT.contains(&name) => Some(Target::Continue),
            ("NOTRACK", 0) => Some(Target::Notrack),
            ("CT", 0..=2) => {
                let (flags, zone) = (info.u16(0)?, info.u16(2)?);
                match (flags & !3, flags & 1, zone) {
                    (0, 1, 0) => Some(Target::Notrack),
                    // A helper, or which events are told.
                    (0, 0, 0) => Some(Target::Continue),
                    _ => None,
                }
            }
            ("CONNMARK", 1 | 2) => {
                let (mark, clears, takes) = (info.u32(0)?, info.u32(4)?, info.u32(8)?);
                let (shift, mode) = if self.revision == 1 { (0, info.u8(12)?) } else { (info.u8(13)?, info.u8(14)?) };
                (shift == 0).then_some(())?;
                Some(Target::ConnectionMark(match mode {
                    0 => ConnectionMark::Set { clears, flips: mark },
                    1 => ConnectionMark::Save { clears, takes },
                    2 => ConnectionMark::Restore { clears: takes, takes: clears },
                    _ => return None,
                }))
            }
            ("REDIRECT", 0) if ipv4 => redirect(info.u32(4)?, info.be16(16)?, info.be16(18)?),
            ("REDIRECT", 0) => redirect(info.u32(0)?, info.be16(36)?, info.be16(38)?),
            ("MARK", 2) => {
                let (flips, clears) = (info.u32(0)?, info.u32(4)?);
                Some(Target::Mark { clears, flips })
            }
            ("DNAT", 0) if ipv4 => dnat(info.u32(4)?, info.v4(8)?, info.v4(12)?, info.be16(16)?, info.be16(18)?),
            ("DNAT", 1 | 2) => {
                let address = |at| if ipv4 { info.v4(at) } else { info.v6(at) };
                dnat(info.u32(0)?, address(4)?, address(20)?, info.be16(36)?, info.be16(38)?)
            }
            ("SNAT" | "MASQUERADE", _) => Some(Target::Snat),
            ("REJECT", 0) => {
                const RESET: [u32; 2] = [7, 6];
                Some(Target::Reject { reset: info.u32(0)? == RESET[usize::from(!ipv4)] })
            }
            _ => None,
        }
    }
}

/// Targets that go on with the next rule, which can't see what they have done.
const WITHOUT_EFFECT: [&str; 16] = [
    "LOG",
    "NFLOG",
    "TRACE",
    "AUDIT",
    "TCPMSS",
    "CHECKSUM",
    "SET",
    "LED",
    "CLASSIFY",
    "DSCP",
    "TOS",
    "TEE",
    "TCPOPTSTRIP",
    "IDLETIMER",
    "SECMARK",
    "CONNSECMARK",
];

fn redirect(flags: u32, first_port: u16, last_port: u16) -> Option<Target> {
    let port = (flags & PROTO_SPECIFIED != 0).then_some(first_port);
    let known = flags & !(MAP_IPS | PROTO_SPECIFIED | CHOICES) == 0;
    (known && (port.is_none() || first_port == last_port)).then_some(Target::Redirect { port })
}

fn dnat(flags: u32, first: IpAddr, last: IpAddr, first_port: u16, last_port: u16) -> Option<Target> {
    let address = (flags & MAP_IPS != 0).then_some(first);
    let port = (flags & PROTO_SPECIFIED != 0).then_some(first_port);
    let known = flags & !(MAP_IPS | PROTO_SPECIFIED | CHOICES) == 0;
    let one = (address.is_none() || first == last) && (port.is_none() || first_port == last_port);
    (known && one).then_some(Target::Dnat { address, port })
}

#[cfg(test)]
mod tests {
    use super::super::extension;
    use super::*;
    use proptest::prelude::*;

    /// The names that `as_target` knows.
    const NAMES: [&str; 10] =
        ["MARK", "DNAT", "SNAT", "REJECT", "MASQUERADE", "CT", "NOTRACK", "CONNMARK", "REDIRECT", "LOG"];

    #[test]
    fn one_address_and_port_are_read_and_several_are_not() {
        let dnat = |last: [u8; 4]| {
            let mut info = [0; 20];
            info[0] = 1;
            info[4..8].copy_from_slice(&3_u32.to_ne_bytes());
            info[8..12].copy_from_slice(&[172, 17, 0, 2]);
            info[12..16].copy_from_slice(&last);
            info[16..].copy_from_slice(&[0, 80, 0, 80]);
            extension("DNAT", 0, &info).as_target(true)
        };

        let address = Some(IpAddr::from([172, 17, 0, 2]));
        assert_eq!(dnat([172, 17, 0, 2]), Some(Target::Dnat { address, port: Some(80) }));
        assert_eq!(dnat([172, 17, 0, 9]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_of_targets_panic(
            name in prop::sample::select(&NAMES[..]), revision in 0_u32..4,
            info in prop::collection::vec(any::<u8>(), 0..220), ipv4 in any::<bool>()
        ) {
            let _ = extension(name, revision, &info).as_target(ipv4);
        }
    }
}
