//! Whatever the table, the simulator comes to an end and never guesses; whatever the policy, it says what the policy says.

#[path = "support/arbitrary.rs"]
mod arbitrary;
#[path = "support/policies.rs"]
mod policies;

use palisade::compile::compile;
use palisade::lockout::{Candidate, Change};
use palisade::machine::Session;
use palisade::net::{Transport as Name, protocol};
use palisade::policy::parse;
use palisade::resolve::{Action, Peers, Resolved, Service, resolve};
use palisade::ruleset::{Hook, Rule, Table, TableId};
use palisade::simulate::{
    Effect, Interface, Outcomes, Packet, State, Translation, Transport, Verdict, simulate_table,
};
use policies::{Written, config, facts, policy};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use std::net::{IpAddr, SocketAddr};

fn address() -> impl Strategy<Value = IpAddr> {
    // Those that generated policies and sets speak of, and their neighbours.
    let v4 = prop_oneof![0_u32..7, 0x0a00_0000_u32..0x0a00_0014, Just(0x7f00_0001), u32::MAX - 6..=u32::MAX];
    let low = 0x2001_0db8_u128 << 96;
    let v6 = prop_oneof![0_u128..7, low..low + 20, u128::MAX - 6..=u128::MAX];
    prop_oneof![v4.prop_map(|v4| IpAddr::V4(v4.into())), v6.prop_map(|v6| IpAddr::V6(v6.into()))]
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["lo", "eth0", "eth1", "eth10", "br-0123456789ab", "docker0", "wg0", "a;b", "é0", "fifteen-bytes-x"])
        .prop_map(str::to_owned)
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![select(vec![1, 2, 3, 20, 22, 23, 30, 53, 67, 80, 443, 547, 60_000, 65_534, 65_535]), any::<u16>()]
}

fn transport() -> impl Strategy<Value = Transport> {
    let known = prop_oneof![Just(protocol::TCP), Just(protocol::UDP), Just(protocol::SCTP)];
    prop_oneof![
        4 => (known, prop::option::of(port()), port())
            .prop_map(|(protocol, source, destination)| Transport::Ports { protocol, source, destination }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(kind, code)| Transport::Icmp { kind, code }),
        1 => any::<u8>().prop_map(Transport::Other),
    ]
}

/// Any packet of which everything is known that can be said of one.
fn packet() -> impl Strategy<Value = Packet> {
    let states = vec![State::New, State::Established, State::Reply, State::Related, State::Invalid, State::Untracked];
    let interfaces = (name(), name());
    let rest = (any::<u8>(), select(states), prop::option::of((address(), prop::option::of(port()))), 0..4);
    (address(), address(), transport(), interfaces, rest).prop_map(
        |(source, destination, transport, (incoming, outgoing), (hops, state, translated, way))| {
            let packet = match way {
                0 => {
                    // Nothing that is routed comes in by the loopback.
                    let incoming = if incoming == "lo" { "eth0".to_owned() } else { incoming };
                    Packet::through(source, destination, transport).coming_in_by(incoming).leaving_by(outgoing)
                }
                1 => Packet::from_machine(source, destination, transport).leaving_by(outgoing),
                _ => Packet::to_machine(source, destination, transport).coming_in_by(incoming),
            };
            let translated = translated.map(|(address, port)| Translation { address, port });
            Packet { hop_limit: Some(hops), translated, ..packet.in_state(state) }
        },
    )
}

/// Any table, whose rules the packets of every hook pass.
fn table() -> impl Strategy<Value = Table> {
    arbitrary::table().prop_map(|mut table| {
        let rules = table.chains.get("everything").map(|chain| chain.rules.clone()).unwrap_or_default();
        let target = Rule { exprs: vec![palisade::ruleset::Expr::Counter { packets: 0, bytes: 0 }], comment: None };
        for (name, chain) in &mut table.chains {
            match &mut chain.base {
                Some(base) => {
                    if name == "filter-forward" {
                        base.hook = Hook::Prerouting;
                    }
                    chain.rules.clone_from(&rules);
                }
                None if name == "target" => chain.rules.push(target.clone()),
                None => {}
            }
        }
        table
    })
}

/// A policy and what it compiles to, with the names that generated policies use.
fn compiled(written: &Written) -> (Resolved, Table) {
    let parsed = parse(&written.text, "policy.yaml");
    let resolved =
        resolve(&parsed.policy.expect("a policy"), &facts(written)).unwrap_or_else(|all| panic!("{all:?}"));
    let table = compile(&resolved);
    (resolved, table)
}

