//! Conntrack's tuples of a packet.

use super::bits::Bits;
use super::hidden::{Hidden, address, bits_of, destination, destination_port, hides_destination, hides_source};
use super::packet::{Packet, Part, Transport};

/// One direction of a connection as conntrack keeps it.
pub(super) struct Tuple {
    pub(super) source: Bits,
    pub(super) destination: Bits,
    pub(super) source_port: Bits,
    pub(super) destination_port: Bits,
}

impl Tuple {
    pub(super) fn new(packet: &Packet, translated: bool, hidden: Hidden) -> Self {
        let of_answer = matches!(packet.part, Part::Answer(_)) && hides_source(packet, None, hidden);
        let (source_port, destination_port) = match packet.transport {
            Transport::Ports { source, .. } => {
                (Bits::port(source.filter(|_| !of_answer)), Bits::port(destination_port(packet, translated, hidden)))
            }
            // ICMP has an identifier, and type and code, in the place of ports.
            Transport::Icmp { kind, code } => (Bits::unknown(2), Bits::known(&[kind, code])),
            Transport::Other(_) | Transport::Arp { .. } => (Bits::unknown(2), Bits::unknown(2)),
        };
        let source = (!hides_source(packet, None, hidden)).then_some(packet.source);
        let to = (!hides_destination(packet, translated, hidden)).then(|| destination(packet, translated));
        Self {
            source: bits_of(source, packet.source),
            destination: bits_of(to, packet.source),
            source_port,
            destination_port,
        }
    }

    /// The tuple of the packet that this one answers, as it was sent.
    pub(super) fn of_answered(packet: &Packet, hidden: Hidden) -> Self {
        let to = packet.undone().destination;
        let client = (hidden == Hidden::Nothing).then_some(packet.destination);
        let (source_port, destination_port) = match packet.transport {
            Transport::Ports { source, destination, .. } => {
                (Bits::port(Some(destination)), Bits::port(to.and_then(|to| to.port).or(source)))
            }
            Transport::Icmp { .. } | Transport::Other(_) | Transport::Arp { .. } => {
                (Bits::unknown(2), Bits::unknown(2))
            }
        };
        Self {
            source: bits_of(client, packet.source),
            destination: address(to.map_or(packet.source, |to| to.address), packet.source),
            source_port,
            destination_port,
        }
    }

    pub(super) fn inverted(self, transport: Transport) -> Self {
        let (source_port, destination_port) = match transport {
            // An answer has another type.
            Transport::Icmp { .. } => (self.source_port, Bits::unknown(2)),
            _ => (self.destination_port, self.source_port),
        };
        Self { source: self.destination, destination: self.source, source_port, destination_port }
    }
}
