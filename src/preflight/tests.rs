//! Each remark follows from a policy and one wrong fact; a machine that the policy fits has none.

use super::*;
use crate::compile::compile;
use crate::facts::Facts;
use crate::machine::{Engine, EngineNetwork, Holder, Listener, Sysctls};
use crate::net::protocol;
use crate::netlink::ListeningSocket;
use crate::policy::parse;
use crate::resolve::resolve;
use crate::ruleset::{
    AddressType, BaseChain, Chain, Cmp, Expr, Family, Foreign, Hook, MetaKey, Nat, PayloadBase, Policy, Register,
    Rule, TableId,
};
use crate::simulate::{AsListed, Asked, Doubt, Routes, Way};
use std::collections::BTreeSet;
use std::net::IpAddr;

const SSH: &str = "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn link(name: &str, kind: &str, networks: &[&str]) -> RoutedLink {
    let networks = networks.iter().map(|network| {
        let (address, prefix) = network.split_once('/').expect("a network");
        (self::address(address), prefix.parse().expect("a length"))
    });
    let networks: BTreeSet<(IpAddr, u8)> = networks.collect();
    RoutedLink {
        name: name.to_owned(),
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        has_network: !networks.is_empty(),
        networks,
        ..RoutedLink::default()
    }
}

fn port_of(name: &str, master: &str) -> RoutedLink {
    RoutedLink { master: Some(master.to_owned()), ..link(name, "veth", &[]) }
}

/// A server with one way out, a container network, and sshd.
fn server() -> Machine {
    let eth0 = RoutedLink {
        is_way_out: true,
        addresses: vec![(address("203.0.113.1"), 24), (address("2001:db8::1"), 64)],
        gateways: [address("203.0.113.254"), address("fe80::1")].into(),
        other_names: vec!["enp3s0".to_owned()],
        ..link("eth0", "", &["203.0.113.0/24", "2001:db8::/64"])
    };
    let docker0 =
        RoutedLink { addresses: vec![(address("172.17.0.1"), 16)], ..link("docker0", "bridge", &["172.17.0.0/16"]) };
    Machine {
        links: Some(vec![docker0, eth0, link("lo", "", &[]), port_of("veth1", "docker0")]),
        resolvers: [address("9.9.9.9")].into(),
        sysctls: Sysctls { forwards_v4: Some(true), forwards_v6: Some(false), bridge_calls_iptables: Some(true) },
        listeners: Some(vec![listens(protocol::TCP, 22, "::", "sshd")]),
        ssh_ports: [22].into(),
        engines: vec![Engine {
            name: "Docker".to_owned(),
            networks: vec![network("bridge", "docker0")],
            ..Engine::default()
        }],
        ..Machine::default()
    }
}

/// The same without containers.
fn router() -> Machine {
    let mut machine = server();
    machine.engines.clear();
    machine.links = machine.links.map(|links| links.into_iter().filter(|link| link.name == "eth0").collect());
    machine
}

fn network(name: &str, bridge: &str) -> EngineNetwork {
    EngineNetwork { name: name.to_owned(), driver: "bridge".to_owned(), bridge: Some(bridge.to_owned()), talks: true }
}

fn listens(protocol: u8, port: u16, on: &str, by: &str) -> Listener {
    let socket = ListeningSocket {
        protocol,
        port,
        address: address(on),
        both: on == "::",
        interface: None,
        inode: port.into(),
    };
    Listener { socket, process: Some(Holder { pid: 7, name: by.to_owned() }) }
}

/// Leads to each network of the machine by its interface, and to all else by eth0.
struct Leads<'m>(&'m Machine);

impl Routes for Leads<'_> {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        let links = self.0.links.as_deref().unwrap_or_default();
        if links.iter().any(|link| link.addresses.iter().any(|(own, _)| *own == asked.destination)) {
            return Ok(Way::Local);
        }
        let contains = |&(network, prefix): &(IpAddr, u8)| {
            let bits = if network.is_ipv4() { 32 } else { 128 };
            network.is_ipv4() == asked.destination.is_ipv4()
                && (crate::net::number(network) ^ crate::net::number(asked.destination)) >> (bits - u32::from(prefix))
                    == 0
        };
        let by = links.iter().find(|link| link.networks.iter().any(contains));
        Ok(Way::Out(by.map_or_else(|| "eth0".to_owned(), |link| link.name.clone())))
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        let links = self.0.links.as_deref().unwrap_or_default();
        let own = links.iter().any(|link| link.addresses.iter().any(|(own, _)| *own == address));
        Ok(if own { AddressType::Local } else { AddressType::Unicast })
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(1)
    }
}

