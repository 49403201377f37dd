//! The routes and interfaces of a machine, as its kernel tells them. Needs root to make the machine.

mod support;

use palisade::netlink::routing::{Route, Routing};
use palisade::ruleset::AddressType;
use std::collections::BTreeSet;
use support::lab::Lab;
use support::namespace::Namespace;

fn routing(inside: &Namespace) -> Routing {
    inside.run(|| Routing::open().expect("routing can be asked"))
}

fn route(kind: AddressType, interface: &str) -> Option<Route> {
    Some(Route { kind, interface: Some(interface.to_owned()) })
}

fn nowhere(kind: AddressType) -> Option<Route> {
    Some(Route { kind, interface: None })
}

#[track_caller]
fn assert_routes(routing: &Routing, expected: &[(&str, Option<Route>)]) {
    for (address, expected) in expected {
        let found = routing.route_to(address.parse().expect("an address")).expect("the kernel tells");
        assert_eq!(found, *expected, "{address}");
    }
}

#[test]
fn each_kind_of_route_is_told_with_its_interface() {
    let lab = Lab::new();
    for (v4, v6, kind) in [
        ("192.0.2.0/26", "2001:db8:1::/48", "blackhole"),
        ("192.0.2.64/26", "2001:db8:2::/48", "unreachable"),
        ("192.0.2.128/26", "2001:db8:3::/48", "prohibit"),
    ] {
        lab.host.ip(&format!("-4 route add {kind} {v4}"));
        lab.host.ip(&format!("-6 route add {kind} {v6}"));
    }

    assert_routes(
        &routing(&lab.host),
        &[
            ("203.0.113.1", route(AddressType::Local, "lo")),
            ("2001:db8::1", route(AddressType::Local, "lo")),
            ("127.0.0.1", route(AddressType::Local, "lo")),
            ("::1", route(AddressType::Local, "lo")),
            ("10.77.0.2", route(AddressType::Unicast, "eth1")),
            ("fd77::2", route(AddressType::Unicast, "eth1")),
            ("198.51.100.7", route(AddressType::Unicast, "eth0")),
            ("2001:db8:ffff::7", route(AddressType::Unicast, "eth0")),
            ("10.77.0.255", route(AddressType::Broadcast, "eth1")),
            ("192.0.2.1", nowhere(AddressType::Blackhole)),
            ("2001:db8:1::1", nowhere(AddressType::Blackhole)),
            ("192.0.2.65", nowhere(AddressType::Unreachable)),
            ("2001:db8:2::1", nowhere(AddressType::Unreachable)),
            ("192.0.2.129", nowhere(AddressType::Prohibit)),
            ("2001:db8:3::1", nowhere(AddressType::Prohibit)),
        ],
    );
}

#[test]
fn an_address_that_no_route_leads_to_has_none() {
    let alone = Namespace::new();
    assert_routes(&routing(&alone), &[("198.51.100.7", None), ("2001:db8:ffff::7", None)]);

    for family in ["-4", "-6"] {
        alone.ip(&format!("{family} route add throw default"));
    }

    assert_routes(&routing(&alone), &[("198.51.100.7", None), ("2001:db8:ffff::7", None)]);
}

#[test]
fn all_interfaces_are_told_by_name() {
    let lab = Lab::new();
    let names = |inside| routing(inside).interfaces().expect("the kernel tells");
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();

    assert_eq!(names(&lab.host), expected(&["eth0", "eth1", "lo"]));
    assert_eq!(names(&Namespace::new()), expected(&["lo"]));
}

#[test]
fn a_socket_speaks_of_the_namespace_that_it_was_opened_in() {
    let lab = Lab::new();
    let (there, elsewhere) = (routing(&lab.host), Namespace::new());

    let found = elsewhere.run(move || there.route_to([10, 77, 0, 2].into()).expect("the kernel tells"));

    assert_eq!(found, route(AddressType::Unicast, "eth1"));
}

#[test]
fn interfaces_are_told_with_their_kind_their_bridge_and_what_is_behind_them() {
    let lab = Lab::new();
    for command in [
        "link add br0 type bridge",
        "link add far type veth peer name port",
        "link set port master br0",
        "tuntap add dev tun0 mode tun",
        "address add 10.8.0.1/24 dev tun0",
        "link set tun0 up",
        "route replace default nexthop via 203.0.113.9 dev eth0 nexthop via 10.77.0.2 dev eth1",
    ] {
        lab.host.ip(command);
    }

    let links = lab.host.run(|| Routing::open().expect("rtnetlink").topology().expect("the kernel tells"));

    let told: Vec<_> = links
        .iter()
        .map(|link| {
            (link.name.as_str(), link.kind.as_deref(), link.master.as_deref(), link.has_network, link.is_way_out)
        })
        .collect();
    let veth = Some("veth");
    assert_eq!(
        told,
        [
            ("br0", Some("bridge"), None, false, false),
            ("eth0", veth, None, true, true),
            ("eth1", veth, None, true, true),
            ("far", veth, None, false, false),
            ("lo", None, None, false, false),
            ("port", veth, Some("br0"), false, false),
            ("tun0", Some("tun"), None, true, false),
        ]
    );
}
