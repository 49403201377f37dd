//! A packet as the chains of one hook see it: its headers, interfaces and connection.

use super::bits::Bits;
use super::headers::Headers;
use super::hidden::{Hidden, destination, destination_port, hides_destination, hides_source};
use super::order::{EGRESS, INGRESS, INGRESS_OF_BRIDGE};
use super::packet::{Interface, Packet, Part, Path, State, Translation, Transport, Undone};
use super::truth::Doubt;
use super::tuple::Tuple;
use crate::net::header::{icmp, ipv4, ipv6, ports, sctp, tcp, udp};
use crate::net::{IfName, Version, protocol};
use crate::ruleset::{CtKey, Direction, Family, Hook, MetaKey, PayloadBase, ct_state};
use std::net::IpAddr;

/// `NF_IP_PRI_CONNTRACK`: chains of lower priority see a packet before its connection is looked up.
const PRIORITY_CONNTRACK: i32 = -200;
/// `NF_IP_PRI_NAT_DST`: chains of higher priority see a translated destination.
const PRIORITY_DNAT: i32 = -100;
/// `NF_IP_PRI_NAT_SRC`: chains of higher priority see a translated source.
const PRIORITY_SNAT: i32 = 100;

/// `ETH_P_ARP`.
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// `IPS_*` bits of a connection.
const SEEN_REPLY: u32 = 0x2;
const CONFIRMED: u32 = 0x8;
const SRC_NAT: u32 = 0x10;
const DST_NAT: u32 = 0x20;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// All TCP flags but the two of congestion control, which a first packet may carry.
const PLAIN_FLAGS: u8 = 0x3f;

/// The result of a load.
pub(super) enum Load {
    /// A value, and why some of its bits are unknown, if they are.
    Value(Bits, Doubt),
    /// Nothing: the rule does not match.
    Breaks,
    /// It is unknown whether there is a value, how long it is or what it is.
    Unknown(Doubt),
}

/// A packet at one place of its way.
pub(super) struct View<'a> {
    packet: &'a Packet,
    hook: Hook,
    incoming: &'a Interface,
    outgoing: &'a Interface,
    /// Whether the connection has been looked up.
    tracked: Tracked,
    /// Whether the destination has been translated already, if it is translated at all.
    translated: bool,
    /// The address that has replaced an answer's source.
    put_back: Option<Translation>,
    /// What the rules may not see of the packet.
    hidden: Hidden,
    hop_limit: Option<u8>,
    network_len: usize,
    /// Network and transport header, as far as the shortest header of their kind goes.
    headers: Headers,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracked {
    Yes,
    NotYet,
    Unknown,
}

impl<'a> View<'a> {
    /// The packet at a hook, for a chain of this priority; at that of the lookup of connections, a chain may come before
    /// it or after it.
    pub(super) fn new(packet: &'a Packet, hook: Hook, priority: i32, hidden: Hidden) -> Self {
        let incoming = match (hook, packet.path) {
            // It carries the interface that it leaves by, which `ip6_output` takes for the one that it came in by.
            (Hook::Postrouting, Path::FromMachine) if packet.is_neighbour_discovery() => &packet.outgoing,
            (Hook::Output | EGRESS, _) | (Hook::Postrouting, Path::FromMachine) => &Interface::Absent,
            _ => &packet.incoming,
        };
        let outgoing = match hook {
            Hook::Forward | Hook::Output | Hook::Postrouting | EGRESS => &packet.outgoing,
            _ => &Interface::Absent,
        };
        let first = matches!(hook, Hook::Prerouting | Hook::Output);
        let tracked = match &packet.incoming {
            _ if hook == EGRESS => Tracked::Unknown,
            _ if hook == INGRESS_OF_BRIDGE => Tracked::Yes,
            _ if matches!(hook, Hook::Other(_)) => Tracked::NotYet,
            _ if !first || priority > PRIORITY_CONNTRACK => Tracked::Yes,
            // A packet of this machine to itself was looked up when it was sent.
            Interface::Named(name) if hook == Hook::Prerouting && name == "lo" => Tracked::Yes,
            Interface::Unknown if hook == Hook::Prerouting => Tracked::Unknown,
            // The kernel attaches to a refusal the connection that it is about, at an unknown time.
            _ if packet.state == State::Related && hook == Hook::Output => Tracked::Unknown,
            // The one that was registered last runs first.
            _ if priority == PRIORITY_CONNTRACK => Tracked::Unknown,
            _ => Tracked::NotYet,
        };
        // It was translated when it was sent, too.
        let from_itself = hook == Hook::Prerouting && *incoming == Interface::Named("lo".to_owned());
        let late = tracked == Tracked::Yes || hook == EGRESS;
        let translated = late && (!first || priority > PRIORITY_DNAT || from_itself);
        let last = hook == EGRESS || matches!(hook, Hook::Postrouting | Hook::Input) && priority > PRIORITY_SNAT;
        // The source of an answer of this machine to itself was restored when it was sent.
        let put_back = packet.undone().destination.filter(|_| last || incoming.is_loopback());
        // Forwarding decrements it before the rules run.
        let leaves = matches!(hook, Hook::Postrouting | EGRESS);
        let forwarded = hook == Hook::Forward || leaves && packet.path == Path::Through;
        let hop_limit = packet.hop_limit.map(|limit| limit.saturating_sub(u8::from(forwarded)));
        let mut view = Self {
            packet,
            hook: if hook == INGRESS_OF_BRIDGE { INGRESS } else { hook },
            incoming,
            outgoing,
            tracked,
            translated,
            put_back,
            hidden,
            hop_limit,
            network_len: 0,
            headers: Headers::unknown(0),
        };
        (view.network_len, view.headers) = view.all_headers();
        view
    }

