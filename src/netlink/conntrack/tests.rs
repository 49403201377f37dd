//! Pure tests: the kernel's dump is read completely, a deletion names what was read, and no input panics.

use super::*;
use crate::netlink::wire::attr::Messages;
use proptest::prelude::*;
use std::net::IpAddr;

/// A dump by kernel 6.18, after conntrack(8) had added the connections below, each for 600 seconds.
const DUMP: &[u8] = include_bytes!("../../../tests/data/conntrack.bin");

const CONFIRMED: u32 = 0x8;
const REPLIED_AND_ASSURED: u32 = 0x6;
const SOURCE_TRANSLATED: u32 = 0x10;
const DESTINATION_TRANSLATED: u32 = 0x20;
/// `IPS_SRC_NAT_DONE` and `IPS_DST_NAT_DONE`.
const NAT_DONE: u32 = 0x180;

const OUTSIDE: &str = "198.51.100.9";
const HOST: &str = "203.0.113.1";

fn read_all(bytes: &[u8]) -> Vec<Entry> {
    Messages::new(bytes).filter_map(|message| wire::read(&message)).collect()
}

fn ports(source: u16, destination: u16) -> Layer4 {
    Layer4::Ports { source, destination }
}

fn echo(kind: u8, id: u16) -> Layer4 {
    Layer4::Icmp { kind, code: 0, id }
}

fn tuple((source, destination): (&str, &str), protocol: u8, layer4: Layer4) -> Tuple {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Tuple { source: address(source), destination: address(destination), protocol, layer4 }
}

fn entry(protocol: u8, original: Layer4, reply: Layer4, id: u32) -> Entry {
    Entry {
        original: tuple((OUTSIDE, HOST), protocol, original),
        reply: tuple((HOST, OUTSIDE), protocol, reply),
        zones: Zones::default(),
        status: CONFIRMED,
        id: Some(id),
        mark: 0,
        tcp_state: None,
        picked_up: false,
        timeout: Some(599),
    }
}

fn over_ipv6(entry: Entry) -> Entry {
    let tuple = |tuple: Tuple, ends| self::tuple(ends, tuple.protocol, tuple.layer4);
    let (outside, host) = ("2001:db8::9", "2001:db8::1");
    Entry { original: tuple(entry.original, (outside, host)), reply: tuple(entry.reply, (host, outside)), ..entry }
}

#[test]
fn a_recorded_dump_is_read_whole() {
    let mut found = read_all(DUMP);
    found.sort_by_key(|entry| (entry.original.protocol, entry.original));

    let masqueraded = Entry {
        original: tuple(("10.77.0.2", "198.51.100.53"), 17, ports(5353, 53)),
        reply: tuple(("198.51.100.53", HOST), 17, ports(53, 5353)),
        status: CONFIRMED | NAT_DONE | SOURCE_TRANSLATED,
        ..entry(17, Layer4::None, Layer4::None, 3_387_215_957)
    };
    let published = Entry {
        reply: tuple(("10.77.0.2", OUTSIDE), 6, ports(80, 40_000)),
        status: CONFIRMED | NAT_DONE | DESTINATION_TRANSLATED | REPLIED_AND_ASSURED,
        mark: 42,
        tcp_state: Some(3),
        picked_up: true,
        ..entry(6, ports(40_000, 8080), Layer4::None, 2_352_467_858)
    };
    let in_zones = |original, reply, entry| Entry { zones: Zones { original, reply }, ..entry };
    let expected = [
        entry(1, echo(8, 77), echo(0, 77), 1_952_001_813),
        published.clone(),
        Entry {
            tcp_state: Some(7),
            picked_up: true,
            ..in_zones(7, 7, over_ipv6(entry(6, ports(1, 2), ports(2, 1), 220_889_005)))
        },
        masqueraded.clone(),
        in_zones(5, 0, entry(17, ports(9, 53), ports(53, 9), 2_705_223_554)),
        in_zones(0, 6, entry(17, ports(9, 54), ports(54, 9), 346_114_329)),
        entry(47, ports(5, 6), ports(6, 5), 1_277_397_398),
        over_ipv6(entry(58, echo(128, 78), echo(129, 78), 2_976_768_869)),
        entry(132, ports(5, 6), ports(6, 5), 2_135_190_291),
        entry(253, Layer4::None, Layer4::None, 3_117_690_338),
    ];
    assert_eq!(found, expected);
    assert_eq!((published.is_destination_translated(), published.is_source_translated()), (true, false));
    assert_eq!((masqueraded.is_destination_translated(), masqueraded.is_source_translated()), (false, true));
    assert_eq!((published.original.ports(), expected[0].original.ports()), (Some((40_000, 8080)), None));
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    let addresses = prop_oneof![
        any::<[[u8; 4]; 2]>().prop_map(|ends| ends.map(IpAddr::from)),
        any::<[[u8; 16]; 2]>().prop_map(|ends| ends.map(IpAddr::from)),
    ];
    let layer4 = prop_oneof![
        any::<(u8, u16, u16)>().prop_map(|(protocol, source, destination)| (protocol, ports(source, destination))),
        (prop_oneof![Just(1), Just(58)], any::<u8>(), any::<u8>(), any::<u16>())
            .prop_map(|(protocol, kind, code, id)| (protocol, Layer4::Icmp { kind, code, id })),
        any::<u8>().prop_map(|protocol| (protocol, Layer4::None)),
    ];
    (addresses, layer4).prop_map(|([source, destination], (protocol, layer4))| Tuple {
        source,
        destination,
        protocol,
        layer4,
    })
}

