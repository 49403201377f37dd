//! Header fields by their places.

use super::value::Kind;
use crate::net::Version;
use crate::net::header::{Place, icmp, ipv4, ipv6, ports, tcp};
use crate::ruleset::{CtKey, Direction, FibResult, MetaKey, PayloadBase, fib_flags};

/// What nft has to know about a packet before a header field has a meaning.
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
    /// The length in bytes.
    pub(super) len: u32,
    /// The field's name in nft, without the protocol.
    name: &'static str,
    /// The meaning of its bytes.
    pub(super) kind: Kind,
}

const fn field(Place { offset, len }: Place, name: &'static str, kind: Kind) -> Field {
    Field { offset, len, name, kind }
}

/// A header whose fields have names in nft.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    base: PayloadBase,
    context: Option<Context>,
    /// The address family that nft requires for a transport protocol that only one family has.
    version: Option<Version>,
    name: &'static str,
    fields: &'static [Field],
}

const PORTS: &[Field] =
    &[field(ports::SOURCE, "sport", Kind::Number), field(ports::DESTINATION, "dport", Kind::Number)];

const fn network(version: Version, name: &'static str, fields: &'static [Field]) -> Header {
    Header {
        base: PayloadBase::Network,
        context: Some(Context::Nfproto(version.nfproto())),
        version: None,
        name,
        fields,
    }
}

const fn transport(l4proto: u8, version: Option<Version>, name: &'static str, fields: &'static [Field]) -> Header {
    Header { base: PayloadBase::Transport, context: Some(Context::L4proto(l4proto)), version, name, fields }
}

const HEADERS: &[Header] = &[
    network(
        Version::V4,
        "ip",
        &[
            field(ipv4::LENGTH, "length", Kind::Number),
            field(ipv4::ID, "id", Kind::Number),
            field(ipv4::HOP_LIMIT, "ttl", Kind::Number),
            field(ipv4::PROTOCOL, "protocol", Kind::Protocol),
            field(ipv4::SOURCE, "saddr", Kind::Ipv4),
            field(ipv4::DESTINATION, "daddr", Kind::Ipv4),
        ],
    ),
    network(
        Version::V6,
        "ip6",
        &[
            field(ipv6::LENGTH, "length", Kind::Number),
            field(ipv6::PROTOCOL, "nexthdr", Kind::Protocol),
            field(ipv6::HOP_LIMIT, "hoplimit", Kind::Number),
            field(ipv6::SOURCE, "saddr", Kind::Ipv6),
            field(ipv6::DESTINATION, "daddr", Kind::Ipv6),
        ],
    ),
    transport(
        1,
        Some(Version::V4),
        "icmp",
        &[field(icmp::TYPE, "type", Kind::IcmpType), field(icmp::CODE, "code", Kind::Number)],
    ),
    transport(
        58,
        Some(Version::V6),
        "icmpv6",
        &[field(icmp::TYPE, "type", Kind::Icmpv6Type), field(icmp::CODE, "code", Kind::Number)],
    ),
    transport(
        6,
        None,
        "tcp",
        &[
            field(ports::SOURCE, "sport", Kind::Number),
            field(ports::DESTINATION, "dport", Kind::Number),
            field(tcp::FLAGS, "flags", Kind::TcpFlags),
        ],
    ),
    transport(17, None, "udp", PORTS),
    transport(33, None, "dccp", PORTS),
    transport(132, None, "sctp", PORTS),
    transport(136, None, "udplite", PORTS),
    Header { base: PayloadBase::Transport, context: None, version: None, name: "th", fields: PORTS },
];

impl Header {
    /// The header at a base, given what is known about the packet.
    pub(super) fn at(base: PayloadBase, known: &[Context]) -> Option<&'static Self> {
        HEADERS
            .iter()
            .find(|header| header.base == base && header.context.is_none_or(|context| known.contains(&context)))
    }

    /// The conditions that nft adds before a statement on this header if it knows only `known`.
    pub(super) fn implied(&self, known: &[Context]) -> Vec<Context> {
        let Some(context) = self.context else { return Vec::new() };
        if known.contains(&context) {
            return Vec::new();
        }
        self.version
            .map(|version| Context::Nfproto(version.nfproto()))
            .filter(|nfproto| !known.contains(nfproto))
            .into_iter()
            .chain([context])
            .collect()
    }

    /// The field that begins at an offset.
    pub(super) fn field(&self, offset: u32) -> Option<Field> {
        self.fields.iter().find(|field| field.offset == offset).copied()
    }

    /// The fields that exactly cover these bytes, if there are several: nft loads adjacent fields with one expression
    /// if they fit into a 32-bit word.
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

    /// The field's full name in nft.
    pub(super) fn name_of(&self, field: Field) -> String {
        format!("{} {}", self.name, field.name)
    }

    /// What a match of the field with that value tells about the packet.
    pub(super) fn learned(&self, field: Field, value: &[u8]) -> Option<Context> {
        match value {
            &[protocol] if self.base == PayloadBase::Network && field.kind == Kind::Protocol => {
                Some(Context::L4proto(protocol))
            }
            _ => None,
        }
    }
}

