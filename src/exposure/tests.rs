//! Ports of a machine that is data: its tables, its routes and who listens.

use super::{Interface, Label, Listing, Listings, Machine, exposure, json, text};
use crate::machine::{EngineKind, Holder, Listener, PublishedPort};
use crate::net::protocol;
use crate::netlink::ListeningSocket;
use crate::policies::Written;
use crate::ruleset::{
    AddressType, BaseChain, Chain, Cmp, Element, Expr, Family, Foreign, Hook, KeyType, MetaKey, Nat, PayloadBase,
    Policy, Register, Rule, Set, SetFlags, SetRef, SetSpec, Table, TableId, Verdict,
};
use crate::simulate::{AsListed, Asked, Doubt, Routes, Way};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
const R: Register = Register::ONE;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// 203.0.113.1 on eth0, 10.77.0.1 on eth1 and 172.17.0.1 on docker0. Sources of a network come in only by its
/// interface.
pub(super) struct Fixed;

/// The addresses of the machine.
const OWN: [&str; 4] = ["203.0.113.1", "10.77.0.1", "172.17.0.1", "2001:db8::1"];

impl Fixed {
    fn behind(address: IpAddr) -> &'static str {
        match address {
            IpAddr::V4(address) if address.octets()[..3] == [10, 77, 0] => "eth1",
            IpAddr::V4(address) if address.octets()[..2] == [172, 17] => "docker0",
            _ => "eth0",
        }
    }
}

impl Routes for Fixed {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        let own = OWN.map(ip);
        match asked.incoming {
            Some(name) if name != Self::behind(asked.source) => Ok(Way::Lost("the reverse path filter".into())),
            _ if own.contains(&asked.destination) => Ok(Way::Local),
            _ if asked.destination.is_loopback() => Ok(Way::Lost("no such address comes in".into())),
            _ => Ok(Way::Out(Self::behind(asked.destination).to_owned())),
        }
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        Ok(if OWN.map(ip).contains(&address) { AddressType::Local } else { AddressType::Unicast })
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(7)
    }
}

fn listener(name: &str, protocol: u8, address: &str, port: u16) -> Listener {
    let address = ip(address);
    let both = address == ip("::");
    let socket = ListeningSocket { protocol, port, address, both, interface: None, inode: 1 };
    Listener { socket, process: Some(Holder { pid: 42, name: name.to_owned() }) }
}

fn tcp(name: &str, port: u16) -> Listener {
    listener(name, protocol::TCP, "0.0.0.0", port)
}

fn published(port: u16, address: &str) -> PublishedPort {
    let (container, engine) = ("dashboard".to_owned(), EngineKind::Docker);
    PublishedPort { protocol: protocol::TCP, port, address: ip(address), container, container_port: 80, engine }
}

pub(super) fn machine<'m>(
    tables: &'m [(TableId, Table)],
    listeners: Vec<Listener>,
    published: Vec<PublishedPort>,
) -> Machine<'m> {
    let interface = |name: &str, addresses: &[(&str, u8)]| Interface {
        name: name.to_owned(),
        containers: name == "docker0",
        addresses: addresses.iter().map(|(address, prefix)| (ip(address), *prefix)).collect(),
    };
    Machine {
        tables: tables.iter().map(|(id, table)| (id, table)).collect(),
        sets: &AsListed,
        routes: &Fixed,
        elements: Box::new(|id, name| {
            let table = tables.iter().find(|(of, _)| of == id).map(|(_, table)| table);
            table.and_then(|table| table.sets.get(name)).map(|set| Rc::new(set.elements.clone()))
        }),
        interfaces: vec![
            interface("eth0", &[("203.0.113.1", 24), ("2001:db8::1", 64)]),
            interface("eth1", &[("10.77.0.1", 24)]),
            interface("docker0", &[("172.17.0.1", 16)]),
        ],
        listeners,
        published,
        ports_listed: true,
        beyond: None,
    }
}

/// The lines of the table, without their heading.
fn told(tables: &[(TableId, Table)], listeners: Vec<Listener>, published: Vec<PublishedPort>) -> Vec<String> {
    let rows = exposure(&machine(tables, listeners, published));
    let listings = Listings::from([(
        Label::Group("trusted".to_owned()),
        Listing { texts: vec!["1.1.1.1".to_owned(), "1.1.1.2".to_owned()], complete: true },
    )]);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text(&rows, &listings).lines().skip(1).map(squeezed).collect()
}

