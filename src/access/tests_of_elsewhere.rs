//! What is said of connections to elsewhere is what the simulator says of each source and destination.

use super::change::{AccessChange, Direction, Port};
use super::diff::{access_changes, lines};
use super::diff_elsewhere::Elsewhere;
use super::expect::unmet;
use super::space::{Target, machine};
use super::tests::{compiled, opened_one_by_one};
use super::ways::{Opener, packet};
use crate::facts::Facts;
use crate::net::{Version, number};
use crate::policies::{Written, config};
use crate::policy::parse;
use crate::resolve::{Expectation, resolve};
use crate::ruleset::{Table, TableId};
use crate::simulate::Packet;
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::fmt::Write;
use std::net::IpAddr;

/// How many sources, destinations and ports are simulated one by one for each pair of policies.
const SAMPLES: usize = 10_000;

fn table(text: &str) -> Table {
    compiled(&Written { text: format!("version: 1\n{text}"), files: std::collections::BTreeMap::new() })
}

fn said(before: &str, after: &str) -> Vec<String> {
    lines(&access_changes(&TableId::palisade(), Some(&table(before)), Some(&table(after))))
}

#[test]
fn what_this_machine_its_users_and_its_containers_may_open_is_said_by_destination() {
    assert_eq!(
        said(
            "",
            "outgoing:\n  spam: { action: deny, ports: 25/tcp, from: host, except: { user: 1001 }, to: any }\n  \
             metadata: { action: deny, ports: any, from: containers, to: 169.254.169.254 }\n  \
             app: { action: reject, ports: 443/tcp, from: { interface: br-app }, to: { interface: eth1 } }\n"
        ),
        [
            "access: out 25/tcp from host: any loses",
            "access: out 25/tcp from user 1001: nothing changes",
            "access: out any from containers: 169.254.169.254 loses",
            "access: out 443/tcp from br-app to eth1: any loses",
        ]
    );
    assert_eq!(
        said(
            "containers: { interfaces: [] }\n",
            "containers: { interfaces: [] }\ndefaults: { outgoing: reject }\noutgoing:\n  \
             web: { ports: [80/tcp, 443/tcp], from: [host], to: any }\n  \
             names: { ports: 53/udp, from: host, to: [9.9.9.9, \"2620:fe::9\"] }\n"
        ),
        [
            "access: out 1-79/tcp from host: any loses",
            "access: out 81-442/tcp from host: any loses",
            "access: out 444-65535/tcp from host: any loses",
            "access: out 1-52/udp from host: any loses",
            "access: out 53/udp from host: any but 9.9.9.9, 2620:fe::9 loses",
            "access: out 54-546/udp from host: any loses",
            "access: out 547/udp from any but fe80::/10 by host: any loses",
            "access: out 548-65535/udp from host: any loses",
            "access: out 1-65535/sctp from host: any loses",
            "access: out ping from host: any loses",
            "access: out 2/proto from host: any but 224.0.0.0/4 loses",
            "access: out other protocols from host: any loses",
        ]
    );
}

#[test]
fn who_may_open_what_through_this_machine_is_said_by_interface_source_and_destination() {
    let before = "containers: { interfaces: [docker0] }\n";
    let with = |rules: &str| said(before, &format!("{before}forward:\n{rules}"));

    assert_eq!(
        with("  a: { ports: 22/tcp, from: { interface: wg0 }, to: { interface: eth1 } }\n"),
        ["access: through 22/tcp from wg0 to eth1: any gains"]
    );
    assert_eq!(
        with(
            "  a: { ports: 443/tcp, from: [10.8.0.0/24, 10.9.0.7], to: [10.0.0.5, 10.0.0.9] }\n  \
              b: { ports: ping, from: { interface: wg0 }, to: 10.0.0.5 }\n"
        ),
        [
            "access: through 443/tcp to 10.0.0.5, 10.0.0.9: 10.8.0.0/24, 10.9.0.7 gains",
            "access: through ping from wg0 to 10.0.0.5: any gains",
            "access: through 443/tcp to 10.0.0.5, 10.0.0.9 by containers: 10.8.0.0/24, 10.9.0.7 gains",
            "access: through ping from wg0 to 10.0.0.5 by containers: any gains",
        ]
    );
    assert_eq!(
        with(
            "  a: { ports: any, from: any, to: any }\n  b: { action: deny, ports: any, from: { interface: wg0 }, to: { interface: eth1 } }\n"
        ),
        [
            "access: through any: any gains",
            "access: through any from wg0 to eth1: nobody gains or loses",
            "access: through any to containers: any gains",
        ]
    );
}

