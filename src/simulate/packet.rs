//! The packet to simulate.

use crate::net::protocol;
use std::net::IpAddr;

/// One packet as its sender wrote it, and how this machine handles it.
///
/// It comes alone, so it exceeds no rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The hooks that it passes.
    pub path: Path,
    /// The interface that it comes in by; [`Interface::Absent`] if this machine sends it.
    pub incoming: Interface,
    /// The interface that it leaves by; [`Interface::Absent`] if it is for this machine.
    pub outgoing: Interface,
    /// The source address.
    pub source: IpAddr,
    /// The destination address, before any translation.
    pub destination: IpAddr,
    /// The transport header, its ports before any translation.
    pub transport: Transport,
    /// The hop limit, or time to live, as it comes in; `None` if unknown.
    pub hop_limit: Option<u8>,
    /// What conntrack says of it.
    pub state: State,
    /// Where the connection's destination is translated to, if it is; `None` for an answer.
    pub translated: Option<Translation>,
    /// Which packet of its connection it is.
    pub part: Part,
    /// The number of the user whose program on this machine sends it; `None` if unknown, or not sent by a program.
    pub user: Option<u32>,
}

/// Which packet of a connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The one that opens it.
    First,
    /// The answer to the first.
    Answer(Undone),
    /// One that follows the answer, from whom the first came.
    Third,
    /// Any other.
    Later,
}

/// Translations of a connection that conntrack undoes in an answer, if it is tracked (`nf_nat_packet` in
/// net/netfilter/nf_nat_core.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Where the connection was opened to, if its destination was translated. It takes the place of the answer's
    /// source at the end of its way: behind the chains of priority `srcnat` at postrouting and input.
    pub destination: Option<Translation>,
    /// Whether the connection's source was translated. Then the answer is sent to an address that is not known, until
    /// the packet's destination takes its place: behind the chains of priority `dstnat` at prerouting and output.
    pub source: bool,
    /// That address, where the source was masqueraded: the one that this machine sends from to the other end
    /// (`nf_nat_masquerade_ipv4` in net/netfilter/nf_nat_masquerade.c).
    pub masqueraded: Option<IpAddr>,
    /// Whether its port is the one that the connection came from. It is if the rule names no port, and no other
    /// connection has it (`get_unique_tuple` in net/netfilter/nf_nat_core.c).
    pub keeps_port: bool,
    /// Whether the packet comes after the third, and carries data: it goes the way of the answer, and is no SYN-ACK.
    pub later: bool,
}

/// A source port of clients, in the ephemeral range of Linux and other systems.
pub const EPHEMERAL: u16 = 50_123;

/// The way of a packet through the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Prerouting, input.
    ToMachine,
    /// Prerouting, forward, postrouting.
    Through,
    /// Output, postrouting.
    FromMachine,
}

/// An interface of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// There is none: rules see an empty name.
    Absent,
    /// That one.
    Named(String),
    /// There is one, but it is unknown which.
    Unknown,
}

impl Interface {
    /// Whether there is none.
    pub(super) fn is_absent(&self) -> bool {
        *self == Self::Absent
    }

    /// Whether it is the loopback.
    pub(super) fn is_loopback(&self) -> bool {
        self.is("lo")
    }

    /// Whether it is that one.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Named(own) if own == name)
    }
}

impl From<Option<&str>> for Interface {
    /// [`Interface::Unknown`] when there is no name.
    fn from(name: Option<&str>) -> Self {
        name.map_or(Self::Unknown, |name| Self::Named(name.to_owned()))
    }
}

/// A transport header, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP, UDP, SCTP, or another protocol whose header begins with two ports.
    Ports {
        /// The IP protocol number.
        protocol: u8,
        /// The source port; `None` when it may be any.
        source: Option<u16>,
        /// The destination port.
        destination: u16,
    },
    /// ICMP, or ICMPv6 when the addresses are IPv6.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// Another IP protocol by number.
    Other(u8),
    /// No IP packet, but ARP between the addresses.
    Arp {
        /// `ARPOP_*`.
        operation: u16,
    },
}

impl Transport {
    /// TCP to a port, from any.
    #[must_use]
    pub const fn tcp(destination: u16) -> Self {
        Self::Ports { protocol: protocol::TCP, source: None, destination }
    }

    /// UDP to a port, from any.
    #[must_use]
    pub const fn udp(destination: u16) -> Self {
        Self::Ports { protocol: protocol::UDP, source: None, destination }
    }

