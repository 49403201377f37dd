//! Common matches and targets of iptables, read from their C structures.
//!
//! Structures and numbers follow `include/uapi/linux/netfilter/xt_*.h`, `netfilter_ipv4/ipt_*.h` and
//! `netfilter_ipv6/ip6t_*.h`. An unknown revision, flag or length makes the whole extension unknown.

use super::Extension;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The condition of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `comment`: always matches.
    Comment,
    /// `limit`: whether the packet keeps to a rate.
    Limit,
    /// `conntrack`.
    Conntrack(Conntrack),
    /// `addrtype`: the types of the packet's addresses, as sets of `1 << RTN_*`.
    AddressType {
        /// Types of the source; 0 matches any.
        source: u16,
        /// Types of the destination; 0 matches any.
        destination: u16,
        /// 1 inverts the source's match, 2 the destination's.
        flags: u32,
    },
    /// `tcp` and `udp`.
    Ports {
        /// The source port.
        source: Range,
        /// The destination port.
        destination: Range,
        /// The TCP flags to look at, those of them that must be set, and whether the match is inverted.
        flags: Option<(u8, u8, bool)>,
    },
    /// `multiport`.
    Multiport {
        /// The ports to look at: 0 the source's, 1 the destination's, 2 either.
        which: u8,
        /// The ranges to match, first and last.
        ranges: Vec<(u16, u16)>,
        /// Whether to match ports outside all ranges.
        inverted: bool,
    },
    /// `icmp` and `icmp6`.
    Icmp {
        /// The type; `None` for any.
        kind: Option<u8>,
        /// The first and the last code.
        codes: (u8, u8),
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// `mark`.
    Mark {
        /// The value.
        mark: u32,
        /// The bits that count.
        mask: u32,
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// `ttl` and `hl`: 0 equal, 1 not equal, 2 less, 3 greater.
    HopLimit {
        /// The comparison.
        mode: u8,
        /// The value.
        value: u8,
    },
    /// `recent`.
    Recent {
        /// Whether the source is added to the list, which always matches; otherwise it is looked up.
        remembers: bool,
        /// How often the source must have been seen.
        hits: u32,
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// `rt`: an IPv6 routing header.
    RoutingHeader,
}

/// The conditions of `conntrack` on a connection; `None` is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// The `XT_CONNTRACK_STATE_*` bits, and whether the match is inverted.
    pub state: Option<(u16, bool)>,
    /// The status bits, and whether the match is inverted.
    pub status: Option<(u16, bool)>,
    /// The direction: whether the packet is a reply.
    pub reply: Option<bool>,
    /// The protocol, and whether the match is inverted.
    pub protocol: Option<(u16, bool)>,
    /// The original destination port, before any translation.
    pub port: Option<Range>,
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// Whether to match ports outside the range.
    pub inverted: bool,
}

impl Range {
    /// Whether the range matches a port; `None` if the port is unknown and matters.
    #[must_use]
    pub fn holds(self, port: Option<u16>) -> Option<bool> {
        if (self.first, self.last) == (0, u16::MAX) {
            return Some(!self.inverted);
        }
        port.map(|port| (self.first..=self.last).contains(&port) != self.inverted)
    }
}

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
}

/// `NF_NAT_RANGE_*`.
const MAP_IPS: u32 = 1;
const PROTO_SPECIFIED: u32 = 2;
/// Random and persistent choices. They have no effect with a single address and port.
const CHOICES: u32 = 0x4 | 0x8 | 0x10;

/// `XT_CONNTRACK_*`.
const CT_STATE: u16 = 0x1;
const CT_PROTO: u16 = 0x2;
const CT_STATUS: u16 = 0x40;
const CT_ORIGINAL_PORT: u16 = 0x200;
const CT_DIRECTION: u16 = 0x1000;
const CT_STATE_ALIAS: u16 = 0x2000;