#[test]
fn who_gains_a_port_that_another_machine_answers_is_told_which() {
    let before = "services: { web: { ports: 443/tcp, from: 10.0.0.0/8 } }\n";
    let after = "services: { web: { ports: 443/tcp, from: any, forward_to: \"192.168.122.10:8443\" } }\n";

    assert_eq!(
        said(before, after),
        [
            "access: 443/tcp: 0.0.0.0-9.255.255.255, 11.0.0.0-255.255.255.255 gains (forwarded to 192.168.122.10:8443)",
            "access: 443/tcp from containers: 0.0.0.0/0 gains (forwarded to 192.168.122.10:8443)",
        ]
    );
}

#[test]
fn where_a_port_is_forwarded_to_does_not_depend_on_who_is_blocked() {
    let web =
        "services: { web: { ports: 443/tcp, from: any, forward_to: \"192.168.122.10:8443\" } }\nblock: 0.0.0.0/8\n";
    let lines = said(web, &web.replace("0.0.0.0/8", "[0.0.0.0/8, 198.51.100.0/24]"));

    assert_eq!(lines[0], "access: 443/tcp: 198.51.100.0/24 loses (forwarded to 192.168.122.10:8443)");
}

/// What is said of the expectations of a policy.
fn unproved(policy: &str) -> Vec<String> {
    let resolved =
        resolve(&parse(&format!("version: 1\n{policy}"), "policy.yaml").policy.expect("a policy"), &Facts::default());
    let resolved = resolved.expect("a valid one");
    let problems = unmet(&TableId::palisade(), &crate::compile::compile(&resolved), &resolved.expectations);
    problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn a_connection_to_who_is_blocked_is_not_open_since_its_answer_is_dropped() {
    let allows = |from: &str, to: &str| {
        unproved(&format!(
            "defaults: {{ forward: allow }}\ncontainers: {{ interfaces: [] }}\nblock: 192.0.2.0/24\n\
             expect: [{{ allow: 443/tcp, from: {from}, to: {to} }}]\n"
        ))
    };

    assert_eq!(allows("host", "198.51.100.0/24"), [""; 0]);
    assert_eq!(
        allows("host", "[198.51.100.0/24, 192.0.2.7]"),
        ["a program of user 0 is expected to open 443/tcp of 192.0.2.7, and the answer is denied"]
    );
    assert_eq!(
        allows("10.0.0.0/8", "192.0.2.0/30"),
        ["10.0.0.0 is expected to open 443/tcp of 192.0.2.0, and the answer is denied"]
    );
    assert_eq!(allows("10.0.0.0/8", "198.51.100.0/24"), [""; 0]);
}

/// From the first to the last address, of one version.
type Printed = (Version, u128, u128);

fn holds(texts: &[String], address: IpAddr) -> bool {
    let version = Version::of(address);
    let read = |text: &String| -> Option<Printed> {
        if text == "any" {
            return Some((version, 0, version.last_address()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Some((Version::of(network.network()), number(network.network()), number(network.broadcast())));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let [first, last]: [IpAddr; 2] = [first, last].map(|end| end.parse().expect("an address"));
        Some((Version::of(first), number(first), number(last)))
    };
    let within = |(of, first, last): Printed| of == version && (first..=last).contains(&number(address));
    texts.iter().filter_map(read).any(within)
}

/// Whether a change is about that port or protocol.
fn speaks_of(change: &AccessChange, target: Target) -> bool {
    if change.proto == "any" {
        return true;
    }
    match (target, &change.port) {
        (Target::Ports { protocol, first, .. }, Some(port)) => {
            let name = [(6, "tcp"), (17, "udp"), (132, "sctp")].into_iter().find(|(number, _)| *number == protocol);
            let (from, to) = match port {
                Port::One(port) => (*port, *port),
                Port::Range(range) => {
                    let (from, to) = range.split_once('-').expect("a range");
                    (from.parse().expect("a port"), to.parse().expect("a port"))
                }
            };
            name.is_some_and(|(_, name)| name == change.proto) && (from..=to).contains(&first)
        }
        (Target::Ping, None) => change.proto == "icmp",
        (Target::Protocol(number), None) => change.proto == number.to_string(),
        (Target::OtherProtocols(_), None) => change.proto == "other",
        _ => false,
    }
}

/// What the lines say of one packet: gains, loses, unknown. The lines of its sender and interface count, or those of
/// either, or those of others.
fn told(
    changes: &[AccessChange],
    direction: Direction,
    labels: [Option<&str>; 2],
    usual: [Option<&str>; 2],
    target: Target,
    (source, destination): (IpAddr, IpAddr),
) -> [bool; 3] {
    let [from, to] = labels;
    let of = |from: Option<&str>, to: Option<&str>| {
        let about = |change: &&AccessChange| {
            change.direction == Some(direction)
                && change.from.as_deref() == from
                && change.to.as_deref() == to
                && speaks_of(change, target)
        };
        let lines: Vec<&AccessChange> = changes.iter().filter(about).collect();
        (!lines.is_empty()).then_some(lines)
    };
    let lines =
        of(from, to).or_else(|| of(from, usual[1])).or_else(|| of(usual[0], to)).or_else(|| of(usual[0], usual[1]));
    let mut told = [false; 3];
    for change in lines.unwrap_or_default() {
        let (key, value, of_value) = match direction {
            Direction::Out => (&change.sources, source, destination),
            Direction::Through => (&change.destinations, destination, source),
        };
        if key.is_empty() || holds(key, value) {
            let says = [&change.gains, &change.loses, &change.unknown].map(|texts| holds(texts, of_value));
            told.iter_mut().zip(says).for_each(|(told, says)| *told |= says);
        }
    }
    told
}

/// A list of a policy, or one item of it.
fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    subsequence(of, 1..=most).prop_map(|some| format!("[{}]", some.join(", ")))
}

const ADDRESSES: [&str; 7] = [
    "10.0.0.5",
    "10.0.0.0/24",
    "10.0.0.128-10.0.1.7",
    "198.51.100.64/26",
    "0.0.0.0/5",
    "\"2001:db8:1::/48\"",
    "\"2001:db8:1::5\"",
];
const PORTS: [&str; 7] = ["443/tcp", "25/tcp", "440-450/tcp", "53/udp", "ping", "esp/proto", "22/tcp"];
const OF_HOST: [&str; 5] = ["host", "{ user: 1001 }", "{ user: 33 }", "containers", "{ interface: br-app }"];
const EXCEPT_OF_HOST: [&str; 3] = ["{ user: 1001 }", "{ user: 7 }", "{ interface: br-app }"];
const INTERFACES: [&str; 3] = ["{ interface: wg0 }", "{ interface: eth1 }", "{ interface: \"eth*\" }"];

fn places() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just("any".to_owned()), 2 => some(&ADDRESSES, 3), 1 => some(&INTERFACES, 2)]
}

fn ports() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just("any".to_owned()), 3 => some(&PORTS, 3)]
}

