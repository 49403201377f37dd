//! Random lists of rules: the policy does for each packet what ufw does, or less where the report says so.

use super::model::{Packet, Verdict, matches, verdict};
use super::policies::config_of;
use super::ufw::{Rule, anywhere, defaults, kernel_lines};
use super::{imported, loaded};
use palisade::migrate::Fate;
use palisade::net::IfPattern;
use palisade::resolve::{Action, Peers, Resolved, Service};
use palisade::ruleset::TableId;
use palisade::simulate::{Packet as Sent, Transport, Verdict as Said, simulate_table};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::BTreeSet;

const PORTS: [&str; 8] = ["any", "22", "80", "443", "22,80", "79:81", "22,443:445", "1:65535"];
const PROBED: [u16; 6] = [1, 22, 80, 81, 443, 444];
const PLACES: [&str; 6] = ["in", "in", "in", "in_eth0", "in_eth1", "in_eth+"];
const INTERFACES: [&str; 4] = ["eth0", "eth1", "wg0", "docker0"];
/// Sources and own addresses of each version, as rules name them.
const SOURCES: [[&str; 5]; 2] = [
    ["203.0.113.1", "203.0.113.2", "203.0.113.0/30", "203.0.113.0/24", "10.0.0.0/8"],
    ["2001:db8::1", "2001:db8::2", "2001:db8::/126", "2001:db8::/64", "fd00::/8"],
];
const OWN: [[&str; 3]; 2] =
    [["198.51.100.1", "198.51.100.2", "198.51.100.0/30"], ["2001:db8:5::1", "2001:db8:5::2", "2001:db8:5::/126"]];
/// Packets' sources and destinations.
const SENT: [[&str; 5]; 2] = [
    ["203.0.113.1", "203.0.113.2", "203.0.113.9", "10.1.1.1", "192.0.2.9"],
    ["2001:db8::1", "2001:db8::2", "2001:db8::9", "fd00::7", "2001:db8:9::9"],
];
const ASKED: [[&str; 2]; 2] = [["198.51.100.1", "198.51.100.9"], ["2001:db8:5::1", "2001:db8:5::9"]];

/// What was typed once: a rule of one version, or of both.
fn command() -> impl Strategy<Value = Vec<Rule>> {
    let action = prop_oneof![4 => Just("allow"), 2 => Just("deny"), 1 => Just("reject"), 1 => Just("limit")];
    let protocol = prop_oneof![3 => Just("tcp"), 1 => Just("udp"), 3 => Just("any"), 1 => Just("esp")];
    let log = prop_oneof![6 => Just(""), 1 => Just("_log")];
    let place = select(PLACES.to_vec());
    let rest = (prop::option::weighted(0.6, 0..5_usize), prop::option::weighted(0.2, 0..3_usize), any::<bool>());
    let senders = prop_oneof![12 => Just("any"), 1 => Just("68")];
    (action, protocol, log, select(PORTS.to_vec()), place, rest, senders).prop_map(
        |(action, protocol, log, ports, place, (from, to, six), senders)| {
            let has_no_ports = protocol == "esp" || protocol == "any" && ports.contains([',', ':']);
            let ports = if has_no_ports { "any" } else { ports };
            let senders = if protocol == "esp" { "any" } else { senders };
            let of = |six: bool| Rule {
                six,
                action,
                log,
                protocol,
                ports: ports.to_owned(),
                to: to.map_or(anywhere(six), |at| OWN[usize::from(six)][at]).to_owned(),
                sender_ports: senders.to_owned(),
                from: from.map_or(anywhere(six), |at| SOURCES[usize::from(six)][at]).to_owned(),
                place: place.to_owned(),
            };
            if from.is_none() && to.is_none() { vec![of(false), of(true)] } else { vec![of(six)] }
        },
    )
}

fn lists() -> impl Strategy<Value = (Vec<Rule>, Verdict)> {
    let default = prop_oneof![4 => Just(Verdict::Deny), 1 => Just(Verdict::Reject), 2 => Just(Verdict::Allow)];
    (prop::collection::vec(command(), 1..8), default).prop_map(|(commands, default)| {
        let mut rules: Vec<Rule> = Vec::new();
        for rule in commands.into_iter().flatten() {
            // Of two rules with the same meaning, the newer one replaces the older.
            let key = |rule: &Rule| Rule { action: "", log: "", ..rule.clone() };
            match rules.iter_mut().find(|other| key(other) == key(&rule)) {
                Some(other) => *other = rule,
                None => rules.push(rule),
            }
        }
        (rules, default)
    })
}

fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for six in [0, 1] {
        for (source, destination) in SENT[six].iter().flat_map(|source| ASKED[six].iter().map(move |to| (source, to)))
        {
            for interface in INTERFACES {
                let to = |protocol, port, sender_port| Packet {
                    source: source.parse().expect("an address"),
                    sender_port,
                    destination: destination.parse().expect("an address"),
                    protocol,
                    port,
                    interface,
                };
                for protocol in ["tcp", "udp"] {
                    packets.extend(PROBED.map(|port| to(protocol, port, 40_000)));
                    packets.push(to(protocol, 22, 68));
                }
                packets.extend(["esp", "gre"].map(|protocol| to(protocol, 0, 0)));
            }
        }
    }
    packets
}

fn sent(packet: &Packet) -> Sent {
    let ports = |protocol| Transport::Ports { protocol, source: Some(packet.sender_port), destination: packet.port };
    let transport = match packet.protocol {
        "tcp" => ports(6),
        "udp" => ports(17),
        "esp" => Transport::Other(50),
        _ => Transport::Other(47),
    };
    Sent::to_machine(packet.source, packet.destination, transport).coming_in_by(packet.interface)
}

/// Whether peers name the packet's sender: by the interface, or by the address, which never admits a container.
fn names(peers: &Peers, policy: &Resolved, packet: &Packet, admits: bool) -> bool {
    let groups = || peers.groups.keys().filter_map(|name| policy.groups.get(name));
    let covers = |one: &IfPattern| one.covers(packet.interface);
    let by_address =
        peers.addresses.contains(packet.source) || groups().any(|group| group.addresses.contains(packet.source));
    peers.any
        || peers.interfaces.iter().any(covers)
        || groups().any(|group| group.interfaces.iter().any(covers))
        || by_address && !(admits && packet.interface == "docker0")
}

/// The services that let a packet in, if none denies it.
fn admitting<'a>(policy: &'a Resolved, packet: &Packet) -> Vec<&'a Service> {
    let number = match packet.protocol {
        "tcp" => 6,
        "udp" => 17,
        "esp" => 50,
        _ => 47,
    };
    let is_about = |service: &&Service| {
        let has_port = service
            .ports
            .iter()
            .any(|ports| ports.transport.number() == number && (ports.first..=ports.last).contains(&packet.port));
        let admits = service.action == Action::Allow;
        (service.all || has_port || service.protocols.contains(&number))
            && (service.on.is_empty() || service.on.iter().any(|on| on.covers(packet.interface)))
            && (service.to.is_empty() || service.to.contains(packet.destination))
            && names(&service.from, policy, packet, admits)
            && !names(&service.except, policy, packet, false)
    };
    policy.services.values().filter(is_about).filter(|service| service.action == Action::Allow).collect()
}

/// Where the comment of each rule stands: `user.rules:5`.
fn places(rules: &[Rule]) -> Vec<String> {
    let mut lines = [5, 5];
    let mut place = |rule: &Rule| {
        let line = &mut lines[usize::from(rule.six)];
        let place = format!("{}:{line}", if rule.six { "user6.rules" } else { "user.rules" });
        *line += 2 + kernel_lines(&rule.tuple(), rule.six).len();
        place
    };
    rules.iter().map(&mut place).collect()
}

/// What is wrong with the rate of a packet that gets in: nothing, or a rate where ufw has none, or none where it has one.
fn limits(policy: &Resolved, packet: &Packet, theirs: Verdict, may_be_tighter: bool) -> Option<&'static str> {
    // No container has these addresses, and a service for addresses is not for containers.
    if packet.interface == "docker0" {
        return None;
    }
    let services = admitting(policy, packet);
    let limited = services.iter().filter(|service| service.limit.is_some()).count();
    match theirs {
        Verdict::Limit if limited != 1 || services.len() != 1 => Some("not one limit"),
        Verdict::Allow if !may_be_tighter && !services.is_empty() && limited == services.len() => Some("limited"),
        _ => None,
    }
}