impl Extension {
    /// Reads the extension as a match; `None` if it is not known.
    #[must_use]
    pub fn as_match(&self) -> Option<Match> {
        let info = Info(&self.info);
        match (self.name.as_str(), self.revision) {
            ("comment", 0) => Some(Match::Comment),
            ("limit", 0) => Some(Match::Limit),
            ("conntrack", 3) => conntrack(info).map(Match::Conntrack),
            ("addrtype", 1) => {
                let (source, destination, flags) = (info.u16(0)?, info.u16(2)?, info.u32(4)?);
                (flags & !3 == 0).then_some(Match::AddressType { source, destination, flags })
            }
            ("tcp", 0) => {
                let inverted = info.u8(11)?;
                let (mask, set) = (info.u8(9)?, info.u8(10)?);
                let flags = (mask != 0 || inverted & 4 != 0).then_some((mask, set, inverted & 4 != 0));
                // A condition on a TCP option is unknown: a first packet may have the option or not.
                (info.u8(8)? == 0 && inverted & !7 == 0).then_some(())?;
                Some(Match::Ports {
                    source: info.range(0, inverted & 1)?,
                    destination: info.range(4, inverted & 2)?,
                    flags,
                })
            }
            ("udp", 0) => {
                let inverted = info.u8(8)?;
                (inverted & !3 == 0).then_some(())?;
                let (source, destination) = (info.range(0, inverted & 1)?, info.range(4, inverted & 2)?);
                Some(Match::Ports { source, destination, flags: None })
            }
            ("multiport", 1) => multiport(info),
            ("icmp" | "icmp6", 0) => {
                let (kind, inverted) = (info.u8(0)?, info.u8(3)?);
                let kind = (kind != u8::MAX || self.name == "icmp6").then_some(kind);
                Some(Match::Icmp { kind, codes: (info.u8(1)?, info.u8(2)?), inverted: inverted & 1 != 0 })
            }
            ("mark", 1) => Some(Match::Mark { mark: info.u32(0)?, mask: info.u32(4)?, inverted: info.u8(8)? != 0 }),
            ("ttl" | "hl", 0) => Some(Match::HopLimit { mode: info.u8(0)?, value: info.u8(1)? }),
            ("recent", 0 | 1) => {
                let (check, inverted) = (info.u8(8)?, info.u8(9)? != 0);
                // `XT_RECENT_SET`, `CHECK` and `UPDATE`, each with or without comparing the TTL, or reaping old
                // entries.
                let remembers = match check & !0x30 {
                    2 => true,
                    1 | 4 => false,
                    _ => return None,
                };
                Some(Match::Recent { remembers, hits: info.u32(4)?, inverted })
            }
            ("rt", 0) => Some(Match::RoutingHeader),
            _ => None,
        }
    }

