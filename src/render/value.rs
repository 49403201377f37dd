//! The bytes of a register as nft writes them.

use crate::net::{Version, range_in_words};
use crate::ruleset::{AddressType, KeyType, LimitUnit};

/// The meaning of the bytes of a key or of compared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ipv4,
    Ipv6,
    /// A transport protocol, 1 byte.
    Protocol,
    /// An address family, `NFPROTO_*`, 1 byte.
    Nfproto,
    IcmpType,
    Icmpv6Type,
    CtState,
    CtStatus,
    /// The flags of a TCP header, 1 byte.
    TcpFlags,
    Ifname,
    /// The type of an address, `RTN_*` in host order.
    AddressType,
    /// Whether a result exists: 1 byte.
    Presence,
    /// A number in network order.
    Number,
    /// A number in host order.
    HostNumber,
    /// A bit mask in host order, such as a mark.
    HostHex,
    /// Anything else: hexadecimal, in the order of the bytes.
    Bytes,
}

// Only the names in nft's own grammar: it takes others from /etc/protocols, which may be missing.
const PROTOCOLS: &[(u8, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (108, "comp"),
    (132, "sctp"),
    (136, "udplite"),
];
const NFPROTOS: &[(u8, &str)] = &[(Version::V4.nfproto(), "ipv4"), (Version::V6.nfproto(), "ipv6")];
const ICMP_TYPES: &[(u8, &str)] = &[
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
    (15, "info-request"),
    (16, "info-reply"),
    (17, "address-mask-request"),
    (18, "address-mask-reply"),
];
const ICMPV6_TYPES: &[(u8, &str)] = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (137, "nd-redirect"),
    (138, "router-renumbering"),
    (141, "ind-neighbor-solicit"),
    (142, "ind-neighbor-advert"),
    (143, "mld2-listener-report"),
];
const CT_STATES: &[(u32, &str)] =
    &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
const CT_STATUSES: &[(u32, &str)] = &[
    (0x1, "expected"),
    (0x2, "seen-reply"),
    (0x4, "assured"),
    (0x8, "confirmed"),
    (0x10, "snat"),
    (0x20, "dnat"),
    (0x200, "dying"),
];

const TCP_FLAGS: &[(u8, &str)] = &[
    (0x01, "fin"),
    (0x02, "syn"),
    (0x04, "rst"),
    (0x08, "psh"),
    (0x10, "ack"),
    (0x20, "urg"),
    (0x40, "ecn"),
    (0x80, "cwr"),
];

/// nft's names of types that [`KeyType::name`] lacks: number, name, and the meaning of the bytes.
const OTHER_TYPES: &[(u32, &str, Kind)] = &[
    (2, "nf_proto", Kind::Nfproto),
    (9, "ether_addr", Kind::Bytes),
    (10, "ether_type", Kind::Bytes),
    (19, "mark", Kind::HostHex),
    (20, "iface_index", Kind::HostNumber),
    (28, "ct_status", Kind::CtStatus),
];

impl Kind {
    /// The meaning of the keys of a set of that type.
    pub(super) fn of(key: KeyType) -> Self {
        match key {
            KeyType::IPV4_ADDR => Self::Ipv4,
            KeyType::IPV6_ADDR => Self::Ipv6,
            KeyType::INET_PROTO => Self::Protocol,
            KeyType::INET_SERVICE => Self::Number,
            KeyType::ICMP_TYPE => Self::IcmpType,
            KeyType::ICMPV6_TYPE => Self::Icmpv6Type,
            KeyType::CT_STATE => Self::CtState,
            KeyType::UID => Self::HostNumber,
            KeyType::IFNAME => Self::Ifname,
            KeyType::FIB_ADDRTYPE => Self::AddressType,
            other => OTHER_TYPES.iter().find(|known| known.0 == other.number).map_or(Self::Bytes, |known| known.2),
        }
    }

    /// Whether nft writes networks of this kind as a prefix.
    pub(super) const fn is_address(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }

    /// One value.
    pub(super) fn value(self, bytes: &[u8]) -> String {
        match self {
            Self::Ipv4 => Version::V4.address_in(bytes).map(|address| address.to_string()),
            Self::Ipv6 => Version::V6.address_in(bytes).map(|address| address.to_string()),
            Self::Protocol => named_byte(PROTOCOLS, bytes),
            Self::Nfproto => named_byte(NFPROTOS, bytes),
            Self::IcmpType => named_byte(ICMP_TYPES, bytes),
            Self::Icmpv6Type => named_byte(ICMPV6_TYPES, bytes),
            Self::CtState => named_bit(CT_STATES, bytes),
            Self::CtStatus => named_bit(CT_STATUSES, bytes),
            Self::Ifname => Some(ifname(bytes)),
            Self::Number => (bytes.len() <= 8).then(|| big_endian(bytes).to_string()),
            Self::HostNumber => host_word(bytes).map(|word| word.to_string()),
            Self::AddressType => host_word(bytes).map(|word| AddressType::from_number(word).to_string()),
            // Compilers differ in how many bytes of the register they compare.
            Self::Presence => match bytes {
                [0, rest @ ..] if rest.iter().all(|byte| *byte == 0) => Some("missing".to_owned()),
                [1, rest @ ..] if rest.iter().all(|byte| *byte == 0) => Some("exists".to_owned()),
                _ => None,
            },
            Self::HostHex => host_word(bytes).map(|word| format!("{word:#x}")),
            Self::TcpFlags => match bytes {
                &[flags] if flags != 0 => Some(tcp_flags(flags, " | ")),
                _ => Some("0x0".to_owned()),
            },
            Self::Bytes => None,
        }
        .unwrap_or_else(|| hex(bytes))
    }