/// A policy with rules of `outgoing` and `forward`.
fn elsewhere() -> impl Strategy<Value = String> {
    let action = || select(vec!["allow", "deny", "reject"]);
    let out = (action(), ports(), some(&OF_HOST, 2), places(), prop::option::of(some(&EXCEPT_OF_HOST, 1)));
    let through = (action(), ports(), places(), places(), prop::option::of(some(&ADDRESSES, 2)));
    let block = prop::option::weighted(0.3, some(&ADDRESSES, 2));
    let rules = (prop::collection::vec(out, 0..4), prop::collection::vec(through, 0..4));
    (action(), action(), rules, block, any::<bool>()).prop_map(|(outgoing, forward, (out, through), block, nat)| {
        let mut text = format!(
            "defaults: {{ outgoing: {outgoing}, forward: {forward} }}\ncontainers: {{ interfaces: [docker0, br-app], \
             outgoing: {outgoing} }}\n"
        );
        block.iter().for_each(|block| {
            let _ = writeln!(text, "block: {block}");
        });
        let word = |default: &str, action: &'static str| match (default, action) {
            ("allow", "allow") => "deny",
            (_, action) => action,
        };
        let mut section = |name: &str, rules: Vec<String>| {
            if !rules.is_empty() {
                let _ = writeln!(text, "{name}:");
                rules.iter().enumerate().for_each(|(index, rule)| {
                    let _ = writeln!(text, "  r{index}: {{ {rule} }}");
                });
            }
        };
        let rule =
            |default: &str,
             (action, ports, from, to, except): (&'static str, String, String, String, Option<String>)| {
                let except = except.map(|except| format!(", except: {except}")).unwrap_or_default();
                format!("action: {}, ports: {ports}, from: {from}, to: {to}{except}", word(default, action))
            };
        section("outgoing", out.into_iter().map(|of| rule(outgoing, of)).collect());
        section("forward", through.into_iter().map(|of| rule(forward, of)).collect());
        if nat {
            section("nat", vec!["from: 10.0.0.0/8, to: { interface: eth1 }".to_owned()]);
        }
        text
    })
}