    /// Reads the extension as a target, in an IPv4 or an IPv6 table; `None` if it is not known.
    #[must_use]
    pub fn as_target(&self, ipv4: bool) -> Option<Target> {
        let info = Info(&self.info);
        match (self.name.as_str(), self.revision) {
            ("LOG" | "NFLOG" | "TRACE" | "AUDIT" | "TCPMSS" | "CHECKSUM" | "SET" | "LED", _) => {
                Some(Target::Continue)
            }
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

fn dnat(flags: u32, first: IpAddr, last: IpAddr, first_port: u16, last_port: u16) -> Option<Target> {
    let address = (flags & MAP_IPS != 0).then_some(first);
    let port = (flags & PROTO_SPECIFIED != 0).then_some(first_port);
    let known = flags & !(MAP_IPS | PROTO_SPECIFIED | CHOICES) == 0;
    let one = (address.is_none() || first == last) && (port.is_none() || first_port == last_port);
    (known && one).then_some(Target::Dnat { address, port })
}

fn conntrack(info: Info<'_>) -> Option<Conntrack> {
    let (asked, inverted) = (info.u16(146)?, info.u16(148)?);
    let known = CT_STATE | CT_PROTO | CT_STATUS | CT_ORIGINAL_PORT | CT_DIRECTION | CT_STATE_ALIAS;
    (asked & !known == 0).then_some(())?;
    let not = |flag: u16| inverted & flag != 0;
    let if_asked = |flag: u16, value: u16| (asked & flag != 0).then_some((value, not(flag)));
    let port = Range { first: info.u16(140)?, last: info.u16(156)?, inverted: not(CT_ORIGINAL_PORT) };
    Some(Conntrack {
        state: if_asked(CT_STATE, info.u16(150)?),
        status: if_asked(CT_STATUS, info.u16(152)?),
        reply: (asked & CT_DIRECTION != 0).then_some(not(CT_DIRECTION)),
        protocol: if_asked(CT_PROTO, info.u16(136)?),
        port: (asked & CT_ORIGINAL_PORT != 0).then_some(port),
    })
}

fn multiport(info: Info<'_>) -> Option<Match> {
    let (which, count) = (info.u8(0)?, usize::from(info.u8(1)?));
    (which <= 2 && count <= 15).then_some(())?;
    let mut ranges = Vec::new();
    let mut index = 0;
    while index < count {
        let first = info.u16(2 + 2 * index)?;
        // A flagged port begins a range, which the next port ends.
        let is_range = info.u8(32 + index)? != 0;
        index += usize::from(is_range);
        ranges.push((first, info.u16(2 + 2 * index)?));
        index += 1;
    }
    Some(Match::Multiport { which, ranges, inverted: info.u8(47)? != 0 })
}

/// The bytes of a C structure. Reads beyond the end give `None`.
#[derive(Clone, Copy)]
struct Info<'a>(&'a [u8]);

impl Info<'_> {
    fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_ne_bytes)
    }

    fn be16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_ne_bytes)
    }

    fn v4(self, at: usize) -> Option<IpAddr> {
        self.bytes::<4>(at).map(|bytes| Ipv4Addr::from(bytes).into())
    }

    fn v6(self, at: usize) -> Option<IpAddr> {
        self.bytes::<16>(at).map(|bytes| Ipv6Addr::from(bytes).into())
    }

    fn range(self, at: usize, inverted: u8) -> Option<Range> {
        Some(Range { first: self.u16(at)?, last: self.u16(at + 2)?, inverted: inverted != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 17] = [
        "comment",
        "limit",
        "conntrack",
        "addrtype",
        "tcp",
        "udp",
        "multiport",
        "icmp",
        "icmp6",
        "mark",
        "ttl",
        "recent",
        "rt",
        "MARK",
        "DNAT",
        "REJECT",
        "MASQUERADE",
    ];

    fn extension(name: &str, revision: u32, info: &[u8]) -> Extension {
        Extension { name: name.to_owned(), revision, info: info.to_vec() }
    }

    #[test]
    fn a_flagged_port_of_multiport_begins_a_range() {
        let mut info = [0; 48];
        info[..2].copy_from_slice(&[1, 3]);
        for (at, port) in [80_u16, 8000, 8080].into_iter().enumerate() {
            info[2 + 2 * at..4 + 2 * at].copy_from_slice(&port.to_ne_bytes());
        }
        // 80,8000:8080
        info[33] = 1;

        let read = extension("multiport", 1, &info).as_match();

        let ranges = vec![(80, 80), (8000, 8080)];
        assert_eq!(read, Some(Match::Multiport { which: 1, ranges, inverted: false }));
    }

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
        fn no_bytes_make_the_reader_panic(
            name in prop::sample::select(&NAMES[..]), revision in 0_u32..4,
            info in prop::collection::vec(any::<u8>(), 0..220), ipv4 in any::<bool>()
        ) {
            let extension = extension(name, revision, &info);
            let _ = (extension.as_match(), extension.as_target(ipv4));
        }

        #[test]
        fn a_structure_that_is_cut_is_not_read(cut in 0..154_usize) {
            let mut info = vec![0; 164];
            info[146] = 1;
            prop_assert!(extension("conntrack", 3, &info).as_match().is_some());
            prop_assert_eq!(extension("conntrack", 3, &info[..cut]).as_match(), None);
        }
    }
}