pub(super) fn palisade(policy: &str) -> (TableId, Table) {
    let written = Written { text: format!("version: 1\n{policy}"), files: Default::default() };
    (TableId::palisade(), crate::access::compiled_for_tests(&written))
}

pub(super) fn other(
    hook: Hook,
    kind: &str,
    priority: i32,
    rules: Vec<Vec<Expr>>,
    sets: Vec<(&str, Set)>,
) -> (TableId, Table) {
    let base = BaseChain { kind: kind.to_owned(), hook, priority, policy: Policy::Accept, devices: BTreeSet::new() };
    let rules = rules.into_iter().map(|exprs| Rule { exprs, comment: None }).collect();
    let chain = Chain { base: Some(base), rules, ..Chain::default() };
    let table = Table {
        chains: [("chain".to_owned(), chain)].into(),
        sets: sets.into_iter().map(|(name, set)| (name.to_owned(), set)).collect(),
        ..Table::default()
    };
    (TableId { family: Family::Ip, name: "other".to_owned() }, table)
}

pub(super) fn source(len: u32) -> Expr {
    Expr::Payload { base: PayloadBase::Network, offset: 12, len, dreg: R }
}

pub(super) fn is(data: &[u8]) -> Expr {
    Expr::Cmp { op: Cmp::Eq, sreg: R, data: data.to_vec() }
}

fn to_port(port: u16) -> Vec<Expr> {
    vec![
        Expr::Meta { key: MetaKey::L4proto, dreg: R },
        is(&[protocol::TCP]),
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: R },
        is(&port.to_be_bytes()),
    ]
}

fn drop() -> Expr {
    Expr::Verdict(Verdict::Drop)
}

#[test]
fn ports_are_told_with_the_groups_of_the_policy() {
    let policy = palisade(
        "groups: { trusted: [1.1.1.1, 1.1.1.2], lan: [{ interface: eth1 }] }
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: [trusted, lan] }
  inner: { ports: 80/tcp, from: containers }
block: 198.51.100.0/24
",
    );
    let listeners = vec![
        tcp("sshd", 22),
        tcp("nginx", 80),
        tcp("grafana", 9000),
        tcp("postgres", 5432),
        listener("redis", 6, "::1", 6379),
    ];

    assert_eq!(
        told(&[policy], listeners, Vec::new()),
        [
            "22/tcp sshd everyone but blocked; containers",
            "80/tcp nginx containers",
            "5432/tcp postgres nobody",
            "6379/tcp redis nobody: for this machine alone",
            "9000/tcp grafana lan, trusted (2 addresses) but blocked",
        ]
    );
}

#[test]
fn a_list_names_no_container_that_does_not_reach_the_port() {
    let policy = |from: &str, host: &str| {
        palisade(&format!(
            "groups: {{ mixed: [1.1.1.1, 172.17.0.2], here: [1.1.1.1, {{ interface: docker0 }}], far: 1.1.1.1 }}
containers: {{ interfaces: docker0, host: {host} }}
services: {{ web: {{ ports: 80/tcp, from: {from} }} }}
"
        ))
    };
    let one = |from: &str, host: &str| told(&[policy(from, host)], vec![tcp("nginx", 80)], Vec::new());

    assert_eq!(one("[1.1.1.1, 172.17.0.2]", "deny"), ["80/tcp nginx those listed in web.from but containers"]);
    assert_eq!(one("mixed", "deny"), ["80/tcp nginx mixed but containers"]);
    assert_eq!(one("here", "deny"), ["80/tcp nginx here, containers"]);
    assert_eq!(one("far", "deny"), ["80/tcp nginx far"]);
    assert_eq!(one("mixed", "allow"), ["80/tcp nginx mixed, containers"]);
}

