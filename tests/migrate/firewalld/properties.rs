//! Random zones: the policy does for each packet what firewalld does, or less where the report says so.

use super::loaded;
use super::model::{About, Element, Packet, SERVICES, Verdict, Zone, service_file, verdict, zone_of};
use super::policies::config_of;
use palisade::migrate::firewalld::{Installation, import};
use palisade::migrate::{Fate, Imported};
use palisade::ruleset::TableId;
use palisade::simulate::{Packet as Sent, Transport, Verdict as Said, simulate_table};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["aaa", "dmz", "public", "work"];
const SOURCES: [&str; 7] =
    ["203.0.113.1", "203.0.113.0/24", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::1", "2001:db8::/64", "fd00::/8"];
const INTERFACES: [&str; 5] = ["eth0", "eth1", "eth+", "wg0", "docker0"];
const OWN: [&str; 3] = ["198.51.100.1", "198.51.100.0/30", "2001:db8:5::1"];
/// Packets' sources and destinations, interfaces and ports.
const SENT: [[&str; 5]; 2] = [
    ["203.0.113.1", "203.0.113.9", "10.1.1.1", "10.9.9.9", "192.0.2.9"],
    ["2001:db8::1", "2001:db8::9", "fd00::7", "fd00:1::7", "2001:db8:9::9"],
];
const ASKED: [[&str; 2]; 2] = [["198.51.100.1", "198.51.100.9"], ["2001:db8:5::1", "2001:db8:5::9"]];
const BY: [&str; 5] = ["eth0", "eth1", "eth2", "wg0", "docker0"];
const PROBED: [u16; 6] = [1, 22, 80, 81, 443, 444];

fn about() -> impl Strategy<Value = About> {
    let protocol = select(vec!["tcp", "udp"]);
    prop_oneof![
        4 => select(SERVICES.to_vec()).prop_map(|(name, _)| About::Service(name)),
        3 => (protocol, select(vec![(22, 22), (80, 80), (79, 81), (443, 445)]))
            .prop_map(|(protocol, ports)| About::Port(protocol, ports)),
        1 => select(vec!["esp", "tcp"]).prop_map(About::Protocol),
    ]
}

/// The step's priority may be the same for two rules: then the first in the file decides.
fn rich() -> impl Strategy<Value = Element> {
    let family = prop_oneof![4 => Just(""), 1 => Just("ipv4"), 1 => Just("ipv6")];
    let priority = prop_oneof![3 => Just(0), 2 => Just(-5), 2 => Just(-1), 1 => Just(5), 1 => Just(9)];
    let from = prop::option::weighted(0.8, (select(SOURCES.to_vec()), prop::bool::weighted(0.15)));
    let to = prop::option::weighted(0.2, select(OWN.to_vec()));
    let about = prop_oneof![3 => Just(About::All), 6 => about(), 1 => Just(About::Pings)];
    let verdict = prop_oneof![3 => Just(Verdict::Accept), 1 => Just(Verdict::Reject), 1 => Just(Verdict::Drop)];
    (family, priority, from, to, about, verdict).prop_filter_map(
        "a rule that firewalld takes",
        |(family, priority, from, to, about, verdict)| {
            let versions: BTreeSet<&str> = from
                .iter()
                .map(|(address, _)| *address)
                .chain(to)
                .map(|address| if address.contains(':') { "ipv6" } else { "ipv4" })
                .chain(Some(family).filter(|family| !family.is_empty()))
                .collect();
            let says = from.is_some() || to.is_some() || about != About::All;
            // firewalld passes over rules with addresses and without a family.
            let family = versions.first().copied().filter(|_| from.is_some() || to.is_some()).unwrap_or(family);
            (versions.len() < 2 && says).then_some(Element::Rich { family, priority, from, to, about, verdict })
        },
    )
}

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        6 => about().prop_map(Element::Plain),
        1 => Just(Element::Block),
        1 => Just(Element::Inversion),
        9 => rich(),
    ]
}

