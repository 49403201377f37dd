//! Rules that read as sentences. Each method adds the expressions into which stock nft compiles the same statement,
//! so that the output of [`render`](crate::render) loads as exactly these expressions.

mod rates;
mod routed;
mod routing;

use crate::net::header::Place;
use crate::net::{IfName, IfPattern, Transport, Version, header, protocol};
use crate::resolve::Line;
use crate::ruleset::{
    Cmp, CtKey, Direction, Element, Expr, IcmpxCode, KeyType, MapValue, MetaKey, PayloadBase, Register, Reject, Rule,
    Set, SetFlags, SetRef, SetSpec, Verdict,
};
use std::collections::BTreeSet;

/// `IPS_DST_NAT`: the connection's destination was translated.
const STATUS_DNAT: u32 = 0x20;

/// RFC 9293, 3.1.
const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;
/// RFC 9260, 3.2: the type of a chunk, after the common header of 12 bytes.
const SCTP_INIT: u8 = 1;

/// The origin of a rule, as its comment names it.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The policy as a whole.
    File,
    /// A line of the policy; `None` if the policy is silent and a default applies.
    Line(Option<Line>),
    /// Needed by every machine, whatever the policy says.
    BuiltIn,
}

/// A rule in the making.
#[derive(Clone)]
pub(super) struct Statement(Vec<Expr>);

/// Begins a rule.
pub(super) fn when() -> Statement {
    Statement(Vec::new())
}

impl Statement {
    fn add(mut self, expr: Expr) -> Self {
        self.0.push(expr);
        self
    }

    fn meta(self, key: MetaKey) -> Self {
        self.add(Expr::Meta { key, dreg: Register::ONE })
    }

    fn ct(self, key: CtKey, direction: Option<Direction>) -> Self {
        self.add(Expr::Ct { key, direction, dreg: Register::ONE })
    }

    fn payload(self, base: PayloadBase, offset: u32, len: u32) -> Self {
        self.add(Expr::Payload { base, offset, len, dreg: Register::ONE })
    }

    fn field(self, base: PayloadBase, Place { offset, len }: Place) -> Self {
        self.payload(base, offset, len)
    }

    fn cmp(self, op: Cmp, data: &[u8]) -> Self {
        self.add(Expr::Cmp { op, sreg: Register::ONE, data: data.to_vec() })
    }

    fn masked(self, mask: Vec<u8>) -> Self {
        let xor = vec![0; mask.len()];
        self.add(Expr::Bitwise { sreg: Register::ONE, dreg: Register::ONE, mask, xor })
    }

    fn lookup(self, set: SetRef, dreg: Option<Register>, inverted: bool) -> Self {
        self.add(Expr::Lookup { set, sreg: Register::ONE, dreg, inverted })
    }

    /// `meta nfproto ipv4`, which nft adds before an IPv4 field of an inet table.
    pub(super) fn version(self, version: Version) -> Self {
        self.meta(MetaKey::Nfproto).cmp(Cmp::Eq, &[version.nfproto()])
    }

    /// `meta l4proto 6`
    pub(super) fn l4proto(self, number: u8) -> Self {
        self.meta(MetaKey::L4proto).cmp(Cmp::Eq, &[number])
    }

    /// `tcp flags syn / fin,syn,rst,ack`: only the first packet of a handshake.
    pub(super) fn begins_tcp(self) -> Self {
        self.l4proto(protocol::TCP)
            .field(PayloadBase::Transport, header::tcp::FLAGS)
            .masked(vec![TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK])
            .cmp(Cmp::Eq, &[TCP_SYN])
    }

    /// `meta l4proto sctp @th,96,8 0x1`: a packet whose first chunk is INIT, which is always alone in its packet (RFC
    /// 9260, 6.10). nft's own match finds the chunk at any position, for which the kernel walks all chunks.
    pub(super) fn begins_sctp(self) -> Self {
        self.l4proto(protocol::SCTP)
            .field(PayloadBase::Transport, header::sctp::CHUNK_TYPE)
            .cmp(Cmp::Eq, &[SCTP_INIT])
    }

    /// `meta l4proto != 6`
    pub(super) fn l4proto_is_not(self, number: u8) -> Self {
        self.meta(MetaKey::L4proto).cmp(Cmp::Neq, &[number])
    }

    /// `iifname "lo"`
    pub(super) fn iifname_is(self, name: &str) -> Self {
        self.meta(MetaKey::Iifname).cmp(Cmp::Eq, IfName::new(name).bytes())
    }

    /// `oifname "lo"`
    pub(super) fn oifname_is(self, name: &str) -> Self {
        self.meta(MetaKey::Oifname).cmp(Cmp::Eq, IfName::new(name).bytes())
    }

