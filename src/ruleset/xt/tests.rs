//! Tests of reading matches and targets.

use super::*;
use proptest::prelude::*;

const NAMES: [&str; 28] = [
    "comment",
    "limit",
    "conntrack",
    "addrtype",
    "tcp",
    "udp",
    "multiport",
    "icmp",
    "icmp6",
    "mark",
    "ttl",
    "recent",
    "rt",
    "MARK",
    "DNAT",
    "REJECT",
    "MASQUERADE",
    "iprange",
    "connmark",
    "hashlimit",
    "length",
    "pkttype",
    "physdev",
    "rpfilter",
    "statistic",
    "CT",
    "CONNMARK",
    "REDIRECT",
];

fn extension(name: &str, revision: u32, info: &[u8]) -> Extension {
    Extension { name: name.to_owned(), revision, info: info.to_vec() }
}

#[test]
fn a_flagged_port_of_multiport_begins_a_range() {
    let mut info = [0; 48];
    info[..2].copy_from_slice(&[1, 3]);
    for (at, port) in [80_u16, 8000, 8080].into_iter().enumerate() {
        info[2 + 2 * at..4 + 2 * at].copy_from_slice(&port.to_ne_bytes());
    }
    // 80,8000:8080
    info[33] = 1;

    let read = extension("multiport", 1, &info).as_match();

    let ranges = vec![(80, 80), (8000, 8080)];
    assert_eq!(read, Some(Match::Multiport { which: 1, ranges, inverted: false }));
}

#[test]
fn one_address_and_port_are_read_and_several_are_not() {
    let dnat = |last: [u8; 4]| {
        let mut info = [0; 20];
        info[0] = 1;
        info[4..8].copy_from_slice(&3_u32.to_ne_bytes());
        info[8..12].copy_from_slice(&[172, 17, 0, 2]);
        info[12..16].copy_from_slice(&last);
        info[16..].copy_from_slice(&[0, 80, 0, 80]);
        extension("DNAT", 0, &info).as_target(true)
    };

    let address = Some(IpAddr::from([172, 17, 0, 2]));
    assert_eq!(dnat([172, 17, 0, 2]), Some(Target::Dnat { address, port: Some(80) }));
    assert_eq!(dnat([172, 17, 0, 9]), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        name in prop::sample::select(&NAMES[..]), revision in 0_u32..4,
        info in prop::collection::vec(any::<u8>(), 0..220), ipv4 in any::<bool>()
    ) {
        let extension = extension(name, revision, &info);
        let _ = (extension.as_match(), extension.as_target(ipv4));
    }

    #[test]
    fn a_structure_that_is_cut_is_not_read(cut in 0..154_usize) {
        let mut info = vec![0; 164];
        info[146] = 1;
        prop_assert!(extension("conntrack", 3, &info).as_match().is_some());
        prop_assert_eq!(extension("conntrack", 3, &info[..cut]).as_match(), None);
    }
}