fn zones() -> impl Strategy<Value = (Vec<Zone>, usize)> {
    let target = prop_oneof![5 => Just(""), 1 => Just("ACCEPT"), 1 => Just("%%REJECT%%"), 1 => Just("DROP")];
    let zone = (target, prop::collection::vec(element(), 0..6));
    let zones = prop::collection::vec(zone, 4);
    // Each source and each interface belongs to one zone at most.
    let sources = prop::collection::vec(prop::option::weighted(0.35, 0..4_usize), SOURCES.len());
    let interfaces = prop::collection::vec(prop::option::weighted(0.3, 0..4_usize), INTERFACES.len());
    (zones, sources, interfaces, 0..4_usize, subsequence((0..4).collect::<Vec<usize>>(), 1..=4)).prop_map(
        |(zones, sources, interfaces, default, bound)| {
            let bound_to = |all: &[Option<usize>], names: &[&'static str], at: usize| {
                let own = all.iter().zip(names).filter(|(zone, _)| **zone == Some(at) && bound.contains(&at));
                own.map(|(_, name)| *name).collect::<Vec<_>>()
            };
            let zone = |(at, (target, mut elements)): (usize, (&'static str, Vec<Element>))| {
                let mut seen = Vec::new();
                elements.retain(|element| {
                    let is_new = !seen.contains(element);
                    seen.push(element.clone());
                    is_new
                });
                let sources = bound_to(&sources, &SOURCES, at);
                let interfaces = bound_to(&interfaces, &INTERFACES, at);
                Zone { name: NAMES[at], target, sources, interfaces, elements }
            };
            (zones.into_iter().enumerate().map(zone).collect(), default)
        },
    )
}

fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for six in [0, 1] {
        for (source, destination) in SENT[six].iter().flat_map(|source| ASKED[six].iter().map(move |to| (source, to)))
        {
            for interface in BY {
                let to = |protocol, port| Packet {
                    source: source.parse().expect("an address"),
                    destination: destination.parse().expect("an address"),
                    protocol,
                    port,
                    interface,
                };
                packets.extend(PROBED.map(|port| to("tcp", port)));
                packets.extend([80, 81, 444].map(|port| to("udp", port)));
                packets.extend(["esp", "ping"].map(|protocol| to(protocol, 0)));
            }
        }
    }
    packets
}

fn sent(packet: &Packet) -> Sent {
    let ports = |protocol| Transport::Ports { protocol, source: Some(40_000), destination: packet.port };
    let transport = match (packet.protocol, packet.source.is_ipv4()) {
        ("tcp", _) => ports(6),
        ("udp", _) => ports(17),
        ("esp", _) => Transport::Other(50),
        (_, true) => Transport::Icmp { kind: 8, code: 0 },
        (_, false) => Transport::Icmp { kind: 128, code: 0 },
    };
    Sent::to_machine(packet.source, packet.destination, transport).coming_in_by(packet.interface)
}

pub(crate) fn imported(zones: &[Zone], default: usize) -> Imported {
    let mut installation = Installation::default();
    let conf = format!("DefaultZone={}\n", zones[default].name);
    installation.files.insert("etc/firewalld/firewalld.conf".to_owned(), conf);
    for zone in zones {
        installation.files.insert(format!("etc/firewalld/zones/{}.xml", zone.name), zone.file());
    }
    for (name, ports) in SERVICES {
        installation.files.insert(format!("etc/firewalld/services/{name}.xml"), service_file(ports));
    }
    import(&installation).expect("firewalld could use it")
}

fn means_the_same(zones: &[Zone], default: usize) -> Result<(), TestCaseError> {
    let made = imported(zones, default);
    let context = || format!("default {default}\n{zones:#?}\n{}\n{}", made.policy, made.report.text().as_str());
    let loaded = loaded(&made.policy).map_err(|why| TestCaseError::fail(format!("{why}\n{}", context())))?;
    let of = |fates: &[Fate]| {
        let entries = made.report.rules.iter().filter(|entry| fates.contains(&entry.fate));
        entries.flat_map(|entry| entry.places.clone()).collect::<BTreeSet<String>>()
    };
    let (tighter, wider) = (of(&[Fate::Tighter, Fate::NotTranslated]), of(&[Fate::Wider]));
    let id = TableId::palisade();
    for packet in packets() {
        let theirs = verdict(zones, default, &packet);
        let zone = &zones[zone_of(zones, default, &packet)];
        let ours = simulate_table(&id, &loaded.table, &sent(&packet)).verdict;
        let seen = || format!("{theirs:?} by firewalld, {ours:?} by the policy: {packet:?}\n{}", context());
        match (theirs, ours) {
            (Verdict::Accept, Said::Allow) | (Verdict::Drop | Verdict::Reject, Said::Deny | Said::Reject) => {}
            (Verdict::Accept, Said::Deny | Said::Reject) => {
                // An address never admits a container.
                let is_said = packet.interface == "docker0" || zone.is_said(&tighter, &packet);
                prop_assert!(is_said, "tighter, unsaid: {}", seen());
            }
            (_, Said::Allow) => {
                let is_container = packet.interface == "docker0" && zone.is_said(&wider, &packet);
                prop_assert!(is_container, "more open: {}", seen());
            }
            _ => prop_assert!(false, "can't tell: {}", seen()),
        }
    }
    Ok(())
}

fn try_zones(count: u32) {
    let mut runner = TestRunner::new(config_of(count));
    let outcome = runner.run(&zones(), |(zones, default)| means_the_same(&zones, default));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_zones_let_in_whom_firewalld_lets_in_or_fewer_where_the_report_says_so() {
    try_zones(200);
}

#[test]
#[ignore = "takes many minutes"]
fn five_thousand_random_zones_let_in_whom_firewalld_lets_in() {
    try_zones(5_000);
}
