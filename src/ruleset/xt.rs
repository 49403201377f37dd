//! Common matches and targets of iptables, read from their C structures.
//!
//! Structures and numbers follow `include/uapi/linux/netfilter/xt_*.h`, `netfilter_ipv4/ipt_*.h` and
//! `netfilter_ipv6/ip6t_*.h`. An unknown revision, flag or length makes the whole extension unknown.

mod info;

#[cfg(test)]
mod tests;

use super::Extension;
use info::Info;
use std::net::IpAddr;

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
    /// `iprange`: the source and the destination, each as the first and the last address in network order (of IPv4
    /// the first four bytes count), and whether the match is inverted.
    AddressRange {
        /// The sources; `None` for any.
        source: Option<([u8; 16], [u8; 16], bool)>,
        /// The destinations; `None` for any.
        destination: Option<([u8; 16], [u8; 16], bool)>,
    },
    /// `connmark`: the connection's mark.
    ConnectionMark {
        /// The value.
        mark: u32,
        /// The bits that count.
        mask: u32,
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// `hashlimit` in packets: whether a rate is kept to or, if so, exceeded.
    HashLimit {
        /// Whether it matches what exceeds the rate.
        over: bool,
    },
    /// `length` of the packet from its network header on.
    Length {
        /// The least.
        least: u16,
        /// The most.
        most: u16,
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// `pkttype`.
    PacketType {
        /// `PACKET_*`.
        kind: u32,
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// `physdev`: the ports of a bridge.
    BridgePort {
        /// `XT_PHYSDEV_OP_*` that are asked.
        asked: u8,
        /// Those of them that are inverted.
        inverted: u8,
    },
    /// `rpfilter`: whether the way back to the source is by the incoming interface.
    ReversePath {
        /// Whether any interface will do.
        loose: bool,
        /// Whether the packet's mark chooses the route.
        by_mark: bool,
        /// Whether an address of this machine will do.
        local: bool,
        /// Whether the match is inverted.
        inverted: bool,
    },
    /// A match that depends on what only the kernel knows: the reason as a clause.
    Uncertain(&'static str),
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
            ("tcp", 0) => tcp(info),
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
            ("recent", 0 | 1) => recent(info),
            ("rt", 0) => Some(Match::RoutingHeader),
            ("iprange", 1) => address_ranges(info),
            ("connmark", 1) => {
                let (mark, mask, inverted) = (info.u32(0)?, info.u32(4)?, info.u8(8)? != 0);
                Some(Match::ConnectionMark { mark, mask, inverted })
            }
            ("hashlimit", 1..=3) => {
                let mode = info.u32(if self.revision == 1 { 16 } else { 272 })?;
                // `XT_HASHLIMIT_BYTES` and `XT_HASHLIMIT_RATE_MATCH`
                (mode & !0x1f == 0).then_some(Match::HashLimit { over: mode & 0x10 != 0 })
            }
            ("length", 0) => {
                let (least, most, inverted) = (info.u16(0)?, info.u16(2)?, info.u8(4)? != 0);
                Some(Match::Length { least, most, inverted })
            }
            ("pkttype", 0) => Some(Match::PacketType { kind: info.u32(0)?, inverted: info.u32(4)? != 0 }),
            ("physdev", 0) => {
                let (inverted, asked) = (info.u8(64)?, info.u8(65)?);
                (asked & !0x1f == 0).then_some(Match::BridgePort { asked, inverted })
            }
            ("rpfilter", 0) => reverse_path(info),
            (name, _) => uncertain(name).map(Match::Uncertain),
        }
    }

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

/// Matches that depend on what only the kernel knows.
fn uncertain(name: &str) -> Option<&'static str> {
    Some(match name {
        "statistic" => "chance decides, or how many packets came before",
        "connlimit" => "how many connections there are is not known",
        "dscp" | "tos" | "ecn" => "the packet's class of service is not known",
        "set" => "what is in an ipset is not known",
        "mac" => "the hardware address that the packet comes from is not known",
        "owner" | "cgroup" => "whose socket the packet belongs to is not known",
        "time" => "the time of day decides",
        _ => return None,
    })
}

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

fn tcp(info: Info<'_>) -> Option<Match> {
    let inverted = info.u8(11)?;
    let (mask, set) = (info.u8(9)?, info.u8(10)?);
    let flags = (mask != 0 || inverted & 4 != 0).then_some((mask, set, inverted & 4 != 0));
    // A condition on a TCP option is unknown: a first packet may have the option or not.
    (info.u8(8)? == 0 && inverted & !7 == 0).then_some(())?;
    Some(Match::Ports { source: info.range(0, inverted & 1)?, destination: info.range(4, inverted & 2)?, flags })
}

fn recent(info: Info<'_>) -> Option<Match> {
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

fn address_ranges(info: Info<'_>) -> Option<Match> {
    let flags = info.u8(64)?;
    (flags & !0x33 == 0).then_some(())?;
    let range = |at: usize, bit: u8| {
        let not = flags & bit << 4 != 0;
        if flags & bit == 0 { Some(None) } else { Some(Some((info.bytes(at)?, info.bytes(at + 16)?, not))) }
    };
    Some(Match::AddressRange { source: range(0, 1)?, destination: range(32, 2)? })
}

fn reverse_path(info: Info<'_>) -> Option<Match> {
    let flags = info.u8(0)?;
    let has = |bit: u8| flags & bit != 0;
    (flags & !0xf == 0).then_some(Match::ReversePath {
        loose: has(1),
        by_mark: has(2),
        local: has(4),
        inverted: has(8),
    })
}