#[test]
fn a_set_of_another_table_is_called_by_its_name_and_a_network_by_its_own() {
    let banned = Set {
        spec: SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default()),
        elements: vec![Element::single(&[8, 8, 8, 8])].into(),
    };
    let in_set = Expr::Lookup { set: SetRef::Named("banned".to_owned()), sreg: R, dreg: None, inverted: false };
    let ssh = [to_port(22), vec![source(4), in_set, drop()]].concat();
    let web = [to_port(80), vec![source(1), is(&[10]), drop()]].concat();
    let table = other(Hook::Input, "filter", 0, vec![ssh, web], vec![("banned", banned)]);

    assert_eq!(
        told(&[table], vec![tcp("sshd", 22), tcp("nginx", 80), tcp("rest", 81)], Vec::new()),
        [
            "22/tcp sshd everyone but set banned of table ip other",
            "80/tcp nginx everyone but 10.0.0.0/8; containers",
            "81/tcp rest everyone",
        ]
    );
}

#[test]
fn what_is_asked_of_the_source_in_no_known_form_is_unknown_and_not_guessed() {
    // Every second address.
    let odd = Expr::Bitwise { sreg: R, dreg: R, mask: vec![0, 0, 0, 1], xor: vec![0; 4] };
    let rule = [to_port(22), vec![source(4), odd, is(&[0, 0, 0, 1]), drop()]].concat();
    let table = other(Hook::Input, "filter", 0, vec![rule], Vec::new());

    assert_eq!(
        told(&[table], vec![tcp("sshd", 22), tcp("nginx", 80)], Vec::new()),
        [
            "22/tcp sshd unknown",
            "80/tcp nginx everyone",
            "",
            "unknown:",
            "what the expression `match` does is not known",
        ]
    );
}

/// `tcp dport PORT dnat to 172.17.0.2:80`
fn dnat(port: u16) -> Vec<Expr> {
    let immediate = |dreg, data: &[u8]| Expr::Foreign(Foreign::Immediate { dreg, data: data.to_vec() });
    let nat = Nat {
        destination: true,
        family: 2,
        addresses: [Some(R), None],
        ports: [Some(Register::Data(4)), None],
        flags: 2,
    };
    let to =
        [immediate(R, &[172, 17, 0, 2]), immediate(Register::Data(4), &[0, 80]), Expr::Foreign(Foreign::Nat(nat))];
    [to_port(port), to.to_vec()].concat()
}

/// `dnat to ADDRESS`, behind these tests.
fn dnat_to(tests: Vec<Expr>, address: [u8; 4]) -> Vec<Expr> {
    let immediate = Expr::Foreign(Foreign::Immediate { dreg: R, data: address.to_vec() });
    let nat = Nat { destination: true, family: 2, addresses: [Some(R), None], ports: [None, None], flags: 1 };
    [tests, vec![immediate, Expr::Foreign(Foreign::Nat(nat))]].concat()
}

fn to_address(address: [u8; 4]) -> Vec<Expr> {
    vec![Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, dreg: R }, is(&address)]
}

fn to_ports(first: u16, last: u16) -> Vec<Expr> {
    let (first, last) = (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec());
    vec![
        Expr::Meta { key: MetaKey::L4proto, dreg: R },
        is(&[protocol::TCP]),
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: R },
        Expr::Foreign(Foreign::Range { inverted: false, sreg: R, first, last }),
    ]
}

#[test]
fn one_port_at_two_addresses_is_as_many_rows_as_it_has_targets() {
    let at = |address, to| dnat_to([to_address(address), to_port(9000)].concat(), to);
    let two = other(
        Hook::Prerouting,
        "nat",
        -100,
        vec![at([203, 0, 113, 1], [172, 17, 0, 2]), at([10, 77, 0, 1], [172, 17, 0, 3])],
        Vec::new(),
    );
    let rest = other(
        Hook::Prerouting,
        "nat",
        -100,
        vec![at([203, 0, 113, 1], [172, 17, 0, 2]), dnat_to(to_port(9000), [172, 17, 0, 3])],
        Vec::new(),
    );

    assert_eq!(
        told(&[two], vec![tcp("docker-proxy", 9000)], Vec::new()),
        [
            "9000/tcp container 172.17.0.2:9000 everyone (at 203.0.113.1)",
            "9000/tcp container 172.17.0.3:9000 everyone (at 10.77.0.1)",
        ]
    );
    assert_eq!(
        told(&[rest], Vec::new(), Vec::new()),
        [
            "9000/tcp container 172.17.0.2:9000 everyone (at 203.0.113.1)",
            "9000/tcp container 172.17.0.3:9000 everyone over IPv4",
        ]
    );
}