    /// Whether the packet's connection has been looked up; `None` if that is not known.
    pub(super) fn was_looked_up(&self) -> Option<bool> {
        match self.tracked {
            Tracked::Yes => Some(true),
            Tracked::NotYet => Some(false),
            Tracked::Unknown => None,
        }
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.tracked == Tracked::Yes && !matches!(self.packet.state, State::Invalid | State::Untracked)
    }

    /// Whether it is the first packet of its connection.
    pub(super) fn is_first(&self) -> bool {
        self.packet.state == State::New
    }

    /// Whether its destination at this hook is this machine, if its sender is genuine: a packet that is translated
    /// later was sent to a port that this machine publishes.
    pub(super) fn is_for_this_machine(&self) -> bool {
        self.packet.path == Path::ToMachine || self.packet.translated.is_some() && !self.translated
    }

    pub(super) fn hook(&self) -> Hook {
        self.hook
    }

    pub(super) fn incoming(&self) -> &'a Interface {
        self.incoming
    }

    pub(super) fn outgoing(&self) -> &'a Interface {
        self.outgoing
    }

    pub(super) fn version(&self) -> Version {
        Version::of(self.packet.source)
    }

    /// The source at this place; `None` if it is hidden.
    pub(super) fn source(&self) -> Option<IpAddr> {
        let hidden = hides_source(self.packet, self.put_back, self.hidden);
        (!hidden).then(|| self.put_back.map_or(self.packet.source, |to| to.address))
    }

    /// The destination at this place; `None` if it is hidden, or not known.
    pub(super) fn destination(&self) -> Option<IpAddr> {
        let hidden = hides_destination(self.packet, self.translated, self.hidden);
        (!hidden).then(|| destination(self.packet, self.translated))
    }

    /// The source port at this place; `None` if it is hidden, not known, or the protocol has no ports.
    pub(super) fn source_port(&self) -> Option<u16> {
        let Transport::Ports { source, .. } = self.packet.transport else { return None };
        let answers = matches!(self.packet.part, Part::Answer(_));
        let hidden = answers && hides_source(self.packet, self.put_back, self.hidden);
        self.put_back.and_then(|to| to.port).or(source).filter(|_| !hidden)
    }

    /// The destination port at this place; `None` if it is hidden, or the protocol has no ports.
    pub(super) fn destination_port(&self) -> Option<u16> {
        destination_port(self.packet, self.translated, self.hidden)
    }

    /// Flags of TCP, and which of them are known.
    pub(super) fn tcp_flags(&self) -> (u8, u8) {
        match self.packet.part {
            Part::First => (SYN, PLAIN_FLAGS),
            Part::Answer(Undone { later: false, .. }) => (SYN | ACK, PLAIN_FLAGS),
            // It may carry data.
            Part::Third | Part::Answer(_) => (ACK, PLAIN_FLAGS & !PSH),
            Part::Later => (0, 0),
        }
    }

    /// The ICMP type and code.
    pub(super) fn icmp(&self) -> Option<(u8, u8)> {
        let Transport::Icmp { kind, code } = self.packet.transport else { return None };
        Some((kind, code))
    }

    /// Whether it is an ICMP error, about which ICMP sends no other. For IPv4, unknown types count as errors.
    pub(super) fn is_icmp_error(&self) -> bool {
        let error = |kind| match self.packet.source {
            IpAddr::V4(_) => matches!(kind, 3..=5 | 11 | 12 | 19..),
            IpAddr::V6(_) => kind < 128,
        };
        self.icmp().is_some_and(|(kind, _)| error(kind))
    }

    pub(super) fn hop_limit(&self) -> Option<u8> {
        self.hop_limit
    }

    /// Whether connections of the packet's protocol have ports or an identifier besides their addresses
    /// (`get_unique_tuple` in net/netfilter/nf_nat_core.c), so that several may be translated to one source.
    pub(super) fn may_share_a_source(&self) -> bool {
        use crate::net::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
        const DCCP: u8 = 33;
        const GRE: u8 = 47;
        const UDP_LITE: u8 = 136;
        matches!(self.protocol(), ICMP | ICMPV6 | TCP | UDP | SCTP | DCCP | GRE | UDP_LITE)
    }

    pub(super) fn is_forwarded(&self) -> bool {
        self.packet.path == Path::Through && matches!(self.hook, Hook::Forward | Hook::Postrouting)
    }

    /// The least length of such a packet from its network header on, in bytes.
    pub(super) fn shortest(&self) -> u16 {
        let transport = match self.packet.transport {
            Transport::Ports { protocol: protocol::TCP, .. } => 20,
            Transport::Ports { protocol: protocol::SCTP, .. } => 12,
            Transport::Ports { .. } | Transport::Icmp { .. } => 8,
            Transport::Other(_) | Transport::Arp { .. } => 0,
        };
        u16::try_from(self.network_len).unwrap_or(u16::MAX).saturating_add(transport)
    }

    /// Whether these bytes of a header are unknown anyway, so that a rule may write anything there.
    pub(super) fn is_unread(&self, base: PayloadBase, offset: u32, len: u32) -> bool {
        let before = match (base, self.packet.source) {
            (PayloadBase::Link, _) => return true,
            // Before the fragment bits: type of service, length, identification. Or traffic class and flow label.
            (PayloadBase::Network, IpAddr::V4(_)) => 6,
            (PayloadBase::Network, IpAddr::V6(_)) => 4,
            _ => return false,
        };
        offset.checked_add(len).is_some_and(|end| end <= before)
    }

    /// The Ethernet type, in network order.
    pub(super) fn ether_type(&self) -> [u8; 2] {
        if self.is_arp() { ETHERTYPE_ARP } else { self.version().ether_type() }
    }

    pub(super) fn is_arp(&self) -> bool {
        matches!(self.packet.transport, Transport::Arp { .. })
    }

    pub(super) fn protocol(&self) -> u8 {
        self.packet.transport.protocol(self.packet.source)
    }

    pub(super) fn meta(&self, key: MetaKey) -> Load {
        let version = Version::of(self.packet.source);
        let arp = self.is_arp();
        let value = match key {
            MetaKey::Nfproto if arp => Bits::known(&[Family::Arp.number()]),
            MetaKey::L4proto if arp => return Load::Breaks,
            MetaKey::Iifname => return interface(self.incoming, "the incoming interface is not known"),
            MetaKey::Oifname => return interface(self.outgoing, "the outgoing interface is not known"),
            MetaKey::Nfproto => Bits::known(&[version.nfproto()]),
            MetaKey::L4proto => Bits::known(&[self.protocol()]),
            MetaKey::Protocol => Bits::known(&self.ether_type()),
            MetaKey::Iif if *self.incoming == Interface::Absent => Bits::known(&[0; 4]),
            MetaKey::Oif if *self.outgoing == Interface::Absent => Bits::known(&[0; 4]),
            MetaKey::SkUid if self.packet.path == Path::FromMachine => match self.packet.user {
                Some(user) => Bits::known(&user.to_ne_bytes()),
                None => return Load::Unknown("the user whose program sends it is not known".into()),
            },
            key => {
                return Load::Unknown(format!("`meta` key {} of the packet is not known", key.number()).into());
            }
        };
        Load::Value(value, Doubt::default())
    }

    /// Bytes of the network or the transport header, if they are known.
    pub(super) fn bytes(&self, base: PayloadBase, offset: u32, len: u32) -> Option<&[u8]> {
        let begin = match base {
            PayloadBase::Network => 0,
            PayloadBase::Transport if !self.is_arp() => self.network_len,
            _ => return None,
        };
        self.headers.bytes_at(begin.checked_add(usize::try_from(offset).ok()?)?, usize::try_from(len).ok()?)
    }

    pub(super) fn payload(&self, base: PayloadBase, offset: u32, len: u32) -> Load {
        let begin = match base {
            PayloadBase::Network => 0,
            PayloadBase::Transport if self.is_arp() => return Load::Breaks,
            PayloadBase::Transport => self.network_len,
            PayloadBase::Link | PayloadBase::Inner | PayloadBase::Other(_) => {
                return Load::Unknown("the packet is known from its network header on".into());
            }
        };
        let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else { return Load::Breaks };
        match begin.checked_add(offset).and_then(|begin| self.headers.slice(begin, len)) {
            Some(bits) => Load::Value(bits, "that field of the packet's headers is not known".into()),
            None => Load::Unknown("the bytes after the packet's headers are not known".into()),
        }
    }

    pub(super) fn ct(&self, key: CtKey, direction: Option<Direction>) -> Load {
        let state = match (self.tracked, self.packet.state) {
            (Tracked::Unknown, _) => {
                return Load::Unknown("whether its connection was looked up already is not known".into());
            }
            (Tracked::NotYet, _) | (_, State::Invalid) => ct_state::INVALID,
            (_, State::Untracked) => ct_state::UNTRACKED,
            (_, State::New) => ct_state::NEW,
            (_, State::Established | State::Reply) => ct_state::ESTABLISHED,
            (_, State::Related) => ct_state::RELATED,
        };
        if key == CtKey::State {
            return Load::Value(Bits::host_u32(state, u32::MAX), Doubt::default());
        }
        if matches!(state, ct_state::INVALID | ct_state::UNTRACKED) {
            return Load::Breaks;
        }
        let of_another = "it is the connection of another packet, which is not known";
        if self.packet.state == State::Related {
            return Load::Unknown(of_another.into());
        }
        let ipv4 = self.packet.source.is_ipv4();
        let tuple = self.tuple(direction.unwrap_or(Direction::Original));
        let value = match key {
            CtKey::Status => self.status(),
            CtKey::ProtoDst => tuple.destination_port,
            CtKey::ProtoSrc => tuple.source_port,
            CtKey::DstIp | CtKey::SrcIp if !ipv4 => return Load::Breaks,
            CtKey::DstIp6 | CtKey::SrcIp6 if ipv4 => return Load::Breaks,
            CtKey::DstIp | CtKey::DstIp6 | CtKey::Dst => tuple.destination,
            CtKey::SrcIp | CtKey::SrcIp6 | CtKey::Src => tuple.source,
            CtKey::Direction => Bits::known(&[u8::from(self.packet.state == State::Reply)]),
            CtKey::L3proto => Bits::known(&[Version::of(self.packet.source).nfproto()]),
            CtKey::Protocol => Bits::known(&[self.protocol()]),
            key => {
                return Load::Unknown(format!("`ct` key {} of the connection is not known", key.number()).into());
            }
        };
        Load::Value(value, "that property of the connection is not known".into())
    }

    fn status(&self) -> Bits {
        let packet = self.packet;
        // A translation to the same destination counts as none.
        let elsewhere = self.hidden == Hidden::ClientAndTranslation || packet.goes_elsewhere();
        let dnat = match packet.state {
            State::Reply => packet.undone().destination.is_some_and(|asked| {
                self.hidden == Hidden::ClientAndTranslation || packet.comes_from_elsewhere(asked)
            }),
            // The first packet has been translated already.
            State::Established => packet.translated.is_some() && elsewhere,
            _ => self.translated && packet.translated.is_some() && elsewhere,
        };
        let dnat = if dnat { DST_NAT } else { 0 };
        match packet.state {
            // Until its first packet has passed, a connection has no answer, is not confirmed, and has no translated
            // source.
            State::New => Bits::host_u32(dnat, DST_NAT | SRC_NAT | SEEN_REPLY | CONFIRMED),
            _ => Bits::host_u32(dnat | SEEN_REPLY | CONFIRMED, DST_NAT | SEEN_REPLY | CONFIRMED),
        }
    }

    /// The connection's tuple in one direction: that of its first packet as it was sent, or that of the answer from
    /// the translated destination.
    fn tuple(&self, direction: Direction) -> Tuple {
        let packet = self.packet;
        match (direction, packet.state) {
            (Direction::Original, State::Reply) => Tuple::of_answered(packet, self.hidden),
            (Direction::Reply, State::Reply) => Tuple::new(packet, false, self.hidden),
            (Direction::Original, _) => Tuple::new(packet, false, self.hidden),
            (Direction::Reply, state) => {
                let translated = self.translated || state == State::Established;
                Tuple::new(packet, translated, self.hidden).inverted(packet.transport)
            }
        }
    }

    /// The headers of a packet that is no fragment: the network header, without options, then the transport header.
    /// Also returns the length of the network header.
    fn all_headers(&self) -> (usize, Headers) {
        if let Transport::Arp { operation } = self.packet.transport {
            return arp_header(self.packet, operation);
        }
        let version = self.version();
        let network_len = at(version.destination().end());
        let mut headers = Headers::unknown(network_len + self.transport_len());
        match version {
            Version::V4 => {
                headers.put(at(ipv4::VERSION_AND_LENGTH.offset), &[0x45]);
                // All bits but "don't fragment" are clear.
                headers.put_byte(at(ipv4::FRAGMENT.offset), 0, 0xbf);
                headers.put(at(ipv4::FRAGMENT.offset + 1), &[0]);
            }
            Version::V6 => headers.put_byte(at(ipv6::VERSION.offset), 0x60, 0xf0),
        }
        self.hop_limit.iter().for_each(|limit| headers.put(at(version.hop_limit().offset), &[*limit]));
        headers.put(at(version.protocol().offset), &[self.protocol()]);
        let family = self.packet.source;
        headers.put_address(at(version.source().offset), self.source(), family);
        headers.put_address(at(version.destination().offset), self.destination(), family);
        self.put_transport_header(&mut headers, network_len);
        (network_len, headers)
    }

    fn transport_len(&self) -> usize {
        at(match self.packet.transport {
            Transport::Ports { protocol: protocol::TCP, .. } => tcp::HEADER.len,
            Transport::Ports { protocol: protocol::UDP, .. } => udp::HEADER.len,
            Transport::Ports { protocol: protocol::SCTP, .. } => sctp::HEADER.len,
            Transport::Ports { .. } => ports::BOTH.len,
            Transport::Icmp { .. } => icmp::HEADER.len,
            Transport::Other(_) | Transport::Arp { .. } => 0,
        })
    }

    fn put_transport_header(&self, headers: &mut Headers, begin: usize) {
        match self.packet.transport {
            Transport::Ports { protocol, .. } => {
                let all = [(ports::SOURCE, self.source_port()), (ports::DESTINATION, self.destination_port())];
                for (place, port) in all {
                    port.iter().for_each(|port| headers.put(begin + at(place.offset), &port.to_be_bytes()));
                }
                if protocol == protocol::TCP {
                    let (flags, known) = self.tcp_flags();
                    headers.put_byte(begin + at(tcp::FLAGS.offset), flags, known);
                }
            }
            Transport::Icmp { kind, code } => {
                headers.put(begin + at(icmp::TYPE.offset), &[kind]);
                headers.put(begin + at(icmp::CODE.offset), &[code]);
            }
            Transport::Other(_) | Transport::Arp { .. } => {}
        }
    }
}

fn at(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn interface(interface: &Interface, why: &'static str) -> Load {
    let name = match interface {
        Interface::Absent => IfName::default(),
        Interface::Unknown => return Load::Value(Bits::unknown(16), why.into()),
        Interface::Named(interface) => IfName::new(interface),
    };
    Load::Value(Bits::known(name.bytes()), Doubt::default())
}

/// ARP for IPv4 over Ethernet (RFC 826), and its length: nothing follows it.
fn arp_header(packet: &Packet, operation: u16) -> (usize, Headers) {
    const LEN: usize = 28;
    let mut header = Headers::unknown(LEN);
    header.put(0, &[0, 1, 8, 0, 6, 4]);
    header.put(6, &operation.to_be_bytes());
    header.put_address(14, Some(packet.source), packet.source);
    header.put_address(24, Some(packet.destination), packet.source);
    (LEN, header)
}