/// Whether the peers are named by the interface, and by the address.
fn named(policy: &Resolved, peers: &Peers, source: IpAddr, interface: &str) -> [bool; 2] {
    let groups: Vec<_> = peers.groups.keys().filter_map(|name| policy.groups.get(name)).collect();
    let mut interfaces = groups.iter().flat_map(|group| &group.interfaces).chain(&peers.interfaces);
    let by_interface = interfaces.any(|one| is_one(one, interface));
    [by_interface, peers.addresses.contains(source) || groups.iter().any(|group| group.addresses.contains(source))]
}

fn is_one(named: &palisade::net::IfPattern, interface: &str) -> bool {
    if named.wildcard { interface.starts_with(&named.name) } else { interface == named.name }
}

/// Whether `block` drops what comes from there: an address says nothing of containers, an interface is meant.
fn is_blocked(policy: &Resolved, source: IpAddr, interface: &str) -> bool {
    let container = policy.containers.interfaces.iter().any(|one| is_one(one, interface));
    let [by_interface, by_address] = named(policy, &policy.block, source, interface);
    by_interface || by_address && !container
}

/// Whether a service is about a TCP or UDP packet to this machine, whoever sends it.
fn is_about(service: &Service, packet: &Packet, interface: &str) -> bool {
    let Transport::Ports { protocol, destination: port, .. } = packet.transport else { return false };
    let has = |ports: &palisade::net::Ports| {
        ports.transport.number() == protocol && (ports.first..=ports.last).contains(&port)
    };
    let in_scope = (service.on.is_empty() || service.on.iter().any(|on| is_one(on, interface)))
        && (service.to.is_empty() || service.to.contains(packet.destination));
    in_scope && (service.all || service.protocols.contains(&protocol) || service.ports.iter().any(has))
}

/// What the policy says of the first packet of a TCP or UDP connection to this machine: read from the policy, and from
/// nothing that was compiled. Where one service denies and another rejects, either may be what becomes of it.
fn meant(policy: &Resolved, packet: &Packet, interface: &str) -> Vec<Verdict> {
    let Transport::Ports { protocol, destination: port, .. } = packet.transport else { return Vec::new() };
    let is = |peers: &Peers| peers.any || named(policy, peers, packet.source, interface).contains(&true);
    let container = policy.containers.interfaces.iter().any(|one| is_one(one, interface));
    let names = |service: &&Service| {
        let [by_interface, by_address] = named(policy, &service.from, packet.source, interface);
        // A denial of an address holds for a container that has it.
        let by_address = by_address && (!container || service.action != Action::Allow);
        is_about(service, packet, interface)
            && !is(&service.except)
            && (service.from.any || by_interface || by_address)
    };
    let verdict = |action: Action| match action {
        Action::Allow => Verdict::Allow,
        Action::Deny => Verdict::Deny,
        Action::Reject => Verdict::Reject,
    };
    let asks_its_engine = container
        && (protocol == Name::Udp.number() && [53, 67, 547].contains(&port)
            || protocol == Name::Tcp.number() && port == 53);
    let on_loopback = |address: IpAddr| address.is_ipv4() && address.is_loopback();
    if interface == "lo" {
        return vec![Verdict::Allow];
    }
    if is_blocked(policy, packet.source, interface) || on_loopback(packet.destination) {
        return vec![Verdict::Deny];
    }
    let services = || policy.services.values().filter(names);
    let denied: Vec<Verdict> =
        services().filter(|one| one.action != Action::Allow).map(|one| verdict(one.action)).collect();
    if !denied.is_empty() {
        return denied;
    }
    let allowed = asks_its_engine || services().next().is_some();
    vec![if allowed { Verdict::Allow } else { verdict(policy.defaults.incoming) }]
}

