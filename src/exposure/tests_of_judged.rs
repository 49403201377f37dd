//! Whole networks, judged on a machine that is data.

use super::Machine;
use super::judged::{Judged, JudgedPart, Sources, Whole, judge};
use super::tests::{Fixed, ip, is, machine, other, palisade, source};
use crate::net::{AddressRange, Addresses, IfPattern, Version, number, protocol};
use crate::policy::address_range;
use crate::ruleset::{
    AddressType, Element, Expr, Hook, KeyType, PayloadBase, Register, Set, SetFlags, SetRef, SetSpec, Table, TableId,
    Verdict,
};
use crate::simulate::{AsListed, Asked, Doubt, Packet, Routes, Transport, Verdict as Ended, Way, follow_connection};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

const POLICY: &str = "groups:
  trusted: [203.0.113.9, 203.0.113.64/27, 10.77.0.0/25, \"2001:db8::9\"]
  bad: [203.0.113.70]
block: [bad]
services:
  dashboard: { ports: 9000/tcp, from: trusted }
  inner: { ports: 9001/tcp, from: any, on: eth1 }
  cache: { ports: 6379/tcp, from: containers }
";

/// The parts of the addresses of a network, range or address: where from, by which interface, and the verdict's letter.
fn parts(tables: &[(TableId, Table)], port: u16, from: &str) -> Vec<String> {
    let range = address_range(from).expect("a range");
    let addresses: Addresses = std::iter::once(range).collect();
    let sources = Sources::Listed { addresses: &addresses, interfaces: &BTreeSet::new(), containers: true };
    told(&judged(tables, port, sources))
}

fn judged(tables: &[(TableId, Table)], port: u16, sources: Sources<'_>) -> Vec<JudgedPart> {
    let whole = Whole { sources, protocol: protocol::TCP, port, to: None, on: None };
    judge(&machine(tables, Vec::new(), Vec::new()), &whole)
}

fn told(parts: &[JudgedPart]) -> Vec<String> {
    let one = |part: &JudgedPart| {
        let from = part.version.words(part.interval.0, part.interval.1);
        let verdict = match &part.verdict {
            Judged::Allowed => "allowed",
            Judged::Denied => "denied",
            Judged::Unknown(why) => why,
        };
        format!("{from} by {}: {verdict}", part.by)
    };
    parts.iter().map(one).collect()
}

#[test]
fn a_network_is_cut_where_the_groups_that_decide_begin_and_end() {
    let tables = [palisade(POLICY)];

    assert_eq!(
        parts(&tables, 9000, "203.0.113.64/26"),
        [
            "203.0.113.64-203.0.113.69 by eth0: allowed",
            "203.0.113.70 by eth0: denied",
            "203.0.113.71-203.0.113.95 by eth0: allowed",
            "203.0.113.96/27 by eth0: denied",
        ]
    );
    assert_eq!(parts(&tables, 9000, "198.51.100.0/24"), ["198.51.100.0/24 by eth0: denied"]);
    assert_eq!(parts(&tables, 9000, "2001:db8::9"), ["2001:db8::9 by eth0: allowed"]);
    assert_eq!(parts(&tables, 9000, "127.0.0.0/8"), [] as [&str; 0], "no packet comes from there");
}

#[test]
fn each_part_comes_in_by_the_interface_that_the_route_to_it_leaves_by() {
    let tables = [palisade(POLICY)];

    assert_eq!(
        parts(&tables, 9000, "10.77.0.0/24"),
        ["10.77.0.0/25 by eth1: allowed", "10.77.0.128/25 by eth1: denied"]
    );
    assert_eq!(parts(&tables, 9001, "10.77.0.0/24"), ["10.77.0.0/24 by eth1: allowed"]);
    assert_eq!(parts(&tables, 9001, "203.0.113.0/24"), ["203.0.113.0/24 by eth0: denied"]);
    assert_eq!(parts(&tables, 6379, "172.17.0.0/16"), ["172.17.0.0/16 by docker0: allowed"]);
    let interfaces = BTreeSet::from([IfPattern { name: "eth1".to_owned(), wildcard: false }]);
    let by_eth1 = Sources::Listed { addresses: &Addresses::default(), interfaces: &interfaces, containers: false };
    assert_eq!(told(&judged(&tables, 9001, by_eth1)), ["10.77.0.0/24 by eth1: allowed"]);
    let addresses: Addresses = std::iter::once(address_range("172.16.0.0/12").expect("a range")).collect();
    let of_a_group = Sources::Listed { addresses: &addresses, interfaces: &BTreeSet::new(), containers: false };
    let is_denied = |part: &JudgedPart| part.by != "docker0" && part.verdict == Judged::Denied;
    assert!(judged(&tables, 6379, of_a_group).iter().all(is_denied), "a policy's addresses mean no containers");
    let containers = judged(&tables, 6379, Sources::Containers);
    assert_eq!(told(&containers), ["172.17.0.0/16 by docker0: allowed"]);
    assert!(containers.iter().all(|part| part.containers));
}

/// The same routes without a reverse path filter, but 198.51.100.128/25 is behind eth1.
struct Loose;

impl Routes for Loose {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        if let IpAddr::V4(to) = asked.destination
            && to.to_bits() >> 7 == Ipv4Addr::new(198, 51, 100, 128).to_bits() >> 7
        {
            return Ok(Way::Out("eth1".to_owned()));
        }
        Fixed.way(&Asked { incoming: None, ..*asked })
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        Fixed.address_type(address)
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        Fixed.index(interface)
    }
}

