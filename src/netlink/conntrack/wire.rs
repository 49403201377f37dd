//! Connection tracking entries to and from netlink.

use super::entry::{Entry, Layer4, Tuple, Zones};
use crate::net::Version;
use crate::netlink::wire::attr::{Fields, Message};
use crate::netlink::wire::uapi::ct;
use crate::netlink::wire::write::Writer;
use std::net::IpAddr;

const IPPROTO_ICMPV6: u8 = 58;

/// Begins a connection tracking message; `kind` excludes the subsystem.
pub(super) fn begin(buffer: &mut Vec<u8>, kind: u8, flags: u16, family: u8, seq: u32) -> Writer<'_> {
    Writer::raw(buffer, ct::SUBSYSTEM << 8 | u16::from(kind), flags, family, seq, 0)
}

/// Reads one entry of a dump; `None` if it is malformed or lacks a mandatory attribute.
pub(crate) fn read(message: &Message<'_>) -> Option<Entry> {
    let fields = Fields::<{ ct::END }>::read(message.attributes()?)?;
    let (original, original_zone) = read_tuple(fields.get(ct::ORIGINAL)?)?;
    let (reply, reply_zone) = read_tuple(fields.get(ct::REPLY)?)?;
    // The outer attribute is the zone of both directions; one inside a tuple is the zone of that direction alone.
    let both = fields.u16(ct::ZONE);
    let zone = |one: Option<u16>| both.or(one).unwrap_or_default();
    let tcp = fields.get(ct::PROTOINFO).and_then(read_tcp);
    Some(Entry {
        original,
        reply,
        zones: Zones { original: zone(original_zone), reply: zone(reply_zone) },
        status: fields.u32(ct::STATUS)?,
        id: fields.u32(ct::ID),
        mark: fields.u32(ct::MARK).unwrap_or_default(),
        tcp_state: tcp.map(|(state, _)| state),
        picked_up: tcp.is_some_and(|(_, picked_up)| picked_up),
        timeout: fields.u32(ct::TIMEOUT),
    })
}

/// The TCP state, and whether the connection was picked up midstream.
fn read_tcp(protoinfo: &[u8]) -> Option<(u8, bool)> {
    let tcp = Fields::<{ ct::PROTOINFO_END }>::read(protoinfo)?.get(ct::PROTOINFO_TCP)?;
    let fields = Fields::<{ ct::TCP_END }>::read(tcp)?;
    let flags = fields.get(ct::TCP_FLAGS).and_then(|flags| flags.first().copied()).unwrap_or_default();
    Some((fields.u8(ct::TCP_STATE)?, flags & ct::TCP_LIBERAL != 0))
}

/// Reads one direction, and its own zone.
pub(super) fn read_tuple(bytes: &[u8]) -> Option<(Tuple, Option<u16>)> {
    let fields = Fields::<{ ct::TUPLE_END }>::read(bytes)?;
    let [source, destination] = read_addresses(fields.get(ct::TUPLE_IP)?)?;
    let proto = Fields::<{ ct::PROTO_END }>::read(fields.get(ct::TUPLE_PROTO)?)?;
    let protocol = proto.u8(ct::PROTO_NUM)?;
    Some((Tuple { source, destination, protocol, layer4: read_layer4(&proto) }, fields.u16(ct::TUPLE_ZONE)))
}

fn read_addresses(bytes: &[u8]) -> Option<[IpAddr; 2]> {
    let fields = Fields::<{ ct::IP_END }>::read(bytes)?;
    let read = |[v4, v6]: [u16; 2]| match (fields.get(v4), fields.get(v6)) {
        (Some(octets), _) => Version::V4.address_in(octets),
        (None, octets) => Version::V6.address_in(octets?),
    };
    let [source, destination] = [read(ct::IP_SOURCE)?, read(ct::IP_DESTINATION)?];
    (source.is_ipv4() == destination.is_ipv4()).then_some([source, destination])
}

fn read_layer4(proto: &Fields<'_, { ct::PROTO_END }>) -> Layer4 {
    if let [Some(source), Some(destination)] = ct::PROTO_PORTS.map(|kind| proto.u16(kind)) {
        return Layer4::Ports { source, destination };
    }
    for [kind, code, id] in [ct::PROTO_ICMP, ct::PROTO_ICMPV6] {
        if let (Some(kind), Some(code), Some(id)) = (proto.u8(kind), proto.u8(code), proto.u16(id)) {
            return Layer4::Icmp { kind, code, id };
        }
    }
    Layer4::None
}

/// Writes the request that deletes this entry and no other.
///
/// Always with the tuple: without one, the kernel deletes every connection.
pub(super) fn write_delete(buffer: &mut Vec<u8>, flags: u16, seq: u32, entry: &Entry) {
    let family = Version::of(entry.original.source).nfproto();
    let mut writer = begin(buffer, ct::DELETE, flags, family, seq);
    // The kernel looks up the original tuple in the zone of its own direction; a zone of replies only does not
    // matter.
    let Zones { original: zone, reply } = entry.zones;
    let directional = (zone != reply && zone != 0).then_some(zone);
    write_tuple(&mut writer, ct::ORIGINAL, &entry.original, directional);
    if zone == reply && zone != 0 {
        writer.bytes(ct::ZONE, &zone.to_be_bytes());
    }
    if let Some(id) = entry.id {
        writer.u32(ct::ID, id);
    }
    writer.finish();
}

/// Writes the request for the connection whose reply has that tuple, outside of any zone.
pub(super) fn write_get_by_reply(buffer: &mut Vec<u8>, seq: u32, reply: &Tuple) {
    let family = Version::of(reply.source).nfproto();
    let mut writer = begin(buffer, ct::GET, 0, family, seq);
    write_tuple(&mut writer, ct::REPLY, reply, None);
    writer.finish();
}

fn write_tuple(writer: &mut Writer<'_>, direction: u16, tuple: &Tuple, zone: Option<u16>) {
    let nest = writer.open(direction);
    let ip = writer.open(ct::TUPLE_IP);
    for (address, [v4, v6]) in [(tuple.source, ct::IP_SOURCE), (tuple.destination, ct::IP_DESTINATION)] {
        match address {
            IpAddr::V4(address) => writer.bytes(v4, &address.octets()),
            IpAddr::V6(address) => writer.bytes(v6, &address.octets()),
        }
    }
    writer.close(&ip);
    let proto = writer.open(ct::TUPLE_PROTO);
    writer.bytes(ct::PROTO_NUM, &[tuple.protocol]);
    match tuple.layer4 {
        Layer4::Ports { source, destination } => {
            for (kind, port) in ct::PROTO_PORTS.into_iter().zip([source, destination]) {
                writer.bytes(kind, &port.to_be_bytes());
            }
        }
        Layer4::Icmp { kind, code, id } => {
            let [of_kind, of_code, of_id] =
                if tuple.protocol == IPPROTO_ICMPV6 { ct::PROTO_ICMPV6 } else { ct::PROTO_ICMP };
            writer.bytes(of_kind, &[kind]);
            writer.bytes(of_code, &[code]);
            writer.bytes(of_id, &id.to_be_bytes());
        }
        Layer4::None => {}
    }
    writer.close(&proto);
    if let Some(zone) = zone {
        writer.bytes(ct::TUPLE_ZONE, &zone.to_be_bytes());
    }
    writer.close(&nest);
}