/// Whether a connection passes a table; `None` if it can't be told.
fn passes(table: &Table, packet: &Packet) -> Option<bool> {
    match opened_one_by_one(&TableId::palisade(), &super::translations::without_translations(table), packet) {
        [true, false, false, false] => Some(true),
        [allow, _, _, anything] => (!allow && !anything).then_some(false),
    }
}

/// Addresses at the edges of those that policies name, and any others.
fn address(random: &mut TestRng, version: Version) -> IpAddr {
    const NEAR: [u128; 8] =
        [0x0a00_0005, 0x0a00_0000, 0x0a00_0080, 0x0a00_0107, 0xc633_6440, 0xc633_647f, 0x0800_0000, 0x07ff_ffff];
    const NEAR_V6: [u128; 3] = [0x2001_0db8_0001 << 80, (0x2001_0db8_0001 << 80) + 5, (0x2001_0db8_0002 << 80) - 1];
    let near: &[u128] = if version == Version::V4 { &NEAR } else { &NEAR_V6 };
    let any = random.random::<u128>() & version.last_address();
    let chosen = near[random.random_range(0..near.len())] + random.random_range(0..3_u128);
    let chosen = if random.random() { chosen - 1 } else { any };
    match version.address(chosen).expect("an address") {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_unspecified() => IpAddr::from([10, 0, 0, 5]),
        address => address,
    }
}

/// An address that a container may have.
fn of_container(random: &mut TestRng, version: Version) -> IpAddr {
    let low = random.random_range(0..0x200_u128);
    version
        .address(if version == Version::V4 { 0x0a00_0000 + low } else { (0xfd00 << 112) + low })
        .expect("an address")
}

fn checked(before: &str, after: &str, seed: u64) -> Result<(), TestCaseError> {
    let tables = [table(before), table(after)];
    let compared = Elsewhere::new(&TableId::palisade(), [&tables[0], &tables[1]]);
    let changes = compared.changes();
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let mut changed = 0;
    for _ in 0..SAMPLES {
        let block = &compared.blocks[random.random_range(0..compared.blocks.len())];
        let sender = &block.senders[random.random_range(0..block.senders.len())];
        let leaving = &block.leaving[random.random_range(0..block.leaving.len())];
        let number = random.random_range(0..compared.targets.len());
        let version = Version::ALL[random.random_range(0..2_usize)];
        let source = match sender.what {
            Opener::By { containers: true, .. } => of_container(&mut random, version),
            Opener::User(_) => machine(version),
            Opener::By { .. } => address(&mut random, version),
        };
        let destination = address(&mut random, version);
        let (class, source_port) = compared.targets[number];
        let target = match class {
            Target::Ports { protocol, first, last } => {
                let port = random.random_range(first..=last);
                Target::Ports { protocol, first: port, last: port }
            }
            other => other,
        };
        let asked = packet(&sender.what, &leaving.what, destination, (target, source_port));
        let asked = Packet { source, ..asked };
        let passed = [&tables[0], &tables[1]].map(|table| passes(table, &asked));
        let usual = [block.senders[0].label.as_deref(), block.leaving[0].label.as_deref()];
        let labels = [sender.label.as_deref(), leaving.label.as_deref()];
        let told = told(&changes, block.direction, labels, usual, target, (source, destination));
        let expected = match passed {
            [Some(false), Some(true)] => [true, false, false],
            [Some(true), Some(false)] => [false, true, false],
            [Some(_), Some(_)] => [false; 3],
            _ => [false, false, true],
        };
        changed += usize::from(expected != [false; 3]);
        prop_assert_eq!(
            told,
            expected,
            "{:?}\n{:#?}\n{}\n{}",
            asked,
            changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            before,
            after
        );
    }
    eprintln!("{SAMPLES} asked, {changed} of them gain or lose, in {} lines", changes.len());
    Ok(())
}