fn resolved(policy: &str) -> Resolved {
    let parsed = parse(policy, "policy.yaml");
    resolve(&parsed.policy.expect("a policy"), &Facts::default()).expect("a valid one")
}

/// The remarks, beside these tables of others.
fn remarks_beside(policy: &str, machine: &Machine, others: &[(TableId, Table)]) -> Vec<Remark> {
    let (policy, id) = (resolved(policy), TableId::palisade());
    let table = compile(&policy);
    let tables = others.iter().map(|(id, table)| (id, table)).chain([(&id, &table)]).collect();
    let beside = Beside { tables, sets: &AsListed, routes: &Leads(machine) };
    Preflight { policy: &policy, table: &table, machine, beside: Some(&beside) }.remarks()
}

fn remarks(policy: &str, machine: &Machine) -> Vec<Remark> {
    remarks_beside(policy, machine, &[])
}

/// Each remark as its weight, its line and its text.
fn told(remarks: &[Remark]) -> Vec<String> {
    let one = |Remark { weight, line, message, .. }: &Remark| {
        format!("{weight:?} {}: {message}", line.map_or_else(|| "-".to_owned(), |line| line.to_string()))
    };
    remarks.iter().map(one).collect()
}

fn with_link(link: RoutedLink) -> Machine {
    let mut machine = server();
    machine.links.iter_mut().for_each(|links| links.push(link.clone()));
    machine
}

/// A table of Docker's that translates port 8080 to port 80 of an address.
fn publishes(to: [u8; 4]) -> (TableId, Table) {
    let (one, two) = (Register::ONE, Register::Data(4));
    let equal = |load: Expr, data: &[u8]| [load, Expr::Cmp { op: Cmp::Eq, sreg: one, data: data.to_vec() }];
    let port = Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: one };
    let immediate = |dreg, data: &[u8]| Expr::Foreign(Foreign::Immediate { dreg, data: data.to_vec() });
    let (addresses, ports) = ([Some(one), None], [Some(two), None]);
    let exprs = [
        equal(Expr::Meta { key: MetaKey::L4proto, dreg: one }, &[protocol::TCP]),
        equal(port, &8080_u16.to_be_bytes()),
        [immediate(one, &to), immediate(two, &80_u16.to_be_bytes())],
    ];
    let mut exprs: Vec<Expr> = exprs.into_iter().flatten().collect();
    exprs.push(Expr::Foreign(Foreign::Nat(Nat { destination: true, family: 2, addresses, ports, flags: 3 })));
    let base = BaseChain {
        kind: "nat".to_owned(),
        hook: Hook::Prerouting,
        priority: -100,
        policy: Policy::Accept,
        devices: BTreeSet::new(),
    };
    let chain = Chain { base: Some(base), rules: vec![Rule { exprs, comment: None }], ..Chain::default() };
    let table = Table { chains: [("DOCKER".to_owned(), chain)].into(), ..Table::default() };
    (TableId { family: Family::Ip, name: "nat".to_owned() }, table)
}

#[test]
fn a_machine_that_the_policy_fits_has_no_remark() {
    for policy in [
        SSH,
        "version: 1\ndefaults: { incoming: allow }\n",
        "version: 1\nservices: { ssh: { ports: 22/tcp, from: private, on: eth0 } }\n",
    ] {
        assert_eq!(told(&remarks(policy, &server())), Vec::<String>::new(), "{policy}");
    }
    assert_eq!(told(&remarks(SSH, &router())), Vec::<String>::new());
}

