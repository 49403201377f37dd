//! Matches.
//!
//! A new one is a variant of [`Match`], an arm in `as_match`, one in [`Match::source_bounds`], and a test with the
//! bytes that iptables writes.

#![deny(clippy::wildcard_enum_match_arm)]

use super::info::Info;
use super::{Extension, Range};

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

/// What a match compares the packet's source with. Between two neighbouring bounds, one source stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceBounds {
    /// Ranges of source ports, first and last.
    pub ports: Vec<(u16, u16)>,
    /// Ranges of addresses, first and last in network order. Of IPv4 the first four bytes count.
    pub addresses: Vec<([u8; 16], [u8; 16])>,
}

impl Match {
    /// The bounds of the ranges that it compares the packet's source with.
    #[must_use]
    pub fn source_bounds(&self) -> SourceBounds {
        match self {
            Match::Ports { source, .. } if (source.first, source.last) != (0, u16::MAX) => {
                SourceBounds { ports: vec![(source.first, source.last)], ..SourceBounds::default() }
            }
            Match::Multiport { which: 0 | 2, ranges, .. } => {
                SourceBounds { ports: ranges.clone(), ..SourceBounds::default() }
            }
            Match::AddressRange { source: Some((first, last, _)), .. } => {
                SourceBounds { addresses: vec![(*first, *last)], ..SourceBounds::default() }
            }
            // They test nothing about the source, or an address that the simulator knows.
            Match::Ports { .. }
            | Match::Multiport { .. }
            | Match::Comment
            | Match::Limit
            | Match::Conntrack(_)
            | Match::AddressType { .. }
            | Match::Icmp { .. }
            | Match::Mark { .. }
            | Match::HopLimit { .. }
            | Match::Recent { .. }
            | Match::RoutingHeader
            | Match::AddressRange { source: None, .. }
            | Match::ConnectionMark { .. }
            | Match::HashLimit { .. }
            | Match::Length { .. }
            | Match::PacketType { .. }
            | Match::BridgePort { .. }
            | Match::ReversePath { .. }
            | Match::Uncertain(_) => SourceBounds::default(),
        }
    }
}

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
}

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

#[cfg(test)]
mod tests {
    use super::super::extension;
    use super::*;
    use proptest::prelude::*;

    /// The names that `as_match` knows.
    const NAMES: [&str; 26] = [
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
        "hl",
        "recent",
        "rt",
        "iprange",
        "connmark",
        "hashlimit",
        "length",
        "pkttype",
        "physdev",
        "rpfilter",
        "statistic",
        "connlimit",
        "dscp",
        "set",
        "owner",
    ];

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

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_of_matches_panic(
            name in prop::sample::select(&NAMES[..]), revision in 0_u32..4,
            info in prop::collection::vec(any::<u8>(), 0..220)
        ) {
            let read = extension(name, revision, &info).as_match();
            let _ = read.map(|read| read.source_bounds());
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