    /// An echo request; the address tells the IP version.
    #[must_use]
    pub const fn echo_request(to: IpAddr) -> Self {
        Self::Icmp { kind: if to.is_ipv4() { 8 } else { 128 }, code: 0 }
    }

    /// The header of an answer to `client`; `port` is the one that answers, if it is not the one that was asked for.
    fn answer(self, client: IpAddr, port: Option<u16>) -> Option<Self> {
        Some(match self {
            Self::Ports { protocol, source, destination } => Self::Ports {
                protocol,
                source: Some(port.unwrap_or(destination)),
                destination: source.unwrap_or(EPHEMERAL),
            },
            // Echo, timestamp, information and address mask requests; echo requests and node information queries.
            Self::Icmp { kind: 8, .. } if client.is_ipv4() => Self::Icmp { kind: 0, code: 0 },
            Self::Icmp { kind: kind @ (13 | 15 | 17), .. } if client.is_ipv4() => {
                Self::Icmp { kind: kind + 1, code: 0 }
            }
            Self::Icmp { kind: kind @ (128 | 139), .. } if client.is_ipv6() => Self::Icmp { kind: kind + 1, code: 0 },
            Self::Icmp { .. } | Self::Arp { .. } => return None,
            Self::Other(_) => self,
        })
    }

    /// The IP protocol number; the address tells the IP version.
    #[must_use]
    pub const fn protocol(self, address: IpAddr) -> u8 {
        match self {
            Self::Ports { protocol, .. } | Self::Other(protocol) => protocol,
            Self::Icmp { .. } if address.is_ipv4() => protocol::ICMP,
            Self::Icmp { .. } => protocol::ICMPV6,
            Self::Arp { .. } => 0,
        }
    }
}

/// What conntrack says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Begins a connection.
    New,
    /// Belongs to a connection that has seen both directions, and goes the way of its first packet.
    Established,
    /// Belongs to a connection, and goes the other way than its first packet.
    Reply,
    /// Begins a connection or carries an error, and belongs to another connection, of which nothing is known.
    Related,
    /// Belongs to no connection and can't begin one.
    Invalid,
    /// Is not tracked.
    Untracked,
}

/// Where a destination is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Translation {
    /// The address.
    pub address: IpAddr,
    /// The port; `None` leaves it as it was.
    pub port: Option<u16>,
}

impl Packet {
    /// The first packet of a connection to this machine. Its incoming interface, the source port of
    /// [`Transport::tcp`] and the hop limit are unknown until they are set.
    #[must_use]
    pub fn to_machine(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self {
            path: Path::ToMachine,
            incoming: Interface::Unknown,
            outgoing: Interface::Absent,
            source,
            destination,
            transport,
            hop_limit: None,
            state: State::of_first(source, transport),
            translated: None,
            part: Part::First,
            user: None,
        }
    }

    /// The first packet of a connection to a port that a container publishes: it is sent to `destination`, and
    /// translated to the container.
    #[must_use]
    pub fn published(source: IpAddr, destination: IpAddr, transport: Transport, to: Translation) -> Self {
        Self { translated: Some(to), ..Self::through(source, destination, transport) }
    }

    /// The first packet of a connection that this machine routes and does not translate.
    #[must_use]
    pub fn through(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self { path: Path::Through, outgoing: Interface::Unknown, ..Self::to_machine(source, destination, transport) }
    }

    /// The first packet of a connection that this machine opens.
    #[must_use]
    pub fn from_machine(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self { path: Path::FromMachine, incoming: Interface::Absent, ..Self::through(source, destination, transport) }
    }

    /// Whether its destination is translated to another.
    pub(super) fn goes_elsewhere(&self) -> bool {
        let Some(to) = self.translated else { return false };
        let port = match self.transport {
            Transport::Ports { destination, .. } => to.port.is_some_and(|port| port != destination),
            Transport::Icmp { .. } | Transport::Other(_) | Transport::Arp { .. } => false,
        };
        port || to.address != self.destination
    }

    /// Whether this answer comes from another address or port than `asked`, the one that was asked for.
    pub(super) fn comes_from_elsewhere(&self, asked: Translation) -> bool {
        let port = match self.transport {
            Transport::Ports { source, .. } => asked.port.is_some() && asked.port != source,
            Transport::Icmp { .. } | Transport::Other(_) | Transport::Arp { .. } => false,
        };
        port || asked.address != self.source
    }