#[test]
fn a_bridge_of_an_engine_that_the_policy_does_not_name_is_an_error_with_the_whole_list() {
    for (bridge, networks) in [
        ("mybr0", &["172.20.0.0/16"][..]),
        ("appbridge", &["10.90.0.0/24", "fd00:90::/64"]),
        ("six", &["fd00:6::/64"]),
        ("idle", &[]),
    ] {
        let mut machine = with_link(link(bridge, "bridge", networks));
        machine.engines[0].networks.push(network("web", bridge));

        let found = remarks(SSH, &machine);

        let message = format!(
            "Error -: the policy does not name {bridge} (the bridge of the network web of Docker): its containers count as \
             anybody with their addresses, so that `from: private` lets them in and `from: containers` does not, and what is \
             forwarded for them is denied"
        );
        assert_eq!(told(&found), [message]);
        // The line that the help gives is one, and mends it.
        let line = found[0].help.split('`').nth(1).expect("a line");
        assert_eq!(told(&remarks(&format!("{SSH}{line}\n"), &machine)), Vec::<String>::new(), "{line}");
        // So does any part of the policy that names it.
        let named = format!("{SSH}groups: {{ guests: [{{ interface: {bridge} }}] }}\nblock: guests\n");
        assert_eq!(told(&remarks(&named, &machine)), Vec::<String>::new());
    }
}

#[test]
fn a_port_that_rules_publish_behind_an_unnamed_bridge_shows_the_bridge_without_an_engines_socket() {
    let mut machine = with_link(link("mybr0", "bridge", &["172.20.0.0/16"]));
    machine.engines.clear();
    let policy = "version: 1\nservices: { web: { ports: [8080/tcp, 22/tcp], from: any } }\n";

    let found = told(&remarks_beside(policy, &machine, &[publishes([172, 20, 0, 2])]));
    let begin =
        "Error -: the policy does not name mybr0 (the bridge of a port that Docker publishes): its containers";
    assert!(found.len() == 1 && found[0].starts_with(begin), "{found:?}");

    let named = told(&remarks_beside(policy, &machine, &[publishes([172, 17, 0, 2])]));
    assert!(named.len() == 1 && named[0].starts_with("Note -: this machine forwards, and"), "{named:?}");
}

#[test]
fn a_network_that_a_rule_of_forward_names_or_has_among_its_addresses_is_not_cut_off() {
    let mut machine = router();
    let networks = [link("eth1", "", &["10.77.0.0/24", "fd77::/64"]), link("eth2", "", &["10.78.0.0/24"])];
    machine.links.iter_mut().for_each(|links| links.extend(networks.clone()));
    let cut_off = |forward: &str| -> Vec<String> {
        let found = remarks(&format!("{SSH}forward: {{ {forward} }}\n"), &machine);
        let told = found.iter().filter(|remark| remark.topic == Topic::CutOff);
        told.map(|remark| remark.message.split(": ").next().unwrap_or_default().to_owned()).collect()
    };
    let behind = |names: &str| vec![format!("this machine forwards, and the policy cuts off what is behind {names}")];

    for (rule, names) in [
        ("out: { ports: any, from: { interface: eth1 }, to: { interface: eth0 } }", "eth2"),
        ("out: { ports: any, from: 10.77.0.128/25, to: 192.0.2.1 }", "eth2"),
        ("out: { ports: any, from: 192.0.2.1, to: \"fd77::1\" }", "eth2"),
        // Somebody has decided about it.
        ("none: { action: deny, ports: any, from: { interface: eth2 }, to: any }", "eth1"),
        ("none: { action: deny, ports: any, from: 10.77.0.0/24, to: any }", "eth1 and eth2"),
        ("out: { ports: any, from: 10.79.0.0/24, to: 192.0.2.1 }", "eth1 and eth2"),
    ] {
        assert_eq!(cut_off(rule), behind(names), "{rule}");
    }
    assert_eq!(cut_off("in: { ports: 80/tcp, from: any, to: 192.0.2.1 }"), Vec::<String>::new());

    // The line that is advised lets what comes from there out.
    let found = remarks(SSH, &machine);
    let line = found[0].help.split('`').nth(1).expect("a line");
    assert_eq!(
        line,
        "forward: { out: { ports: any, from: [{ interface: eth1 }, { interface: eth2 }], to: { interface: eth0 } } }"
    );
    assert_eq!(told(&remarks(&format!("{SSH}{line}\n"), &machine)), Vec::<String>::new());
    // A network of which somebody else tells is left out.
    let policy = resolve(&parse(SSH, "policy.yaml").policy.expect("YAML"), &Facts::default()).expect("no problem");
    let table = compile(&policy);
    let preflight = Preflight { policy: &policy, table: &table, machine: &machine, beside: None };
    let left = preflight.remarks_but_on_networks_of(&["eth1".to_owned()].into());
    assert!(left.iter().any(|remark| remark.message.contains("what is behind eth2: ")), "{left:?}");
}