    /// `oifname != "br-app"`
    pub(super) fn oifname_is_not(self, name: &str) -> Self {
        self.meta(MetaKey::Oifname).cmp(Cmp::Neq, IfName::new(name).bytes())
    }

    /// `iifname @lan-if`
    pub(super) fn iifname_in(self, set: &str) -> Self {
        self.meta(MetaKey::Iifname).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    /// `iifname != @ssh.on`
    pub(super) fn iifname_not_in(self, set: &str) -> Self {
        self.meta(MetaKey::Iifname).lookup(SetRef::Named(set.to_owned()), None, true)
    }

    /// `oifname != @containers-if`
    pub(super) fn oifname_not_in(self, set: &str) -> Self {
        self.meta(MetaKey::Oifname).lookup(SetRef::Named(set.to_owned()), None, true)
    }

    /// `oifname @containers-if`
    pub(super) fn oifname_in(self, set: &str) -> Self {
        self.meta(MetaKey::Oifname).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    /// `ip saddr @trusted-v4`, `ip6 saddr @trusted-v6`
    pub(super) fn source_in(self, version: Version, set: &str) -> Self {
        self.version(version).source(version).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    fn source(self, version: Version) -> Self {
        self.field(PayloadBase::Network, version.source())
    }

    fn destination(self, version: Version) -> Self {
        self.field(PayloadBase::Network, version.destination())
    }

    /// `ip daddr != @ssh.to-v4`
    pub(super) fn destination_not_in(self, version: Version, set: &str) -> Self {
        self.version(version).destination(version).lookup(SetRef::Named(set.to_owned()), None, true)
    }

    /// `meta nfproto ipv4 ct original ip daddr @containers.elsewhere-v4`: the address that the sender wrote, before
    /// any NAT.
    pub(super) fn original_destination_in(self, version: Version, set: &str) -> Self {
        self.original_destination(version).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    /// `meta nfproto ipv4 ct original ip daddr != @ssh.to-v4`
    pub(super) fn original_destination_not_in(self, version: Version, set: &str) -> Self {
        self.original_destination(version).lookup(SetRef::Named(set.to_owned()), None, true)
    }

    fn original_destination(self, version: Version) -> Self {
        let key = match version {
            Version::V4 => CtKey::DstIp,
            Version::V6 => CtKey::DstIp6,
        };
        self.version(version).ct(key, Some(Direction::Original))
    }

    /// `meta nfproto ipv4 ct original ip daddr 127.0.0.0/8`: nft compares the bytes that the prefix covers.
    pub(super) fn original_destination_is_loopback(self) -> Self {
        self.version(Version::V4).ct(CtKey::DstIp, Some(Direction::Original)).cmp(Cmp::Eq, &[127])
    }

    /// `ip6 saddr fe80::/10`
    pub(super) fn source_is_link_local(self) -> Self {
        self.version(Version::V6).source(Version::V6).of_the_link()
    }

    /// `ip6 daddr fe80::/10`
    pub(super) fn destination_is_link_local(self) -> Self {
        self.version(Version::V6).destination(Version::V6).of_the_link()
    }

    /// `ip daddr 224.0.0.0/4`
    pub(super) fn destination_is_group(self) -> Self {
        self.version(Version::V4).destination(Version::V4).masked(vec![0xf0, 0, 0, 0]).cmp(Cmp::Eq, &[0xe0, 0, 0, 0])
    }

    /// Matches `fe80::/10` in a loaded address.
    fn of_the_link(self) -> Self {
        let filled = |begin: [u8; 2]| [begin.to_vec(), vec![0; 14]].concat();
        self.masked(filled([0xff, 0xc0])).cmp(Cmp::Eq, &filled([0xfe, 0x80]))
    }

    /// `ip6 saddr ::`
    pub(super) fn source_is_unspecified(self) -> Self {
        self.version(Version::V6).source(Version::V6).cmp(Cmp::Eq, &[0; 16])
    }

    /// `ip saddr 127.0.0.0/8`
    pub(super) fn source_is_loopback(self) -> Self {
        self.version(Version::V4).payload(PayloadBase::Network, header::ipv4::SOURCE.offset, 1).cmp(Cmp::Eq, &[127])
    }

    /// `ip daddr 127.0.0.0/8`
    pub(super) fn destination_is_loopback(self) -> Self {
        self.version(Version::V4)
            .payload(PayloadBase::Network, header::ipv4::DESTINATION.offset, 1)
            .cmp(Cmp::Eq, &[127])
    }

    /// `ip6 hoplimit 255`: sent by a neighbour, since every router decrements the hop limit.
    pub(super) fn hop_limit_is_255(self) -> Self {
        self.version(Version::V6).field(PayloadBase::Network, header::ipv6::HOP_LIMIT).cmp(Cmp::Eq, &[255])
    }

    /// `icmp type { ... }`, `icmpv6 type { ... }`: one type is compared, several are looked up. The network protocol
    /// must have been matched already.
    pub(super) fn icmp_type(self, version: Version, types: &[u8]) -> Self {
        let (protocol, key) = match version {
            Version::V4 => (1, KeyType::ICMP_TYPE),
            Version::V6 => (58, KeyType::ICMPV6_TYPE),
        };
        let statement = self.l4proto(protocol).field(PayloadBase::Transport, header::icmp::TYPE);
        match types {
            [one] => statement.cmp(Cmp::Eq, &[*one]),
            several => {
                let elements = several.iter().map(|number| Element::single(&[*number]));
                statement.lookup(anonymous(key, None, elements.collect()), None, false)
            }
        }
    }

    /// `udp sport 67 udp dport 68`, which nft compares as one value of four bytes.
    pub(super) fn udp_ports(self, source: u16, destination: u16) -> Self {
        let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        self.l4proto(Transport::Udp.number()).field(PayloadBase::Transport, header::ports::BOTH).cmp(Cmp::Eq, &ports)
    }

    /// `udp dport { 53, 67 }`, `tcp dport 53`
    pub(super) fn destination_ports(self, transport: Transport, ports: &[u16]) -> Self {
        let statement = self.l4proto(transport.number()).field(PayloadBase::Transport, header::ports::DESTINATION);
        match ports {
            [one] => statement.cmp(Cmp::Eq, &one.to_be_bytes()),
            several => {
                let elements = several.iter().map(|port| Element::single(&port.to_be_bytes())).collect();
                statement.lookup(anonymous(KeyType::INET_SERVICE, None, elements), None, false)
            }
        }
    }

    /// `ip saddr . ip daddr . meta l4proto . th sport . th dport @policy.revoked-v4`
    pub(super) fn flow_in(self, version: Version, set: &str) -> Self {
        let set = SetRef::Named(set.to_owned());
        self.version(version).flow(version).add(Expr::Lookup {
            set,
            sreg: Register::ONE,
            dreg: None,
            inverted: false,
        })
    }

    /// Loads a packet's source and destination in the layout of [`KeyType::FLOW_V4`] and [`KeyType::FLOW_V6`].
    fn flow(self, version: Version) -> Self {
        let (source, destination, len, words) = match version {
            Version::V4 => (12, 16, 4, 1),
            Version::V6 => (8, 24, 16, 4),
        };
        let load = |base, offset, len, slot| Expr::Payload { base, offset, len, dreg: Register::Data(slot) };
        self.add(load(PayloadBase::Network, source, len, 0))
            .add(load(PayloadBase::Network, destination, len, words))
            .add(Expr::Meta { key: MetaKey::L4proto, dreg: Register::Data(2 * words) })
            .add(load(PayloadBase::Transport, 0, 2, 2 * words + 1))
            .add(load(PayloadBase::Transport, 2, 2, 2 * words + 2))
    }

    /// `ct status dnat`
    pub(super) fn destination_was_translated(self) -> Self {
        self.ct(CtKey::Status, None).masked(STATUS_DNAT.to_ne_bytes().to_vec()).cmp(Cmp::Neq, &0_u32.to_ne_bytes())
    }

    /// `ct state established,related`: any of these states. A mask, which the kernel evaluates inline; a verdict map
    /// would cost every packet of an established connection a hash lookup.
    pub(super) fn ct_state(self, states: &[u32]) -> Self {
        let mask = states.iter().fold(0, |mask, state| mask | state);
        self.ct(CtKey::State, None).masked(mask.to_ne_bytes().to_vec()).cmp(Cmp::Neq, &0_u32.to_ne_bytes())
    }

    /// `meta l4proto tcp ct original proto-dst vmap @services-tcp`: by the port that the outside sees.
    pub(super) fn original_port_vmap(self, transport: Transport, map: &str) -> Self {
        self.l4proto(transport.number()).ct(CtKey::ProtoDst, Some(Direction::Original)).lookup(
            SetRef::Named(map.to_owned()),
            Some(Register::Verdict),
            false,
        )
    }

    /// `meta l4proto tcp th dport vmap @services-tcp`: by the port that the packet itself has.
    pub(super) fn own_port_vmap(self, transport: Transport, map: &str) -> Self {
        self.l4proto(transport.number()).field(PayloadBase::Transport, header::ports::DESTINATION).lookup(
            SetRef::Named(map.to_owned()),
            Some(Register::Verdict),
            false,
        )
    }

    /// `udp sport 53`, `udp sport 8000-9000`, `udp sport { 53, 8000-9000 }`
    pub(super) fn source_ports(self, transport: Transport, runs: &[(u16, u16)]) -> Self {
        let statement = self.l4proto(transport.number()).field(PayloadBase::Transport, header::ports::SOURCE);
        match runs {
            [(first, last)] if first == last => statement.cmp(Cmp::Eq, &first.to_be_bytes()),
            [(first, last)] => statement.cmp(Cmp::Gte, &first.to_be_bytes()).cmp(Cmp::Lte, &last.to_be_bytes()),
            runs => {
                let element = |&(first, last): &(u16, u16)| {
                    if first == last {
                        Element::single(&first.to_be_bytes())
                    } else {
                        Element::range(&first.to_be_bytes(), &last.to_be_bytes())
                    }
                };
                let interval = runs.iter().any(|(first, last)| first != last);
                let flags = if interval { SetFlags::CONSTANT.with(SetFlags::INTERVAL) } else { SetFlags::CONSTANT };
                let spec = SetSpec::new(KeyType::INET_SERVICE, flags);
                let elements = runs.iter().map(element).collect::<Vec<_>>().into();
                let set = SetRef::Anonymous(Box::new(Set { spec, elements }));
                statement.lookup(set, None, false)
            }
        }
    }

    /// `meta l4proto vmap @services-protocol`
    pub(super) fn protocol_vmap(self, map: &str) -> Self {
        self.meta(MetaKey::L4proto).lookup(SetRef::Named(map.to_owned()), Some(Register::Verdict), false)
    }

    /// `counter`
    pub(super) fn counter(self) -> Self {
        self.add(Expr::Counter { packets: 0, bytes: 0 })
    }

    /// `reject with tcp reset`
    pub(super) fn reject_tcp(self) -> Self {
        self.add(Expr::Reject(Reject::TcpReset))
    }

    /// `reject`, which is `icmpx port-unreachable` in an inet table.
    pub(super) fn reject(self) -> Self {
        self.add(Expr::Reject(Reject::Icmpx(IcmpxCode::PortUnreachable)))
    }

    /// `accept`
    pub(super) fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    /// `drop`
    pub(super) fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    /// `return`
    pub(super) fn go_back(self) -> Self {
        self.verdict(Verdict::Return)
    }

    /// `jump CHAIN`
    pub(super) fn jump(self, chain: &str) -> Self {
        self.verdict(Verdict::Jump(chain.to_owned()))
    }

    /// `goto CHAIN`
    pub(super) fn goto(self, chain: &str) -> Self {
        self.verdict(Verdict::Goto(chain.to_owned()))
    }

    pub(super) fn verdict(self, verdict: Verdict) -> Self {
        self.add(Expr::Verdict(verdict))
    }

    /// Ends the rule with its comment.
    pub(super) fn because(self, comment: String) -> Rule {
        Rule { exprs: self.0, comment: Some(comment) }
    }
}

/// A limit whose bucket holds as much as one unit of time refills.
/// The anonymous set or map that nft makes of `{ ... }`.
fn anonymous(key: KeyType, value: Option<MapValue>, mut elements: Vec<Element>) -> SetRef {
    elements.sort_unstable();
    let spec = SetSpec { value, ..SetSpec::new(key, SetFlags::CONSTANT) };
    SetRef::Anonymous(Box::new(Set { spec, elements: elements.into() }))
}

/// Interfaces as elements of an `ifname` interval set. A wildcard is the range of all names with that beginning.
/// Names that a wildcard covers are left out, since the kernel refuses overlapping intervals.
pub(super) fn interface_elements<'a>(interfaces: impl IntoIterator<Item = &'a IfPattern> + Clone) -> Vec<Element> {
    let wildcards: BTreeSet<&str> =
        interfaces.clone().into_iter().filter(|one| one.wildcard).map(|one| one.name.as_str()).collect();
    // A wildcard does not cover itself. Looks up each prefix: names are short, but lists of them may be long.
    let covered = |one: &IfPattern| {
        let longest = one.name.len().saturating_sub(one.wildcard.into());
        (0..=longest).filter_map(|end| one.name.get(..end)).any(|begin| wildcards.contains(begin))
    };
    let mut elements: Vec<Element> = interfaces
        .into_iter()
        .filter(|one| !covered(one))
        .map(|one| {
            if one.wildcard {
                Element::range(IfName::new(&one.name).bytes(), IfName::last_beginning_with(&one.name).bytes())
            } else {
                Element::single(IfName::new(&one.name).bytes())
            }
        })
        .collect();
    elements.sort_unstable();
    elements
}