#[test]
fn where_any_source_may_come_in_anywhere_the_route_decides_and_a_network_behind_two_interfaces_is_unknown() {
    let tables = [palisade(POLICY)];
    let asked = |from: &str, on: Option<&str>| {
        let addresses: Addresses = std::iter::once(address_range(from).expect("a range")).collect();
        let sources = Sources::Listed { addresses: &addresses, interfaces: &BTreeSet::new(), containers: true };
        let whole = Whole { sources, protocol: protocol::TCP, port: 9001, to: None, on };
        told(&judge(&Machine { routes: &Loose, ..machine(&tables, Vec::new(), Vec::new()) }, &whole))
    };

    assert_eq!(asked("10.77.0.0/24", None), ["10.77.0.0/24 by eth1: allowed"]);
    assert_eq!(asked("10.77.0.0/24", Some("eth0")), ["10.77.0.0/24 by eth0: denied"]);
    assert_eq!(asked("203.0.113.0/24", None), ["203.0.113.0/24 by eth0: denied"]);
    let why = "routes to some of them leave by other interfaces: pass --on IFACE";
    assert_eq!(asked("198.51.100.0/24", None), [format!("198.51.100.0/24 by eth0: {why}")]);
}

#[test]
fn a_set_that_can_not_be_read_by_address_makes_its_part_unknown() {
    const R: Register = Register::ONE;
    let key = KeyType { number: KeyType::IPV4_ADDR.number << 6 | KeyType::INET_SERVICE.number, len: 8 };
    let set = Set {
        spec: SetSpec::new(key, SetFlags::default()),
        elements: vec![Element::single(&[198, 51, 100, 7, 0x23, 0x28, 0, 0])].into(),
    };
    let port = Expr::Payload {
        base: PayloadBase::Transport,
        offset: 2,
        len: 2,
        dreg: Register::from_number(9).expect("a register"),
    };
    let lookup = Expr::Lookup { set: SetRef::Named("pairs".to_owned()), sreg: R, dreg: None, inverted: false };
    let rule = vec![source(4), port, lookup, Expr::Verdict(Verdict::Drop)];
    let pairs = [other(Hook::Input, "filter", 0, vec![rule], vec![("pairs", set)])];
    let plain = [other(
        Hook::Input,
        "filter",
        0,
        vec![vec![source(4), is(&[198, 51, 100, 7]), Expr::Verdict(Verdict::Drop)]],
        Vec::new(),
    )];

    assert_eq!(parts(&pairs, 9000, "198.51.100.0/24"), ["198.51.100.0/24 by eth0: a set that decides can't be read"]);
    assert_eq!(
        parts(&plain, 9000, "198.51.100.6-198.51.100.8"),
        ["198.51.100.6 by eth0: allowed", "198.51.100.7 by eth0: denied", "198.51.100.8 by eth0: allowed"]
    );
}

/// Whether one address gets through, followed by itself.
fn one(tables: &[(TableId, Table)], from: IpAddr, port: u16) -> bool {
    let packet = Packet::to_machine(from, ip("203.0.113.1"), Transport::tcp(port)).coming_in_by("eth0");
    let tables = tables.iter().map(|(id, table)| (id, table));
    follow_connection(tables, &AsListed, &Fixed, &packet).verdict() == Ended::Allow
}

proptest! {
    #[test]
    fn what_is_judged_of_a_network_is_what_is_said_of_each_of_its_addresses(
        begins in prop::collection::vec((0_u8..32, 0_u8..6, 0_usize..3), 0..8),
        except in prop::collection::vec(0_u8..32, 0..3),
        first in 0_u8..16,
        len in 0_u8..16,
    ) {
        let of = |index: usize| {
            let of_group = begins.iter().filter(|(_, _, group)| *group == index);
            let ranges = of_group.map(|(first, more, _)| format!("198.51.100.{first}-198.51.100.{}", first + more));
            ranges.chain(["192.0.2.1".to_owned()]).collect::<Vec<_>>().join(", ")
        };
        let except: Vec<String> = except.iter().map(|last| format!("198.51.100.{last}")).chain(["192.0.2.2".to_owned()]).collect();
        let policy = format!(
            "groups: {{ one: [{}], two: [{}] }}\nblock: [{}]\nservices:\n  a: {{ ports: 9000/tcp, from: [one, two], except: [{}] }}\n",
            of(0), of(1), of(2), except.join(", ")
        );
        let tables = [palisade(&policy)];
        let last = first + len;
        let range = AddressRange::V4([198, 51, 100, first].into(), [198, 51, 100, last].into());
        let addresses: Addresses = std::iter::once(range).collect();
        let sources = Sources::Listed { addresses: &addresses, interfaces: &BTreeSet::new(), containers: true };
        let judged = judged(&tables, 9000, sources);
        for at in first..=last {
            let from = ip(&format!("198.51.100.{at}"));
            let is_of = |part: &&JudgedPart| (part.interval.0..=part.interval.1).contains(&number(from));
            let found: Vec<&Judged> = judged.iter().filter(is_of).map(|part| &part.verdict).collect();
            let expected = if one(&tables, from, 9000) { Judged::Allowed } else { Judged::Denied };
            prop_assert_eq!(found, vec![&expected], "{} of {}", from, policy);
        }
        prop_assert!(judged.iter().all(|part| part.version == Version::V4));
    }
}
