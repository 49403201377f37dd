//! Header fields by where they lie.

use super::value::Kind;
use crate::ruleset::{CtKey, Direction, FibResult, MetaKey, PayloadBase, fib_flags};

/// What nft must know of a packet before a header field means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// `meta nfproto`.
    Nfproto(u8),
    /// `meta l4proto`.
    L4proto(u8),
}

/// A field of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    offset: u32,
    /// Bytes.
    pub(super) len: u32,
    /// Its nft name without the protocol's.
    name: &'static str,
    /// How its bytes are meant.
    pub(super) kind: Kind,
}

const fn field(offset: u32, len: u32, name: &'static str, kind: Kind) -> Field {
    Field { offset, len, name, kind }
}

/// A header whose fields nft has names for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    base: PayloadBase,
    context: Option<Context>,
    /// The address family that nft wants beside a transport protocol that only one has.
    nfproto: Option<u8>,
    name: &'static str,
    fields: &'static [Field],
}

const PORTS: &[Field] = &[field(0, 2, "sport", Kind::Number), field(2, 2, "dport", Kind::Number)];

const fn network(nfproto: u8, name: &'static str, fields: &'static [Field]) -> Header {
    Header { base: PayloadBase::Network, context: Some(Context::Nfproto(nfproto)), nfproto: None, name, fields }
}

const fn transport(l4proto: u8, nfproto: Option<u8>, name: &'static str, fields: &'static [Field]) -> Header {
    Header { base: PayloadBase::Transport, context: Some(Context::L4proto(l4proto)), nfproto, name, fields }
}

const HEADERS: &[Header] = &[
    network(
        2,
        "ip",
        &[
            field(2, 2, "length", Kind::Number),
            field(4, 2, "id", Kind::Number),
            field(8, 1, "ttl", Kind::Number),
            field(9, 1, "protocol", Kind::Protocol),
            field(12, 4, "saddr", Kind::Ipv4),
            field(16, 4, "daddr", Kind::Ipv4),
        ],
    ),
    network(
        10,
        "ip6",
        &[
            field(4, 2, "length", Kind::Number),
            field(6, 1, "nexthdr", Kind::Protocol),
            field(7, 1, "hoplimit", Kind::Number),
            field(8, 16, "saddr", Kind::Ipv6),
            field(24, 16, "daddr", Kind::Ipv6),
        ],
    ),
    transport(1, Some(2), "icmp", &[field(0, 1, "type", Kind::IcmpType), field(1, 1, "code", Kind::Number)]),
    transport(58, Some(10), "icmpv6", &[field(0, 1, "type", Kind::Icmpv6Type), field(1, 1, "code", Kind::Number)]),
    transport(
        6,
        None,
        "tcp",
        &[
            field(0, 2, "sport", Kind::Number),
            field(2, 2, "dport", Kind::Number),
            field(13, 1, "flags", Kind::TcpFlags),
        ],
    ),
    transport(17, None, "udp", PORTS),
    transport(33, None, "dccp", PORTS),
    transport(132, None, "sctp", PORTS),
    transport(136, None, "udplite", PORTS),
    Header { base: PayloadBase::Transport, context: None, nfproto: None, name: "th", fields: PORTS },
];

impl Header {
    /// The header at that base, given what is known of the packet.
    pub(super) fn at(base: PayloadBase, known: &[Context]) -> Option<&'static Self> {
        HEADERS
            .iter()
            .find(|header| header.base == base && header.context.is_none_or(|context| known.contains(&context)))
    }

    /// What nft puts before a statement on this header when it knows no more than `known`.
    pub(super) fn implied(&self, known: &[Context]) -> Vec<Context> {
        let Some(context) = self.context else { return Vec::new() };
        if known.contains(&context) {
            return Vec::new();
        }
        self.nfproto
            .map(Context::Nfproto)
            .filter(|nfproto| !known.contains(nfproto))
            .into_iter()
            .chain([context])
            .collect()
    }

    /// The field that begins at that offset.
    pub(super) fn field(&self, offset: u32) -> Option<Field> {
        self.fields.iter().find(|field| field.offset == offset).copied()
    }

    /// The fields that cover those bytes exactly, when there are several: nft loads neighbours with one expression as
    /// long as they fit a 32-bit word.
    pub(super) fn neighbours(&self, offset: u32, len: u32) -> Option<Vec<Field>> {
        let end = offset.checked_add(len).filter(|_| len <= 4)?;
        let mut at = offset;
        let mut fields = Vec::new();
        while at < end {
            let field = self.field(at)?;
            at += field.len;
            fields.push(field);
        }
        (at == end && fields.len() > 1).then_some(fields)
    }

    /// nft's full name of a field.
    pub(super) fn name_of(&self, field: Field) -> String {
        format!("{} {}", self.name, field.name)
    }

    /// What is known of the packet once that field equals that value.
    pub(super) fn learned(&self, field: Field, value: &[u8]) -> Option<Context> {
        match value {
            &[protocol] if self.base == PayloadBase::Network && field.kind == Kind::Protocol => {
                Some(Context::L4proto(protocol))
            }
            _ => None,
        }
    }
}

