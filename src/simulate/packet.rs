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
    /// Where the connection's destination is translated to, if it is.
    pub translated: Option<Translation>,
    /// The number of the user whose program on this machine sends it; `None` if unknown, or not sent by a program.
    pub user: Option<u32>,
}

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
    /// Whether it is the loopback.
    pub(super) fn is_loopback(&self) -> bool {
        matches!(self, Self::Named(name) if name == "lo")
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

    /// The IP protocol number; the address tells the IP version.
    #[must_use]
    pub const fn protocol(self, address: IpAddr) -> u8 {
        match self {
            Self::Ports { protocol, .. } | Self::Other(protocol) => protocol,
            Self::Icmp { .. } if address.is_ipv4() => protocol::ICMP,
            Self::Icmp { .. } => protocol::ICMPV6,
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
    /// Answers the first packet of a connection, whose destination was not translated.
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
            Transport::Icmp { .. } | Transport::Other(_) => false,
        };
        port || to.address != self.destination
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

    /// The same packet in another state.
    #[must_use]
    pub fn in_state(self, state: State) -> Self {
        Self { state, ..self }
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
        }
    }
}
