//! Limits, got round by sources that are invented. Needs root.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use support::attack::craft::{Speech, send};
use support::attack::repairs::take_away;
use support::attack::who::{HOST, Place, STRANGER};
use support::attack::{Stage, Step};

/// So seldom that no bucket gets a token back while a test runs.
const POLICY: &str = "version: 1
services: { ssh: { ports: 22/tcp, from: any, limit: 6/day } }
";
/// How many sources a limit remembers (`NFT_SET_SIZE` of a set without a size).
const REMEMBERED: u32 = 65_535;

fn asks(source: IpAddr, port: u16) -> Vec<Step> {
    vec![send(STRANGER, Speech::Tcp.first((source, port), (HOST.address(source.is_ipv6()), 22)))]
}

/// How many of these get in.
fn admitted(stage: &Stage, all: &[Vec<Step>]) -> usize {
    let all: Vec<&[Step]> = all.iter().map(Vec::as_slice).collect();
    stage.play_all(&all).iter().filter(|places| places.contains(&Place::Host)).count()
}

/// Somebody else each time: of IPv6, in another network.
fn invented(number: u32, six: bool) -> IpAddr {
    let [_, high, middle, low] = number.to_be_bytes();
    if six {
        Ipv6Addr::new(0x2002, u16::from(high), u16::from_be_bytes([middle, low]), 0, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::new(11, high, middle, low).into()
    }
}

#[test]
fn all_addresses_of_a_network_of_one_host_share_a_limit() {
    let stage = Stage::new();
    stage.apply(POLICY);
    let of_one = |number| Ipv6Addr::new(0x2001, 0xdb9, 0, 0, number, 0, 0, 1).into();
    let of_many = |number| Ipv6Addr::new(0x2001, 0xdb9, 1, number, 0, 0, 0, 1).into();
    let tries = |source: &dyn Fn(u16) -> IpAddr| -> Vec<_> {
        (0..8).flat_map(|number| [1001, 1002, 1003].map(|port| asks(source(number), port))).collect()
    };

    assert_eq!(admitted(&stage, &tries(&of_many)), 24);
    assert_eq!(admitted(&stage, &tries(&of_one)), 6);
}

/// The limit once as many sources as it remembers have come, so many of them by packets.
fn full_limit_holds(stage: &Stage, six: bool, by_packets: u32) {
    stage.apply(POLICY);
    let (version, known) = (if six { "v6" } else { "v4" }, invented(7, six));
    let elements: Vec<String> = (by_packets..REMEMBERED).map(|number| network(invented(number, six))).collect();
    if !elements.is_empty() {
        let elements = elements.join(",");
        stage.lab.host.nft_load(&format!("add element inet palisade ssh.limit-{version} {{ {elements} }}\n"));
    }
    let flood: Vec<_> = (0..by_packets).map(|number| asks(invented(number, six), 1000)).collect();
    assert_eq!(admitted(stage, &flood), flood.len(), "each has a bucket of its own");
    let from = |number: u32, count: u16| -> Vec<_> {
        (0..count).map(|port| asks(invented(REMEMBERED + number, six), 2000 + port)).collect()
    };

    // A newcomer gets in, with all other newcomers as often as twenty of those who are known; and these as before.
    assert_eq!(admitted(stage, &from(1, 1)), 1);
    assert_eq!(admitted(stage, &[from(2, 100), from(3, 100)].concat()), 119);
    let again: Vec<_> = (0..8).map(|port| asks(known, 3000 + port)).collect();
    assert_eq!(admitted(stage, &again), 5);

    take_away(&stage.lab.host, &[&format!("ssh: more than 120/day from all who find ssh.limit-{version} full")]);
    assert_eq!(admitted(stage, &from(4, 200)), 200, "a set that is full counts nobody");
}

/// What a limit counts of an address.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
    }
}

#[test]
fn who_invents_more_sources_than_a_limit_remembers_does_not_switch_it_off() {
    let stage = Stage::new();
    for six in [false, true] {
        full_limit_holds(&stage, six, 500);
    }
}

#[test]
#[ignore = "sends 131,070 packets"]
fn the_same_with_a_packet_of_each() {
    let stage = Stage::new();
    for six in [false, true] {
        full_limit_holds(&stage, six, REMEMBERED);
    }
}