#[test]
fn a_name_in_a_rule_or_a_translation_that_no_packet_carries_is_warned_of_with_its_direction() {
    let machine = router();
    let of = |text: &str| {
        let found = remarks(&format!("{SSH}defaults: {{ outgoing: deny, forward: deny }}\n{text}\n"), &machine);
        let names = found.into_iter().filter(|remark| remark.topic == Topic::Name);
        names.map(|remark| format!("{}: {}", remark.line.unwrap_or_default(), remark.message)).collect::<Vec<_>>()
    };
    let other = "it is another name of eth0, and rules see packets under the first";
    for (text, place, way) in [
        ("forward: { x: { ports: any, from: { interface: enp3s0 }, to: any } }", "forward x", "comes in"),
        (
            "forward: { x: { ports: any, from: any, except: { interface: enp3s0 }, to: any } }",
            "forward x",
            "comes in",
        ),
        ("forward: { x: { ports: any, from: any, to: any, on: enp3s0 } }", "forward x (`on`)", "comes in"),
        ("forward: { x: { ports: any, from: any, to: { interface: enp3s0 } } }", "forward x (`to`)", "leaves"),
        ("outgoing: { x: { ports: any, from: host, to: { interface: enp3s0 } } }", "outgoing x (`to`)", "leaves"),
        ("nat: { x: { from: { interface: enp3s0 }, to: { interface: eth0 } } }", "nat x", "comes in"),
        ("nat: { x: { from: 10.0.0.0/8, to: { interface: enp3s0 } } }", "nat x (`to`)", "leaves"),
    ] {
        assert_eq!(of(text), [format!("4: {place} names `enp3s0`, by which no packet {way}: {other}")], "{text}");
        assert_eq!(of(&text.replace("enp3s0", "eth0")), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_network_behind_a_card_is_cut_off_where_this_machine_forwards_and_nobody_has_decided_that() {
    let with = |name: &str, kind: &str, networks: &[&str]| {
        let mut machine = router();
        machine.links.iter_mut().for_each(|links| links.push(link(name, kind, networks)));
        machine
    };
    for (name, kind, networks) in [
        ("eth1", "", &["10.77.0.0/24"][..]),
        ("eth1.7", "vlan", &["10.7.0.0/24"]),
        ("hosts", "veth", &["fd77::/64"]),
        ("wg0", "wireguard", &["10.8.0.0/24", "fd08::/64"]),
    ] {
        let message = format!(
            "this machine forwards, and the policy cuts off what is behind {name}: `forward: deny` stops what comes from there, \
             and what goes there"
        );
        let machine = with(name, kind, networks);
        assert_eq!(told(&remarks(SSH, &machine)), [format!("Warning -: {message}")]);
        let said = |more: &str| told(&remarks(&format!("{SSH}{more}\n"), &machine));
        assert_eq!(said("defaults: { forward: allow }"), Vec::<String>::new());
        assert_eq!(said("defaults: { forward: deny }"), [format!("Note 3: {message}")]);
        let stays = Sysctls { forwards_v4: Some(false), forwards_v6: None, bridge_calls_iptables: None };
        assert_eq!(told(&remarks(SSH, &Machine { sysctls: stays, ..machine })), Vec::<String>::new());
    }
    let mut own_address = with("dummy0", "dummy", &["10.9.9.9/32"]);
    assert_eq!(told(&remarks(SSH, &own_address)), Vec::<String>::new());
    own_address.links = None;
    assert_eq!(told(&remarks(SSH, &own_address)), Vec::<String>::new());
}

#[test]
fn a_blocked_gateway_or_name_server_is_refused_and_a_blocked_network_is_named() {
    let said = |block: &str| told(&remarks(&format!("{SSH}block: {block}\n"), &server()));
    for (block, message) in [
        (
            "203.0.113.254",
            "Refusal 3: `block` covers 203.0.113.254, a gateway of eth0 (203.0.113.254): all that it sends itself is dropped: \
             answers to this machine, and errors that tell the size of packets",
        ),
        (
            "9.9.9.0/24",
            "Refusal 3: `block` covers 9.9.9.9, a name server that this machine asks (9.9.9.0/24): its answers are dropped, and \
             no name is found",
        ),
        (
            "\"2001:db8::/48\"",
            "Warning 3: `block` covers 2001:db8::/64 (2001:db8::/48), a network of eth0: this machine drops all that comes from \
             there, answers too",
        ),
        (
            "169.254.0.0/16",
            "Warning 3: `block` covers 169.254.169.254 (169.254.0.0/16): where this machine is of a cloud, that is the service \
             that tells it its addresses, names and keys",
        ),
    ] {
        let found = said(block);
        assert!(found.iter().any(|found| found == message), "{block}: {found:?}");
    }
    assert!(
        said("\"fe80::/10\"")
            .iter()
            .all(|found| found.starts_with("Refusal 3: `block` covers fe80::1, a gateway of eth0"))
    );
    assert_eq!(said("\"fe80::/10\"").len(), 1);
    for block in ["198.51.100.0/24", "\"2001:db8:5::/48\"", "[10.0.0.0/8, \"fd00::/8\"]"] {
        assert_eq!(said(block), Vec::<String>::new(), "{block}");
    }
}

#[test]
fn a_name_that_carries_no_packet_is_told_with_the_name_that_does() {
    let mut machine = server();
    let bond = [link("bond0", "bond", &["10.5.0.0/24"]), port_of("eth2", "bond0"), link("eth5", "", &[])];
    machine.links.iter_mut().for_each(|links| links.extend(bond.clone()));
    let said = |policy: &str| {
        let found = remarks(policy, &machine);
        found.into_iter().map(|remark| (remark.line, remark.message, remark.help)).collect::<Vec<_>>()
    };
    let later = "`ls /sys/class/net` lists all; an interface that comes later, such as a VPN's, needs no change";
    for (name, why, help) in [
        ("enp3s0", "it is another name of eth0, and rules see packets under the first", "write `eth0`".to_owned()),
        (
            "veth1",
            "it is a port of the bridge docker0, and its packets come in by that",
            "write `docker0`".to_owned(),
        ),
        ("eth2", "it is a port of the bond bond0, and its packets come in by that", "write `bond0`".to_owned()),
        ("eht0", "this machine has no such interface now", format!("did you mean `eth0`? {later}")),
        ("wg7", "this machine has no such interface now", later.to_owned()),
    ] {
        let on = format!("{SSH}  # \ndefaults: {{ forward: allow }}\n")
            .replace(" } }", &format!(" }}, web: {{ ports: 80/tcp, from: any, on: {name} }} }}"));
        let message = format!("service web (`on`) names `{name}`, by which no packet comes in: {why}");
        let without_notes: Vec<_> =
            said(&on).into_iter().filter(|(_, message, _)| message.contains("names `")).collect();
        assert_eq!(without_notes, [(Some(2), message, help.clone())]);
    }
    let fits =
        "defaults: { forward: allow }\ncontainers: { interfaces: [docker0, docker_gwbridge, \"nope*\", eth5] }\n";
    assert_eq!(said(&format!("{SSH}{fits}")), []);
}

#[test]
fn ssh_that_is_shut_to_everyone_is_refused_wherever_sshd_listens() {
    let policy = |ssh: &str| format!("version: 1\nservices: {{ ssh: {{ ports: 22/tcp, {ssh} }} }}\n");
    let refused = "Refusal -: nobody could reach this machine by SSH: sshd listens on 22/tcp, and no service lets anybody in there";
    let refusals = |policy: &str, machine: &Machine| {
        told(&remarks(policy, machine)).into_iter().filter(|found| found.starts_with("Refusal")).collect::<Vec<_>>()
    };
    for shut in ["from: any, on: eth9", "from: { interface: wg0 }", "from: any, on: veth1"] {
        assert_eq!(refusals(&policy(shut), &server()), [refused], "{shut}");
    }
    assert_eq!(refusals("version: 1\n", &server()), [refused]);
    assert_eq!(refusals("version: 1\nservices: { web: { ports: 2222/tcp, from: any } }\n", &server()), [refused]);
    for open in ["from: 192.0.2.1", "from: any, on: \"eth*\"", "from: containers", "from: private, except: 10.0.0.1"]
    {
        assert_eq!(refusals(&policy(open), &server()), Vec::<String>::new(), "{open}");
    }
    let mut other = server();
    other.ssh_ports = [2222].into();
    assert_eq!(refusals(SSH, &other), [refused.replace("22/tcp", "2222/tcp")]);
    other.ssh_ports.clear();
    assert_eq!(refusals(SSH, &other), Vec::<String>::new());
}

#[test]
fn a_listener_that_no_service_names_and_a_service_that_nobody_listens_for_are_noted() {
    let mut machine = server();
    machine.listeners.iter_mut().for_each(|all| {
        all.push(listens(protocol::TCP, 3306, "0.0.0.0", "mysqld"));
        all.push(listens(protocol::UDP, 161, "::", "snmpd"));
        // For this machine alone, a DHCP client's, and one of a client.
        all.push(listens(protocol::TCP, 631, "127.0.0.1", "cupsd"));
        all.push(listens(protocol::TCP, 632, "::1", "cupsd"));
        all.push(listens(protocol::UDP, 68, "0.0.0.0", "dhclient"));
        all.push(listens(protocol::UDP, 40_000, "::", "chronyd"));
    });
    let unnamed = "Note -: nobody outside reaches 3306/tcp (mysqld) and 161/udp (snmpd): somebody listens there, no service names \
                   it, and the default denies";
    let found = told(&remarks(SSH, &machine));
    assert_eq!(found, [unnamed]);

    let idle = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n  web: { ports: [80/tcp, 443/tcp], from: any }\n  \
                published: { ports: 8080/tcp, from: any }\n\n";
    let found = told(&remarks_beside(idle, &server(), &[publishes([172, 17, 0, 2])]));
    assert_eq!(
        found,
        ["Note 4: service web is open, and nothing listens on 80/tcp and 443/tcp now, nor is it published"]
    );
}

#[test]
fn an_expectation_is_worth_nothing_where_the_answer_of_what_is_published_is_dropped() {
    let policy = "version: 1\nservices: { web: { ports: [8080/tcp, 22/tcp], from: any } }\nexpect: [{ allow: 8080/tcp, from: any }]\n";
    let machine = with_link(link("mybr0", "bridge", &["172.20.0.0/16"]));
    let errors = |policy: &str, to: [u8; 4]| {
        let found = remarks_beside(policy, &machine, &[publishes(to)]);
        told(&found).into_iter().filter(|found| found.starts_with("Error 3")).collect::<Vec<_>>()
    };
    assert_eq!(errors(policy, [172, 17, 0, 2]), Vec::<String>::new());
    // A bogon list that stands before everything, on whatever interface the policy does not take for containers'.
    let blocked = format!("{policy}block: 172.20.0.0/16\n");
    assert_eq!(errors(&blocked, [172, 17, 0, 2]), Vec::<String>::new());
    let found = errors(&blocked, [172, 20, 0, 2]);
    let begin = "Error 3: 8080/tcp is expected to be open from 198.51.100.77, and on this machine it leads to 172.20.0.2:80 behind \
                 mybr0, where its answer is stopped: blocked";
    assert!(found.len() == 1 && found[0].starts_with(begin), "{found:?}");
}

#[test]
fn what_is_unknown_is_told_and_never_taken_to_be_well() {
    let mut machine = Machine::default();
    machine.gaps.add(crate::machine::Gap {
        what: "the interfaces".to_owned(),
        why: "no".to_owned(),
        help: "`ip`".to_owned(),
    });
    let policy = format!("{SSH}block: 10.0.0.0/8\ncontainers: {{ interfaces: [x] }}\n");
    assert_eq!(told(&remarks(&policy, &machine)), ["Note -: the policy is not held against the interfaces: no"]);
}
