//! A tracked connection.

use std::net::IpAddr;

/// `IPS_SEEN_REPLY`: packets have gone both ways.
const SEEN_REPLY: u32 = 1 << 1;
/// `IPS_ASSURED`: they have done so for a while.
const ASSURED: u32 = 1 << 2;
/// `IPS_SRC_NAT`: the source is translated.
const SOURCE_NAT: u32 = 1 << 4;
/// `IPS_DST_NAT`: the destination is translated.
const DESTINATION_NAT: u32 = 1 << 5;

/// One tracked connection, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The packets of who began it, before any translation: what `ct original` matches.
    pub original: Tuple,
    /// The packets of who answers, before they are translated back.
    pub reply: Tuple,
    /// The zones of both.
    pub zones: Zones,
    /// Bits of the kernel's `enum ip_conntrack_status` (`IPS_*`).
    pub status: u32,
    /// The kernel's own name for it, from its tuple and its place in memory: a later connection with the same tuple has
    /// another, unless it got the same place.
    pub id: Option<u32>,
    /// `ct mark`; 0 where none was ever set.
    pub mark: u32,
    /// The kernel's `enum tcp_conntrack` (1 SYN_SENT, 2 SYN_RECV, 3 ESTABLISHED, ...); `None` but for TCP, and for
    /// what a flowtable carries.
    pub tcp_state: Option<u8>,
    /// Whether this is a TCP connection that the kernel first saw in its midst, so that either side may have begun it: it
    /// takes whoever sent that packet for the one (`tcp_new`, which marks it `BE_LIBERAL`).
    pub picked_up: bool,
    /// Seconds until it is forgotten when no packet comes; `None` for what a flowtable carries.
    pub timeout: Option<u32>,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Where its packets are from.
    pub source: IpAddr,
    /// Where they go; of the same family.
    pub destination: IpAddr,
    /// The IP protocol: 6 for TCP.
    pub protocol: u8,
    /// What else tells it from others of that protocol.
    pub layer4: Layer4,
}

/// What tells connections between two addresses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer4 {
    /// Of TCP, UDP, SCTP, DCCP and UDP-Lite. GRE has its keys here.
    Ports {
        /// The sender's.
        source: u16,
        /// The receiver's.
        destination: u16,
    },
    /// Of ICMP and ICMPv6.
    Icmp {
        /// The type of the message.
        kind: u8,
        /// Its code.
        code: u8,
        /// The identifier of an echo, 0 for most others.
        id: u16,
    },
    /// Any other protocol has but one connection between two addresses.
    None,
}

/// The conntrack zone of each direction; 0 where none was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zones {
    /// That of the original direction.
    pub original: u16,
    /// That of the reply.
    pub reply: u16,
}

impl Entry {
    /// How sure it is that somebody uses it: 2 when packets have gone both ways for a while, 1 when one was answered, 0 for a
    /// first packet without an answer.
    #[must_use]
    pub const fn liveliness(&self) -> u8 {
        (self.status & ASSURED != 0) as u8 + (self.status & SEEN_REPLY != 0) as u8
    }

    /// Whether its packets go elsewhere than they were sent: to a container's published port, for one.
    #[must_use]
    pub const fn is_destination_translated(&self) -> bool {
        self.status & DESTINATION_NAT != 0
    }

    /// Whether its packets get another source: by masquerading, for one.
    #[must_use]
    pub const fn is_source_translated(&self) -> bool {
        self.status & SOURCE_NAT != 0
    }
}

impl Tuple {
    /// The packets that go the other way, where nothing translates them and the protocol has ports or nothing else to tell
    /// directions by.
    #[must_use]
    pub const fn inverted(self) -> Self {
        let layer4 = match self.layer4 {
            Layer4::Ports { source, destination } => Layer4::Ports { source: destination, destination: source },
            other => other,
        };
        Self { source: self.destination, destination: self.source, protocol: self.protocol, layer4 }
    }

    /// Source and destination port, of protocols that have them.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self.layer4 {
            Layer4::Ports { source, destination } => Some((source, destination)),
            Layer4::Icmp { .. } | Layer4::None => None,
        }
    }
}