/// Bytes that no field is known for, as nft writes them; `None` for a base that it has no word for.
pub(super) fn raw(base: PayloadBase, offset: u32, len: u32) -> Option<String> {
    let base = match base {
        PayloadBase::Link => "ll",
        PayloadBase::Network => "nh",
        PayloadBase::Transport => "th",
        PayloadBase::Other(3) => "ih",
        PayloadBase::Other(_) => return None,
    };
    Some(format!("@{base},{},{}", u64::from(offset) * 8, u64::from(len) * 8))
}

/// nft's name of a `meta` key, how its bytes are meant, and how many they are.
pub(super) fn meta(key: MetaKey) -> (String, Kind, u32) {
    match known_meta(key) {
        Some((name, kind, len)) => (name.to_owned(), kind, len),
        None => (format!("<unknown meta key {}>", key.number()), Kind::Bytes, 4),
    }
}

/// The same of a key that nft has a name for.
pub(super) const fn known_meta(key: MetaKey) -> Option<(&'static str, Kind, u32)> {
    Some(match key {
        MetaKey::Iifname => ("iifname", Kind::Ifname, 16),
        MetaKey::Oifname => ("oifname", Kind::Ifname, 16),
        MetaKey::Nfproto => ("meta nfproto", Kind::Nfproto, 1),
        MetaKey::L4proto => ("meta l4proto", Kind::Protocol, 1),
        MetaKey::Other(0) => ("meta length", Kind::HostNumber, 4),
        MetaKey::Other(1) => ("meta protocol", Kind::Bytes, 2),
        MetaKey::Other(2) => ("meta priority", Kind::HostHex, 4),
        MetaKey::Other(3) => ("meta mark", Kind::HostHex, 4),
        MetaKey::Other(4) => ("iif", Kind::HostNumber, 4),
        MetaKey::Other(5) => ("oif", Kind::HostNumber, 4),
        MetaKey::Other(10) => ("meta skuid", Kind::HostNumber, 4),
        MetaKey::Other(11) => ("meta skgid", Kind::HostNumber, 4),
        MetaKey::Other(17) => ("meta ibrname", Kind::Ifname, 16),
        MetaKey::Other(18) => ("meta obrname", Kind::Ifname, 16),
        MetaKey::Other(19) => ("meta pkttype", Kind::Number, 1),
        MetaKey::Other(20) => ("meta cpu", Kind::HostNumber, 4),
        MetaKey::Other(21) => ("meta iifgroup", Kind::HostNumber, 4),
        MetaKey::Other(22) => ("meta oifgroup", Kind::HostNumber, 4),
        MetaKey::Other(_) => return None,
    })
}

/// nft's name of a `ct` key, how its bytes are meant, and how many they are.
pub(super) fn ct(key: CtKey, direction: Option<Direction>) -> (String, Kind, u32) {
    let Some((name, kind, len)) = known_ct(key) else {
        return (format!("<unknown ct key {}>", key.number()), Kind::Bytes, 4);
    };
    let direction = match direction {
        None => "",
        Some(Direction::Original) => "original ",
        Some(Direction::Reply) => "reply ",
    };
    (format!("ct {direction}{name}"), kind, len)
}

/// The same of a key that nft has a name for, without the direction.
pub(super) const fn known_ct(key: CtKey) -> Option<(&'static str, Kind, u32)> {
    Some(match key {
        CtKey::State => ("state", Kind::CtState, 4),
        CtKey::Status => ("status", Kind::CtStatus, 4),
        CtKey::DstIp => ("ip daddr", Kind::Ipv4, 4),
        CtKey::DstIp6 => ("ip6 daddr", Kind::Ipv6, 16),
        CtKey::ProtoDst => ("proto-dst", Kind::Number, 2),
        CtKey::Other(1) => ("direction", Kind::Number, 1),
        CtKey::Other(3) => ("mark", Kind::HostHex, 4),
        CtKey::Other(7) => ("l3proto", Kind::Nfproto, 1),
        CtKey::Other(10) => ("protocol", Kind::Protocol, 1),
        CtKey::Other(11) => ("proto-src", Kind::Number, 2),
        CtKey::Other(19) => ("ip saddr", Kind::Ipv4, 4),
        CtKey::Other(21) => ("ip6 saddr", Kind::Ipv6, 16),
        CtKey::Other(_) => return None,
    })
}

/// What `fib` is asked, as in `fib saddr . iif oif`, and how the answer's bytes are meant.
pub(super) fn fib(result: FibResult, flags: u32) -> (String, Kind) {
    const FIELDS: [(u32, &str); 5] = [
        (fib_flags::SADDR, "saddr"),
        (fib_flags::DADDR, "daddr"),
        (fib_flags::MARK, "mark"),
        (fib_flags::IIF, "iif"),
        (fib_flags::OIF, "oif"),
    ];
    let fields: Vec<_> = FIELDS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let present = flags & fib_flags::PRESENT != 0;
    let (name, kind) = match result {
        FibResult::Oif if present => ("oif", Kind::Presence),
        FibResult::OifName if present => ("oifname", Kind::Presence),
        FibResult::Oif => ("oif", Kind::HostNumber),
        FibResult::OifName => ("oifname", Kind::Ifname),
        FibResult::Type => ("type", Kind::AddressType),
    };
    (format!("fib {} {name}", fields.join(" . ")), kind)
}