/// Fails unless what is said with less knowledge holds with more, and a verdict that is unknown has a reason.
fn never_guesses(table: &Table, packet: &Packet) -> Result<(), TestCaseError> {
    let id = TableId::palisade();
    let known = simulate_table(&id, table, packet);
    let hidden = |interface: &Interface| match interface {
        Interface::Named(_) => Interface::Unknown,
        other => other.clone(),
    };
    let transport = match packet.transport {
        Transport::Ports { protocol, destination, .. } => Transport::Ports { protocol, source: None, destination },
        other => other,
    };
    let vague = [
        Packet { incoming: hidden(&packet.incoming), ..packet.clone() },
        Packet { outgoing: hidden(&packet.outgoing), ..packet.clone() },
        Packet { hop_limit: None, transport, ..packet.clone() },
    ];
    for vague in vague {
        let less = simulate_table(&id, table, &vague);
        prop_assert!(
            less.outcomes.contain(known.outcomes) || less.outcomes.contain(Outcomes::ANYTHING),
            "{:?} is known of {vague:?}, and {:?} of {packet:?}",
            less.outcomes,
            known.outcomes
        );
    }
    for step in &known.steps {
        let _ = (step.text(), step.comment());
    }
    prop_assert_eq!(known.doubt().is_some(), known.verdict == Verdict::Unknown);
    Ok(())
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn no_table_makes_it_panic_or_guess(table in table(), packet in packet()) {
        never_guesses(&table, &packet)?;
    }

    #[test]
    fn no_policy_makes_it_guess(written in policy(), packets in prop::collection::vec(packet(), 20)) {
        let (_, table) = compiled(&written);
        for packet in packets {
            never_guesses(&table, &packet)?;
        }
    }

    #[test]
    fn a_policy_does_what_it_says(
        written in policy(),
        asked in prop::collection::vec((address(), address(), any::<bool>(), port(), name()), 40),
    ) {
        let (policy, table) = compiled(&written);
        let id = TableId::palisade();
        for (source, destination, tcp, port, interface) in asked {
            if source.is_ipv4() != destination.is_ipv4() || [68, 546].contains(&port) {
                continue;
            }
            let transport = if tcp { Transport::tcp(port) } else { Transport::udp(port) };
            let packet = Packet::to_machine(source, destination, transport).coming_in_by(interface.as_str());
            // What another machine answers is tried with packets: tests/kernel_simulate.rs.
            let is_forwarded = |service: &Service| service.forward_to.is_some() && is_about(service, &packet, &interface);
            if policy.services.values().any(is_forwarded) {
                continue;
            }
            let trace = simulate_table(&id, &table, &packet);
            let meant = meant(&policy, &packet, &interface);
            prop_assert!(meant.contains(&trace.verdict), "{meant:?}: {packet:?}: {:#?}", trace.steps);
            prop_assert!(trace.steps.iter().all(|step| step.certain && step.doubt.is_none()));
        }
    }

    #[test]
    fn who_is_blocked_is_dropped_at_prerouting(written in policy(), packet in packet()) {
        let (policy, table) = compiled(&written);
        let Interface::Named(interface) = &packet.incoming else { return Ok(()) };
        let six = packet.source.is_ipv6();
        let spared = match packet.transport {
            Transport::Icmp { kind, .. } => six && ((130..=136).contains(&kind) || kind == 143),
            Transport::Ports { protocol, destination: port, .. } => {
                protocol == Name::Udp.number() && port == if six { 546 } else { 68 }
            }
            Transport::Other(number) => number == 2,
            Transport::Arp { .. } => true,
        };
        prop_assume!(is_blocked(&policy, packet.source, interface) && interface != "lo" && !spared);

        let id = TableId::palisade();
        let trace = simulate_table(&id, &table, &packet);

        let last = trace.steps.last().map(|step| (step.hook, step.effect));
        prop_assert_eq!((trace.verdict, last), (Verdict::Deny, Some((Hook::Prerouting, Effect::Drop))));
    }

    #[test]
    fn the_line_that_a_refusal_names_lets_the_session_in(
        written in policy(),
        asked in prop::collection::vec((address(), address(), port(), prop::option::of(name())), 5),
    ) {
        let (policy, table) = compiled(&written);
        for (client, server, port, interface) in asked {
            if client.is_unspecified() || client.is_ipv4() != server.is_ipv4() || port == 0 {
                continue;
            }
            // No session comes to the loopback from elsewhere.
            let interface = if server.is_loopback() { Some("lo".to_owned()) } else { interface };
            let server = SocketAddr::new(server, port);
            let session = Session { client, client_port: 50_123, server, own: true, user: None, interface, asked: None };
            let id = TableId::palisade();
            let candidate = Candidate { id: &id, table: &table, policy: None, beside: None };
            let sessions = std::slice::from_ref(&session);
            if candidate.check(sessions).is_ok() {
                continue;
            }
            // `except` and `block` are tried by the guard itself, and over a real session.
            let changes = Candidate { policy: Some(&policy), ..candidate }.changes_for(&session).unwrap_or_default();
            if let [Change::Service(line)] = &changes[..] {
                let text = if written.text.contains("\nservices:\n") {
                    written.text.replace("\nservices:\n", &format!("\nservices:\n  {line}\n"))
                } else {
                    format!("{}services:\n  {line}\n", written.text)
                };
                let (_, table) = compiled(&Written { text: text.clone(), ..written.clone() });
                let again = Candidate { table: &table, ..candidate }.check(sessions);
                prop_assert!(again.is_ok(), "{session:?} is not let in by {line}: {again:?}");
            }
        }
    }
}