/// A connection that an expectation means, at random; `None` if these can't be combined.
fn meant(expectation: &Expectation, random: &mut TestRng) -> Option<(Opener, &'static str, IpAddr, IpAddr)> {
    let elsewhere = expectation.elsewhere.as_deref()?;
    let version = Version::ALL[random.random_range(0..2_usize)];
    let (source, destination) = (address(random, version), address(random, version));
    const NAMES: [&str; 6] = ["ens9", "wg0", "eth1", "eth7", "br-app", "docker0"];
    let leaving = NAMES[random.random_range(0..NAMES.len())];
    let is_bridge = |name: &str| ["br-app", "docker0"].contains(&name);
    let named =
        |of: &std::collections::BTreeSet<crate::net::IfPattern>, name: &str| of.iter().any(|one| one.covers(name));
    let opener = match random.random_range(0..3) {
        0 => {
            let user = [0, 7, 33, 1001][random.random_range(0..4_usize)];
            (elsewhere.host || elsewhere.users.contains(&user)).then_some(Opener::User(user))?
        }
        _ => {
            let incoming = NAMES[random.random_range(0..NAMES.len())];
            let by_address = expectation.any
                || !is_bridge(incoming)
                    && expectation.addresses.ranges().any(|range| {
                        super::proof::interval(version, range)
                            .is_some_and(|(first, last)| (first..=last).contains(&number(source)))
                    });
            let is_meant = by_address || named(&expectation.interfaces, incoming);
            is_meant.then(|| Opener::By { interface: incoming.to_owned(), containers: is_bridge(incoming) })?
        }
    };
    let to_address = elsewhere.any
        || elsewhere.addresses.ranges().any(|range| {
            super::proof::interval(version, range)
                .is_some_and(|(first, last)| (first..=last).contains(&number(destination)))
        });
    let inside = opener.is_inside();
    let by_address = to_address && !(is_bridge(leaving) && (inside || expectation.allow));
    (by_address || named(&elsewhere.interfaces, leaving)).then_some((opener, leaving, source, destination))
}

fn expected(policy: &str, expectations: &str, seed: u64) -> Result<(), TestCaseError> {
    let text = format!("version: 1\n{policy}expect:\n{expectations}");
    let facts = Facts { kernel: crate::facts::Kernel::NEWEST, ..Facts::default() };
    let facts = Facts { protocols: Ok(crate::facts::ProtocolNames::parse("esp 50 ESP\n")), ..facts };
    let resolved = resolve(&parse(&text, "policy.yaml").policy.expect("a policy"), &facts)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let table = crate::compile::compile(&resolved);
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    for expectation in &resolved.expectations {
        let problems = unmet(&TableId::palisade(), &table, std::slice::from_ref(expectation));
        let (mut tried, mut broken) = (0, 0);
        for _ in 0..SAMPLES {
            let Some((opener, leaving, source, destination)) = meant(expectation, &mut random) else { continue };
            let port = expectation.ports.first().map_or(Target::Ping, |ports| Target::Ports {
                protocol: ports.transport.number(),
                first: ports.first,
                last: ports.first,
            });
            let asked = Packet { source, ..packet(&opener, leaving, destination, (port, Some(50_000))) };
            tried += 1;
            broken += usize::from(passes(&table, &asked) != Some(expectation.allow));
        }
        eprintln!("{tried} asked, {broken} not as expected, {}", problems.len());
        prop_assert!(broken == 0 || !problems.is_empty(), "{broken} of {tried} are not as is proved\n{text}");
        prop_assert!(
            tried < 200 || broken > 0 || problems.is_empty() || !problems[0].message.contains("proved"),
            "{problems:?}\n{text}"
        );
    }
    Ok(())
}

/// Checking a pair takes a second, so shrinking tries only a few.
fn pairs() -> ProptestConfig {
    ProptestConfig { max_shrink_iters: 20, ..config(4) }
}

proptest! {
    #![proptest_config(pairs())]

    #[test]
    fn who_gains_and_loses_elsewhere_is_what_the_simulator_says_one_by_one(
        before in elsewhere(),
        after in elsewhere(),
        seed in any::<u64>(),
    ) {
        checked(&before, &after, seed)?;
    }

    #[test]
    fn what_is_proved_of_connections_to_elsewhere_holds_one_by_one(
        policy in elsewhere(),
        asked in prop::collection::vec(
            (select(vec!["allow", "deny"]), select(vec!["443/tcp", "25/tcp", "ping"]), prop_oneof![
                places(), some(&OF_HOST, 2)
            ], places()), 3),
        seed in any::<u64>(),
    ) {
        let expectations: String = asked.iter().map(|(word, port, from, to)| {
            format!("  - {{ {word}: {port}, from: {from}, to: {to} }}\n")
        }).collect();
        expected(&policy, &expectations, seed)?;
    }
}