proptest! {
    #[test]
    fn a_deletion_names_the_tuple_and_the_zone_and_the_id(
        original in any_tuple(), zones in any::<[u16; 2]>(), same in any::<bool>(), id in any::<Option<u32>>()
    ) {
        let zones = Zones { original: zones[0], reply: if same { zones[0] } else { zones[1] } };
        let entry = Entry { original, zones, id, ..entry(0, Layer4::None, Layer4::None, 0) };
        let mut bytes = Vec::new();
        wire::write_delete(&mut bytes, 0, 1, &entry);

        let messages: Vec<_> = Messages::new(&bytes).collect();
        prop_assert_eq!(messages.len(), 1);
        prop_assert_eq!(messages[0].kind, 0x102);
        prop_assert_eq!(messages[0].family(), Some(if original.source.is_ipv4() { 2 } else { 10 }));
        let fields = Fields::<{ ct::END }>::exactly(messages[0].attributes().unwrap()).unwrap();
        // Without a tuple the kernel would delete every connection.
        let (tuple, zone) = wire::read_tuple(fields.get(ct::ORIGINAL).unwrap()).unwrap();
        prop_assert_eq!(tuple, original);
        prop_assert_eq!(zone.or(fields.u16(ct::ZONE)).unwrap_or_default(), zones.original);
        // The kernel refuses a request with both.
        prop_assert!(zone.is_none() || fields.get(ct::ZONE).is_none());
        prop_assert_eq!(fields.u32(ct::ID), id);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut message = Vec::new();
        wire::begin(&mut message, 0, 0, 0, 0).finish();
        message.extend_from_slice(&bytes);
        let len = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&len.to_ne_bytes());
        let _ = (read_all(&bytes), read_all(&message), wire::read_tuple(&bytes));
    }

    #[test]
    fn a_damaged_dump_does_not_make_the_reader_panic(
        cut in 0..DUMP.len(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)
    ) {
        let mut bytes = DUMP[..cut].to_vec();
        for (at, byte) in damage.iter().filter(|_| cut > 0) {
            let at = at.index(cut);
            bytes[at] = *byte;
        }
        let _ = read_all(&bytes);
    }
}

#[test]
fn an_entry_without_a_whole_tuple_is_none() {
    let whole = Messages::new(DUMP).next().unwrap();
    let attributes = whole.attributes().unwrap();
    for (removed, readable) in [
        (ct::ORIGINAL, false),
        (ct::REPLY, false),
        (ct::STATUS, false),
        (ct::ID, true),
        (ct::MARK, true),
        (ct::TIMEOUT, true),
    ] {
        let mut message = Vec::new();
        let mut writer = wire::begin(&mut message, 0, 0, 2, 0);
        for (kind, bytes) in crate::netlink::wire::attr::Attributes::new(attributes).map(Result::unwrap) {
            if kind != removed {
                writer.bytes(kind, bytes);
            }
        }
        writer.finish();
        assert_eq!(read_all(&message).len(), usize::from(readable), "without attribute {removed}");
    }
}

#[test]
fn a_kernel_without_the_module_is_told_from_one_that_refuses() {
    let refused = |doing, errno| absent(NetlinkError::Refused { doing, errno });
    let socket = |doing, errno| absent(NetlinkError::Socket { doing, errno });

    assert!(matches!(refused(COUNT, Errno::EINVAL), NetlinkError::NoConntrack));
    assert!(matches!(socket("open", Errno::EPROTONOSUPPORT), NetlinkError::NoConntrack));
    assert!(matches!(refused(DELETE, Errno::EINVAL), NetlinkError::Refused { .. }));
    assert!(matches!(socket("receive", Errno::ENOBUFS), NetlinkError::Socket { .. }));
}