/// Compares ufw with the policy that it becomes, for every packet of the small world.
fn means_the_same(rules: &[Rule], default: Verdict) -> Result<(), TestCaseError> {
    let texts = |six: bool| rules.iter().filter(|rule| rule.six == six).map(Rule::tuple).collect::<Vec<_>>();
    let (four, six) = (texts(false), texts(true));
    let word = match default {
        Verdict::Allow => "ACCEPT",
        Verdict::Reject => "REJECT",
        Verdict::Deny | Verdict::Limit => "DROP",
    };
    let made = imported(
        &four.iter().map(String::as_str).collect::<Vec<_>>(),
        &six.iter().map(String::as_str).collect::<Vec<_>>(),
        defaults(word, "ACCEPT", "DROP", true),
    );
    let loaded = loaded(&made.policy).map_err(|why| TestCaseError::fail(format!("{why}\n{}", made.policy)))?;
    // Rules of which the report says that they are not exactly followed, by the lines of their comments.
    let of = |fates: &[Fate]| {
        let entries = made.report.rules.iter().filter(|entry| fates.contains(&entry.fate));
        entries.flat_map(|entry| entry.places.clone()).collect::<BTreeSet<String>>()
    };
    let (tighter, wider) = (of(&[Fate::Tighter, Fate::NotTranslated]), of(&[Fate::Wider]));
    let places = places(rules);
    let said = |among: &BTreeSet<String>| places.iter().map(|place| among.contains(place)).collect::<Vec<bool>>();
    let (tighter, wider) = (said(&tighter), said(&wider));
    let id = TableId::palisade();
    for packet in packets() {
        let (_, theirs) = verdict(rules, &packet, default);
        let asked = sent(&packet);
        let trace = simulate_table(&id, &loaded.table, &asked);
        let near = |rule: &Rule| matches(&Rule { sender_ports: "any".to_owned(), ..rule.clone() }, &packet);
        let about: Vec<usize> = (0..rules.len()).filter(|at| near(&rules[*at])).collect();
        let is_said = |among: &[bool]| about.iter().any(|at| among[*at]);
        let context =
            || format!("{theirs:?} {packet:?}\n{rules:#?}\n{}\n{}", made.policy, made.report.text().as_str());
        match (theirs, trace.verdict) {
            (Verdict::Allow | Verdict::Limit, Said::Allow) => {}
            (Verdict::Deny | Verdict::Reject, Said::Deny | Said::Reject) => {}
            (Verdict::Allow | Verdict::Limit, Said::Deny | Said::Reject) => {
                let containers = packet.interface == "docker0";
                prop_assert!(containers || is_said(&tighter), "tighter, unsaid: {}", context());
            }
            (_, Said::Allow) => prop_assert!(is_said(&wider), "more open: {}", context()),
            _ => prop_assert!(false, "can't tell: {}", context()),
        }
        let refused = trace.verdict == Said::Reject;
        // What is taken as a denial of every sender's port refuses nobody.
        let is_exact = about.iter().all(|at| rules[*at].sender_ports == "any");
        // Where a policy denies and rejects the same, either may come first.
        let has = |action: &str| about.iter().any(|at| rules[*at].action == action);
        let is_exact = is_exact && !(default == Verdict::Allow && has("deny") && has("reject"));
        if trace.verdict != Said::Allow && is_exact && !is_said(&tighter) {
            let silent = theirs == Verdict::Deny && default != Verdict::Reject;
            prop_assert!(!(silent && refused), "refused and not dropped: {}", context());
            prop_assert!(theirs != Verdict::Reject || refused, "dropped and not refused: {}", context());
        }
        if trace.verdict == Said::Allow {
            let fault = limits(&loaded.policy, &packet, theirs, is_said(&tighter));
            prop_assert!(fault.is_none(), "{}: {}", fault.unwrap_or_default(), context());
        }
    }
    Ok(())
}

fn try_lists(count: u32) {
    let mut runner = TestRunner::new(config_of(count));
    let outcome = runner.run(&lists(), |(rules, default)| means_the_same(&rules, default));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_list_of_rules_lets_in_whom_ufw_lets_in_or_fewer_where_the_report_says_so() {
    try_lists(300);
}

#[test]
#[ignore = "takes many minutes"]
fn ten_thousand_lists_of_rules_let_in_whom_ufw_lets_in() {
    try_lists(10_000);
}
