//! The addresses and ports of a packet at one hook, and which of them count as unknown.

use super::bits::Bits;
use super::packet::{Packet, Part, Translation, Transport};
use crate::net::Version;
use std::net::IpAddr;

/// Which properties of a packet count as unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// Nothing.
    Nothing,
    /// The client's address: the source of a connection's first packet, and the destination of the answer.
    Client,
    /// The client's address, and the address and port that the destination is translated to.
    ClientAndTranslation,
}

/// The destination before or after it is translated.
pub(super) fn destination(packet: &Packet, translated: bool) -> IpAddr {
    if let Some(own) = masqueraded(packet, translated) {
        return own;
    }
    packet.translated.filter(|_| translated).map_or(packet.destination, |to| to.address)
}

/// Whether the source at this hook is hidden.
pub(super) fn hides_source(packet: &Packet, put_back: Option<Translation>, hidden: Hidden) -> bool {
    match (hidden, packet.part) {
        (Hidden::Nothing, _) | (Hidden::Client, Part::Answer(_)) => false,
        (Hidden::ClientAndTranslation, Part::Answer(undone)) => undone.destination.is_some() && put_back.is_none(),
        (Hidden::Client | Hidden::ClientAndTranslation, _) => true,
    }
}

/// Whether the destination at this hook is hidden, or not known.
pub(super) fn hides_destination(packet: &Packet, translated: bool, hidden: Hidden) -> bool {
    let of_client = hidden != Hidden::Nothing && matches!(packet.part, Part::Answer(_));
    let elsewhere = packet.is_sent_elsewhere(translated) || hides_translation(packet, translated, hidden);
    of_client || masqueraded(packet, translated).is_none() && elsewhere
}

/// The address of this machine that an answer is sent to, until conntrack puts the client's in its place.
fn masqueraded(packet: &Packet, put: bool) -> Option<IpAddr> {
    let Part::Answer(undone) = packet.part else { return None };
    undone.masqueraded.filter(|_| packet.is_sent_elsewhere(put))
}

fn hides_destination_port(packet: &Packet, translated: bool, hidden: Hidden) -> bool {
    let keeps_port = matches!(packet.part, Part::Answer(undone) if undone.keeps_port);
    packet.is_sent_elsewhere(translated) && !keeps_port || hides_translation(packet, translated, hidden)
}

fn hides_translation(packet: &Packet, translated: bool, hidden: Hidden) -> bool {
    hidden == Hidden::ClientAndTranslation && translated && packet.translated.is_some()
}

/// The destination port; `None` if it is hidden, or the protocol has no ports.
pub(super) fn destination_port(packet: &Packet, translated: bool, hidden: Hidden) -> Option<u16> {
    let Transport::Ports { destination, .. } = packet.transport else { return None };
    if hides_destination_port(packet, translated, hidden) {
        return None;
    }
    Some(packet.translated.filter(|_| translated).and_then(|to| to.port).unwrap_or(destination))
}

/// An address in network order; unknown if there is none.
pub(super) fn bits_of(known: Option<IpAddr>, family: IpAddr) -> Bits {
    known.map_or_else(|| Bits::unknown(Version::of(family).address_len()), |known| address(known, family))
}

/// An address in network order; unknown if its family is not the packet's.
pub(super) fn address(address: IpAddr, family: IpAddr) -> Bits {
    match (address, family) {
        (IpAddr::V4(address), IpAddr::V4(_)) => Bits::known(&address.octets()),
        (IpAddr::V6(address), IpAddr::V6(_)) => Bits::known(&address.octets()),
        (_, family) => Bits::unknown(Version::of(family).address_len()),
    }
}
