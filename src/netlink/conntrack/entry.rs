//! A tracked connection.

use std::net::IpAddr;

/// `IPS_SEEN_REPLY`: packets went in both directions.
const SEEN_REPLY: u32 = 1 << 1;
/// `IPS_ASSURED`: packets went in both directions for a while.
const ASSURED: u32 = 1 << 2;
/// `IPS_SRC_NAT`: the source is translated.
const SOURCE_NAT: u32 = 1 << 4;
/// `IPS_DST_NAT`: the destination is translated.
const DESTINATION_NAT: u32 = 1 << 5;

/// A tracked connection, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The packets of the originator, before any translation: what `ct original` matches.
    pub original: Tuple,
    /// The packets of the responder, before they are translated back.
    pub reply: Tuple,
    /// The zones of both directions.
    pub zones: Zones,
    /// Bits of the kernel's `enum ip_conntrack_status` (`IPS_*`).
    pub status: u32,
    /// The kernel's id for it, made from its tuple and its memory address: a later connection with the same tuple has
    /// another id, unless it got the same address.
    pub id: Option<u32>,
    /// `ct mark`; 0 if it was never set.
    pub mark: u32,
    /// The kernel's `enum tcp_conntrack` (1 SYN_SENT, 2 SYN_RECV, 3 ESTABLISHED, ...); `None` for other protocols,
    /// and for connections in a flowtable.
    pub tcp_state: Option<u8>,
    /// Whether this is a TCP connection that the kernel picked up midstream, so that either side may have begun it:
    /// the kernel takes the first sender that it saw for the originator (`tcp_new`, which sets `BE_LIBERAL`).
    /// conntrack(8) and conntrackd(8) mark the connections that they add the same way.
    pub picked_up: bool,
    /// Seconds until the entry expires without packets; `None` for connections in a flowtable.
    pub timeout: Option<u32>,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// The source of its packets.
    pub source: IpAddr,
    /// Their destination, of the same family.
    pub destination: IpAddr,
    /// The IP protocol: 6 for TCP.
    pub protocol: u8,
    /// What else distinguishes it from others of that protocol.
    pub layer4: Layer4,
}

/// What distinguishes connections between two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer4 {
    /// TCP, UDP, SCTP, DCCP and UDP-Lite; for GRE, its keys.
    Ports {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        destination: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// The message type.
        kind: u8,
        /// The message code.
        code: u8,
        /// The identifier of an echo; 0 for most other messages.
        id: u16,
    },
    /// Any other protocol: one connection between two addresses.
    None,
}

/// The conntrack zone of each direction; 0 where none was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zones {
    /// The zone of the original direction.
    pub original: u16,
    /// The zone of the reply direction.
    pub reply: u16,
}

impl Entry {
    /// How certain it is that the connection is in use: 2 if packets went in both directions for a while, 1 if one
    /// was answered, 0 if nothing was answered yet.
    #[must_use]
    pub const fn liveliness(&self) -> u8 {
        (self.status & ASSURED != 0) as u8 + (self.status & SEEN_REPLY != 0) as u8
    }

    /// Whether its destination is translated, as for a container's published port.
    #[must_use]
    pub const fn is_destination_translated(&self) -> bool {
        self.status & DESTINATION_NAT != 0
    }

    /// Whether its source is translated, as by masquerading.
    #[must_use]
    pub const fn is_source_translated(&self) -> bool {
        self.status & SOURCE_NAT != 0
    }
}

impl Tuple {
    /// The tuple of the opposite direction, for untranslated connections whose protocol has ports or has no fields
    /// that differ by direction.
    #[must_use]
    pub const fn inverted(self) -> Self {
        let layer4 = match self.layer4 {
            Layer4::Ports { source, destination } => Layer4::Ports { source: destination, destination: source },
            other => other,
        };
        Self { source: self.destination, destination: self.source, protocol: self.protocol, layer4 }
    }

    /// Source and destination port, for protocols that have ports.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self.layer4 {
            Layer4::Ports { source, destination } => Some((source, destination)),
            Layer4::Icmp { .. } | Layer4::None => None,
        }
    }
}