    /// The same packet, coming in by that interface.
    #[must_use]
    pub fn coming_in_by(self, interface: impl Into<String>) -> Self {
        Self { incoming: Interface::Named(interface.into()), ..self }
    }

    /// The same packet, leaving by that interface.
    #[must_use]
    pub fn leaving_by(self, interface: impl Into<String>) -> Self {
        Self { outgoing: Interface::Named(interface.into()), ..self }
    }

    /// The same packet, sent by a program of that user.
    #[must_use]
    pub fn sent_by(self, user: u32) -> Self {
        Self { user: Some(user), ..self }
    }

    /// The same packet in another state; it opens a connection only if it is new.
    #[must_use]
    pub fn in_state(self, state: State) -> Self {
        Self { state, part: if state == State::New { Part::First } else { Part::Later }, ..self }
    }

    /// The answer to it, if its path, its interfaces and its translation are as they say: a reply that leaves where it
    /// came in, and comes in where it left. `None` if there is no answer, as to an error.
    #[must_use]
    pub fn answer(&self) -> Option<Self> {
        let from = self.translated.map_or(self.destination, |to| to.address);
        let transport = self.transport.answer(self.source, self.translated.and_then(|to| to.port))?;
        let port = match self.transport {
            Transport::Ports { destination, .. } => Some(destination),
            Transport::Icmp { .. } | Transport::Other(_) | Transport::Arp { .. } => None,
        };
        let undone = Undone {
            destination: self.translated.map(|_| Translation { address: self.destination, port }),
            source: false,
            masqueraded: None,
            keeps_port: false,
            later: false,
        };
        let (path, incoming) = match self.path {
            Path::ToMachine => (Path::FromMachine, Interface::Absent),
            Path::Through => (Path::Through, self.outgoing.clone()),
            Path::FromMachine => (Path::ToMachine, self.outgoing.clone()),
        };
        Some(Self {
            path,
            incoming,
            outgoing: self.incoming.clone(),
            state: State::Reply,
            part: Part::Answer(undone),
            ..Self::through(from, self.source, transport)
        })
    }

    /// The packet that follows the answer to it and ends the opening of the connection, if its protocol has one.
    #[must_use]
    pub fn third(&self) -> Option<Self> {
        self.has_third().then(|| self.next())
    }

    /// Whether its protocol opens connections by three packets.
    pub(super) const fn has_third(&self) -> bool {
        matches!(self.transport, Transport::Ports { protocol: protocol::TCP | protocol::SCTP, .. })
    }

    /// What its sender sends after the answer to it.
    pub(super) fn next(&self) -> Self {
        Self { state: State::Established, part: Part::Third, ..self.clone() }
    }

    /// What comes back later, if this is the answer before it.
    pub(super) fn later(&self) -> Self {
        let part = match self.part {
            Part::Answer(undone) => Part::Answer(Undone { later: true, ..undone }),
            part => part,
        };
        Self { part, ..self.clone() }
    }

    /// What conntrack undoes in it.
    pub(super) fn undone(&self) -> Undone {
        match (self.part, self.state) {
            (Part::Answer(undone), State::Reply) => undone,
            _ => Undone::default(),
        }
    }

    /// Whether it is sent to another address than its destination until conntrack puts that in place.
    pub(super) fn is_sent_elsewhere(&self, put: bool) -> bool {
        let Part::Answer(undone) = self.part else { return false };
        undone.source && !(put && self.state == State::Reply)
    }
}

impl State {
    /// What conntrack says of a packet that belongs to no connection yet.
    #[must_use]
    pub const fn of_first(source: IpAddr, transport: Transport) -> Self {
        match transport {
            Transport::Icmp { kind, .. } if source.is_ipv4() => match kind {
                // Echo, timestamp, information and address mask requests.
                8 | 13 | 15 | 17 => Self::New,
                _ => Self::Invalid,
            },
            Transport::Icmp { kind, .. } => match kind {
                // Echo request, node information query.
                128 | 139 => Self::New,
                // Multicast listener discovery and neighbour discovery: conntrack does not track them.
                130..=136 | 143 => Self::Untracked,
                _ => Self::Invalid,
            },
            Transport::Ports { .. } | Transport::Other(_) => Self::New,
            Transport::Arp { .. } => Self::Untracked,
        }
    }
}