#[test]
fn a_range_of_ten_thousand_ports_is_a_row_for_each_part_that_rules_tell_apart() {
    let range = || {
        let rules = vec![dnat_to(to_ports(20_000, 30_000), [172, 17, 0, 2])];
        other(Hook::Prerouting, "nat", -100, rules, Vec::new())
    };
    let policy = palisade(
        "groups: { trusted: [1.1.1.1] }
services: { one: { ports: 25000/tcp, from: trusted }, half: { ports: 20000-24999/tcp, from: trusted } }
",
    );

    assert_eq!(
        told(&[range()], Vec::new(), Vec::new()),
        ["20000-30000/tcp container 172.17.0.2:20000-30000 everyone over IPv4"]
    );
    assert_eq!(
        told(&[policy, range()], Vec::new(), Vec::new()),
        [
            "20000-25000/tcp container 172.17.0.2:20000-25000 trusted (2 addresses)",
            "25001-30000/tcp container 172.17.0.2:25001-30000 nobody",
        ]
    );
    let range = range();
    let tables = [range];
    let unknown = Machine { ports_listed: false, ..machine(&tables, Vec::new(), Vec::new()) };
    let said = json(&exposure(&unknown), &Listings::new());
    assert_eq!(
        (&said["ports"][0]["port"], &said["ports"][0]["unknown"]),
        (&serde_json::json!("20000-30000"), &serde_json::json!(["which ports of the range sets name is not known"]))
    );
}