/// Bytes that are no known field, in nft's raw notation; `None` for a base that nft can't express.
pub(super) fn raw(base: PayloadBase, offset: u32, len: u32) -> Option<String> {
    let base = match base {
        PayloadBase::Link => "ll",
        PayloadBase::Network => "nh",
        PayloadBase::Transport => "th",
        PayloadBase::Inner => "ih",
        PayloadBase::Other(_) => return None,
    };
    Some(format!("@{base},{},{}", u64::from(offset) * 8, u64::from(len) * 8))
}

/// A `meta` key's name in nft, the meaning of its bytes, and its length in bytes.
pub(super) fn meta(key: MetaKey) -> (String, Kind, u32) {
    match known_meta(key) {
        Some((name, kind)) => (name.to_owned(), kind, key.width()),
        None => (format!("<unknown meta key {}>", key.number()), Kind::Bytes, 4),
    }
}

/// The name and the meaning, for a key that has a name in nft.
pub(super) const fn known_meta(key: MetaKey) -> Option<(&'static str, Kind)> {
    Some(match key {
        MetaKey::Iifname => ("iifname", Kind::Ifname),
        MetaKey::Oifname => ("oifname", Kind::Ifname),
        MetaKey::Nfproto => ("meta nfproto", Kind::Nfproto),
        MetaKey::L4proto => ("meta l4proto", Kind::Protocol),
        MetaKey::Len => ("meta length", Kind::HostNumber),
        MetaKey::Protocol => ("meta protocol", Kind::Bytes),
        MetaKey::Priority => ("meta priority", Kind::HostHex),
        MetaKey::Mark => ("meta mark", Kind::HostHex),
        MetaKey::Iif => ("iif", Kind::HostNumber),
        MetaKey::Oif => ("oif", Kind::HostNumber),
        MetaKey::SkUid => ("meta skuid", Kind::HostNumber),
        MetaKey::SkGid => ("meta skgid", Kind::HostNumber),
        MetaKey::BridgeIifname => ("meta ibrname", Kind::Ifname),
        MetaKey::BridgeOifname => ("meta obrname", Kind::Ifname),
        MetaKey::PacketType => ("meta pkttype", Kind::Number),
        MetaKey::Cpu => ("meta cpu", Kind::HostNumber),
        MetaKey::IifGroup => ("meta iifgroup", Kind::HostNumber),
        MetaKey::OifGroup => ("meta oifgroup", Kind::HostNumber),
        _ => return None,
    })
}

/// A `ct` key's name in nft, the meaning of its bytes, and its length in bytes.
pub(super) fn ct(key: CtKey, direction: Option<Direction>) -> (String, Kind, u32) {
    let Some((name, kind)) = known_ct(key) else {
        return (format!("<unknown ct key {}>", key.number()), Kind::Bytes, 4);
    };
    let direction = match direction {
        None => "",
        Some(Direction::Original) => "original ",
        Some(Direction::Reply) => "reply ",
    };
    (format!("ct {direction}{name}"), kind, key.width())
}

/// The name without the direction, and the meaning, for a key that has a name in nft.
pub(super) const fn known_ct(key: CtKey) -> Option<(&'static str, Kind)> {
    Some(match key {
        CtKey::State => ("state", Kind::CtState),
        CtKey::Status => ("status", Kind::CtStatus),
        CtKey::DstIp => ("ip daddr", Kind::Ipv4),
        CtKey::DstIp6 => ("ip6 daddr", Kind::Ipv6),
        CtKey::ProtoDst => ("proto-dst", Kind::Number),
        CtKey::Direction => ("direction", Kind::Number),
        CtKey::Mark => ("mark", Kind::HostHex),
        CtKey::L3proto => ("l3proto", Kind::Nfproto),
        CtKey::Protocol => ("protocol", Kind::Protocol),
        CtKey::ProtoSrc => ("proto-src", Kind::Number),
        CtKey::SrcIp => ("ip saddr", Kind::Ipv4),
        CtKey::SrcIp6 => ("ip6 saddr", Kind::Ipv6),
        _ => return None,
    })
}

/// A lookup of `fib`, as in `fib saddr . iif oif`, and the meaning of the result's bytes.
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
        FibResult::Type if present => ("type", Kind::Presence),
        FibResult::Type => ("type", Kind::AddressType),
    };
    (format!("fib {} {name}", fields.join(" . ")), kind)
}