    /// A mask, as the operand of `&`.
    pub(super) fn mask(self, bytes: &[u8]) -> String {
        let value = self.value(bytes);
        if value.contains(" | ") { format!("({value})") } else { value }
    }

    /// A range from the first to the last value, both included.
    pub(super) fn range(self, first: &[u8], last: &[u8]) -> String {
        let shorter = match self {
            Self::Ipv4 if first.len() == 4 => range_in_words(first, last),
            Self::Ipv6 if first.len() == 16 => range_in_words(first, last),
            Self::Ifname => wildcard(first, last),
            _ => None,
        };
        shorter.unwrap_or_else(|| format!("{}-{}", self.value(first), self.value(last)))
    }

    /// The network given by an address's leading bytes: `10.0.0.0/8` for one byte.
    pub(super) fn network(self, leading: &[u8], prefix_len: u32) -> String {
        let mut address = leading.to_vec();
        address.resize(if self == Self::Ipv4 { 4 } else { 16 }, 0);
        format!("{}/{prefix_len}", self.value(&address))
    }

    /// TCP flags of which some must be set and the others clear, as nft writes them: `syn / fin,syn,rst,ack`. `None`
    /// if nft writes them differently: for a single flag, or if none must be set.
    pub(super) fn flags_among(self, set: &[u8], among: &[u8]) -> Option<String> {
        let (Self::TcpFlags, &[set], &[among]) = (self, set, among) else { return None };
        let names = |flags: u8| tcp_flags(flags, ",");
        (set != 0 && set & !among == 0 && among.count_ones() > 1)
            .then(|| format!("{} / {}", names(set), names(among)))
    }

    /// The flags of a mask as a list, which nft takes to mean "any of them"; `None` unless all have a name.
    pub(super) fn flags(self, mask: &[u8]) -> Option<String> {
        if let (Self::TcpFlags, &[flags]) = (self, mask) {
            return (flags != 0).then(|| tcp_flags(flags, ","));
        }
        let names = match self {
            Self::CtState => CT_STATES,
            Self::CtStatus => CT_STATUSES,
            _ => return None,
        };
        let word = host_word(mask)?;
        let set: Vec<_> = names.iter().filter(|(bit, _)| word & bit != 0).collect();
        let known = set.iter().fold(0, |all, (bit, _)| all | bit);
        (word != 0 && known == word).then(|| set.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(","))
    }
}

/// nft's name for the type of a key.
pub(super) fn type_name(key: KeyType) -> Option<&'static str> {
    key.name().or_else(|| OTHER_TYPES.iter().find(|known| known.0 == key.number).map(|known| known.1))
}

fn tcp_flags(flags: u8, between: &str) -> String {
    let names = TCP_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    names.collect::<Vec<_>>().join(between)
}

/// A rate as nft writes it.
pub(super) fn rate(rate: u64, unit: LimitUnit) -> String {
    format!("{rate}/{}", unit.name())
}

/// Bytes as one hexadecimal number.
pub(super) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "0x0".to_owned();
    }
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn named_byte(names: &[(u8, &str)], bytes: &[u8]) -> Option<String> {
    let &[byte] = bytes else { return None };
    Some(names.iter().find(|known| known.0 == byte).map_or_else(|| byte.to_string(), |known| known.1.to_owned()))
}

fn named_bit(names: &[(u32, &str)], bytes: &[u8]) -> Option<String> {
    let word = host_word(bytes)?;
    Some(names.iter().find(|known| known.0 == word).map_or_else(|| format!("{word:#x}"), |known| known.1.to_owned()))
}

fn host_word(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().map(u32::from_ne_bytes).ok()
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A name. If the bytes are fewer than 16 and contain no zero, they are the beginning of a name.
fn ifname(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    let text = String::from_utf8_lossy(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes));
    if end.is_none() && bytes.len() < 16 {
        return super::text::quoted(&format!("{text}*"));
    }
    match text.strip_suffix('*') {
        Some(stem) => super::text::quoted(&format!("{stem}\\*")),
        None => super::text::quoted(&text),
    }
}

/// The wildcard for a range of names, if the range is one.
fn wildcard(first: &[u8], last: &[u8]) -> Option<String> {
    let stem: Vec<u8> = first.iter().zip(last).take_while(|(a, b)| a == b).map(|(a, _)| *a).collect();
    let rest_is = |bytes: &[u8], byte| bytes.iter().skip(stem.len()).all(|&b| b == byte);
    let names_all = first.len() == 16 && last.len() == 16 && rest_is(first, 0) && rest_is(last, 0xff);
    (names_all && !stem.is_empty() && stem.len() < 16 && !stem.contains(&0)).then(|| ifname(&stem))
}