#[test]
fn who_reaches_a_port_over_one_ip_version_alone_is_said_so_in_text_and_in_json() {
    let tables = [palisade(
        "groups: { trusted: [1.1.1.1, \"2001:db8:5::5\"] }
services:
  one: { ports: 80/tcp, from: any, to: \"2001:db8::1\" }
  two: { ports: 81/tcp, from: trusted, to: \"2001:db8::1\" }
  three: { ports: 82/tcp, from: [1.1.1.1, \"2001:db8:5::5\"] }
  four: { ports: 83/tcp, from: trusted }
",
    )];
    let listeners = (80..84).map(|port| listener("nginx", protocol::TCP, "::", port)).collect();
    let rows = exposure(&machine(&tables, listeners, Vec::new()));
    let listing = || Listing { texts: vec!["1.1.1.1".to_owned(), "2001:db8:5::5".to_owned()], complete: true };
    let listings = Listings::from([
        (Label::Group("trusted".to_owned()), listing()),
        (Label::List("three.from".to_owned()), listing()),
    ]);

    let text = text(&rows, &listings);
    let json = json(&rows, &listings);

    let lines: Vec<&str> =
        text.lines().skip(1).map(|line| line.split_at(line.find("nginx").unwrap() + 7).1).collect();
    assert_eq!(
        lines,
        ["everyone over IPv6", "trusted (1 address) over IPv6", "1.1.1.1, 2001:db8:5::5", "trusted (2 addresses)",]
    );
    let of = |row: usize, key: &str| {
        let row = &json["ports"][row];
        if key.is_empty() { row["reachable_from"].clone() } else { row[key]["reachable_from"].clone() }
    };
    let all = |key: &str| -> Vec<serde_json::Value> { (0..4).map(|row| of(row, key)).collect() };
    let both = ["1.1.1.1", "2001:db8:5::5"];
    assert_eq!(
        all(""),
        [
            serde_json::json!(["everyone over IPv6"]),
            serde_json::json!(["trusted over IPv6"]),
            serde_json::json!(both),
            serde_json::json!(["trusted"]),
        ]
    );
    assert_eq!(all("ipv4"), [["nobody"], ["nobody"], ["1.1.1.1"], ["trusted"]].map(|words| serde_json::json!(words)));
    assert_eq!(
        all("ipv6"),
        [["everyone"], ["trusted"], ["2001:db8:5::5"], ["trusted"]].map(|words| serde_json::json!(words))
    );
}

#[test]
fn a_published_port_is_the_containers_whoever_tells_of_it() {
    let rules = || other(Hook::Prerouting, "nat", -100, vec![dnat(9000)], Vec::new());
    let policy =
        palisade("groups: { trusted: [1.1.1.1] }\nservices: { dashboard: { ports: 9000/tcp, from: trusted } }\n");
    let proxy = || vec![tcp("docker-proxy", 9000)];

    let by_engine = told(&[policy.clone(), rules()], proxy(), vec![published(9000, "0.0.0.0")]);
    let by_rules = told(&[policy, rules()], proxy(), Vec::new());

    assert_eq!(by_engine, ["9000/tcp container dashboard trusted (2 addresses)"]);
    assert_eq!(by_rules, ["9000/tcp container 172.17.0.2:80 trusted (2 addresses)"]);
}

#[test]
fn a_published_port_that_nobody_serves_is_reached_by_nobody() {
    // There is neither a rule nor a proxy.
    assert_eq!(told(&[], Vec::new(), vec![published(9000, "0.0.0.0")]), ["9000/tcp container dashboard nobody"]);
    assert_eq!(
        told(&[], vec![tcp("docker-proxy", 9000)], vec![published(9000, "0.0.0.0")]),
        ["9000/tcp container dashboard everyone"]
    );
    assert_eq!(
        told(&[], vec![listener("docker-proxy", 6, "127.0.0.1", 9000)], vec![published(9000, "127.0.0.1")]),
        ["9000/tcp container dashboard nobody: for this machine alone"]
    );
}

#[test]
fn rules_that_no_table_shows_leave_nothing_certain() {
    let rows =
        exposure(&Machine { beyond: Some("legacy rules".into()), ..machine(&[], vec![tcp("sshd", 22)], Vec::new()) });

    let said = json(&rows, &Listings::new());

    assert_eq!(said["ports"][0]["reachable_from"], serde_json::json!(["unknown"]));
    assert_eq!(said["ports"][0]["unknown"], serde_json::json!(["legacy rules"]));
}

#[test]
fn a_program_is_told_the_port_its_owner_and_who_reaches_it() {
    let policy = palisade("groups: { trusted: [1.1.1.1] }\nservices: { ssh: { ports: 22/tcp, from: trusted } }\n");
    let tables = [policy];
    let rows = exposure(&machine(&tables, vec![listener("sshd", 6, "::", 22)], Vec::new()));

    assert_eq!(
        json(&rows, &Listings::new()),
        serde_json::json!({ "ports": [{
            "port": 22, "proto": "tcp", "owner": "sshd", "kind": "process", "pid": 42, "addresses": ["::"],
            "reachable_from": ["trusted"], "except": [],
            "ipv4": { "reachable_from": ["trusted"], "except": [] },
            "ipv6": { "reachable_from": ["nobody"], "except": [] },
        }] })
    );
}

#[test]
fn a_port_forward_is_a_row_with_the_machine_that_answers() {
    let tables = [palisade(
        "groups: { trusted: [1.1.1.1, 1.1.1.2] }
services:
  web: { ports: 443/tcp, from: any, forward_to: \"10.77.0.9:8443\" }
  ssh: { ports: 2200-2201/tcp, from: trusted, forward_to: 10.77.0.8 }
",
    )];

    assert_eq!(
        told(&tables, vec![tcp("nginx", 443)], Vec::new()),
        [
            "443/tcp nginx nobody",
            "443/tcp forwarded to 10.77.0.9:8443 everyone",
            "2200-2201/tcp forwarded to 10.77.0.8:2200-2201 trusted (2 addresses)",
        ]
    );
    let rows = exposure(&machine(&tables, Vec::new(), Vec::new()));
    assert_eq!(
        json(&rows, &Listings::new())["ports"][0],
        serde_json::json!({
            "port": 443, "proto": "tcp", "owner": "10.77.0.9:8443", "kind": "forward", "addresses": ["0.0.0.0"],
            "forwarded_to": ["10.77.0.9:8443"], "reachable_from": ["everyone"], "except": [],
            "ipv4": { "reachable_from": ["everyone"], "except": [] },
        })
    );
}

#[test]
fn what_is_open_only_as_long_as_neighbours_remember_each_other_is_unknown() {
    let asked = |word: Verdict| {
        let (mut id, table) = other(Hook::Prerouting, "filter", 0, vec![vec![Expr::Verdict(word)]], Vec::new());
        id.family = Family::Arp;
        let tables = [(id, table)];
        let rows = exposure(&machine(&tables, vec![tcp("sshd", 22)], Vec::new()));
        json(&rows, &Listings::new())["ports"][0]["reachable_from"].clone()
    };

    assert_eq!(asked(Verdict::Accept), serde_json::json!(["everyone"]));
    assert_eq!(asked(Verdict::Drop), serde_json::json!(["unknown"]));
}
