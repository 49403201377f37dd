//! The simulator against the kernel on rules of others: generated tables of the ip, ip6 and inet families with sets, maps,
//! marks, jumps and translations. Where it says something, the kernel does the same.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` choose the cases.
#![allow(missing_docs)]

mod support;

use palisade::netlink::route::Routing;
use palisade::netlink::{LiveSets, Socket};
use palisade::simulate::{Packet, State, Transport, Verdict, Way, follow};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use support::echo::Echo;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab, OUT};
use support::namespace::{Namespace, output};
use support::policies::config;
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};

const PORTS: [u16; 6] = [22, 53, 80, 443, 8080, 9000];

/// A condition, in the words of nft. `4` and `6` begin those of one family.
const CONDITIONS: [&str; 28] = [
    "",
    "",
    "tcp dport 80",
    "tcp dport { 22, 8080 }",
    "udp dport 53",
    "th dport 80-443",
    "th dport != 22",
    "meta l4proto udp",
    "meta l4proto { tcp, icmp }",
    "iifname \"eth0\"",
    "iifname != \"eth0\"",
    "iif lo",
    "oifname \"eth1\"",
    "ct state new",
    "ct state established,related",
    "ct status dnat",
    "meta l4proto tcp ct original proto-dst 8080",
    "meta mark 1",
    "meta mark & 2 == 2",
    "ct mark 5",
    "fib daddr type local",
    "fib daddr type != local",
    "limit rate 100000/second burst 100000 packets",
    "4ip saddr 203.0.113.0/27",
    "4ip daddr @hosts",
    "4ip saddr . th dport @pairs",
    "6ip6 saddr 2001:db8::9",
    "6ip6 daddr @hosts6",
];
const ACTIONS: [&str; 18] = [
    "accept",
    "accept",
    "drop",
    "drop",
    "reject",
    "counter",
    "meta mark set 1",
    "meta mark set meta mark | 2",
    "ct mark set 5",
    "jump one",
    "goto one",
    "jump two",
    "return",
    "log",
    "meta nftrace set 1",
    "tcp dport vmap { 22 : accept, 80 : drop, 443-8080 : jump two }",
    "th dport vmap @verdicts",
    "counter accept",
];
const TRANSLATIONS: [&str; 6] = [
    "4tcp dport 8080 dnat IPto LAN4:80",
    "4udp dport 9000 dnat IPto LAN4:53",
    "4tcp dport 443 dnat IPto LAN4",
    "6tcp dport 8080 dnat IPto [LAN6]:80",
    "6tcp dport 443 fib daddr type local dnat IPto LAN6",
    "4iifname \"eth0\" tcp dport { 22, 9000 } dnat IPto tcp dport map { 22 : LAN4, 9000 : LAN4 }",
];
const SETS: &str = "
    set hosts { type ipv4_addr; elements = { 203.0.113.1, 10.77.0.2 }; }
    set hosts6 { type ipv6_addr; flags interval; elements = { 2001:db8::/126, fd77::2 }; }
    set pairs { type ipv4_addr . inet_service; flags interval; elements = { 203.0.113.64/26 . 80-443, 10.77.0.2 . 22 }; }
    map verdicts { type inet_service : verdict; flags interval; elements = { 22 : accept, 50-60 : drop, 8080 : jump two, 9000 : return }; }
";

#[derive(Clone, Debug)]
struct Written {
    text: String,
}

/// A rule of a table of that family, or nothing where the words are of another.
fn fits(family: &str, words: &str) -> Option<String> {
    let (of, words) = match words.strip_prefix('4').or(words.strip_prefix('6')) {
        Some(rest) => (&words[..1], rest),
        None => ("", words),
    };
    let own = match family {
        "ip" => "4",
        "ip6" => "6",
        _ => of,
    };
    let ip = match (family, of) {
        ("inet", "4") => "ip ",
        ("inet", "6") => "ip6 ",
        _ => "",
    };
    let lan = |text: &str| text.replace("LAN4", &LAN[0].to_string()).replace("LAN6", &LAN[1].to_string());
    (of.is_empty() || of == own).then(|| lan(&words.replace("IP", ip)))
}

fn table(index: usize) -> impl Strategy<Value = String> {
    let conditions = || prop::collection::vec(select(&CONDITIONS[..]), 1..3);
    let rules = |count| prop::collection::vec((conditions(), select(&ACTIONS[..])), 0..count);
    let hook = select(vec!["prerouting", "input", "forward", "output"]);
    let base = (hook, select(vec![-300, -150, -10, 0, 5, 50]), prop::bool::weighted(0.15), rules(6));
    let family = select(vec!["ip", "ip6", "inet", "inet"]);
    let nat = prop::option::weighted(0.6, prop::collection::vec(select(&TRANSLATIONS[..]), 1..3));
    (family, prop::collection::vec(base, 1..4), rules(3), rules(3), nat).prop_map(
        move |(family, bases, one, two, nat)| {
            let body = |rules: &[(Vec<&str>, &str)], within: &str| -> String {
                let rule = |(conditions, action): &(Vec<&str>, &str)| {
                    let conditions: Option<Vec<String>> = conditions.iter().map(|words| fits(family, words)).collect();
                    // Called chains call none that could call them.
                    let action = if within != "base" && action.contains("one") { "accept" } else { action };
                    let calls = action.contains("two") || action.contains("@verdicts");
                    let action = if within == "two" && calls { "counter" } else { action };
                    conditions.map(|conditions| format!("        {} {action}\n", conditions.join(" ")))
                };
                rules.iter().filter_map(rule).collect()
            };
            let mut text = format!("table {family} t{index} {{{SETS}\n    chain two {{\n{}    }}\n", body(&two, "two"));
            text.push_str(&format!("    chain one {{\n{}    }}\n", body(&one, "one")));
            for (at, (hook, priority, drops, rules)) in bases.iter().enumerate() {
                // Two chains of one priority have no order that a listing tells.
                let priority = priority + i32::try_from(index * 10 + at).unwrap_or_default() % 40;
                let policy = if *drops { "drop" } else { "accept" };
                text.push_str(&format!(
                    "    chain b{at} {{\n        type filter hook {hook} priority {priority}; policy {policy};\n        ct state established accept\n{}    }}\n",
                    body(rules, "base")
                ));
            }
            if let Some(rules) = &nat {
                let rules: Vec<String> = rules.iter().filter_map(|words| fits(family, words)).collect();
                text.push_str(&format!(
                    "    chain nat {{\n        type nat hook prerouting priority {};\n        {}\n    }}\n",
                    -100 + i32::try_from(index).unwrap_or_default(),
                    rules.join("\n        ")
                ));
            }
            text + "}\n"
        },
    )
}

fn written() -> impl Strategy<Value = Written> {
    (table(0), prop::option::of(table(1)), prop::option::of(table(2))).prop_map(|(first, second, third)| Written {
        text: [Some(first), second, third].into_iter().flatten().collect(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Probe {
    from: IpAddr,
    to: IpAddr,
    target: Target,
}

fn every_probe() -> Vec<Probe> {
    let mut probes = Vec::new();
    for family in [0, 1] {
        let pairs = [
            (CLIENT[family], HOST[family]),
            (OUT[family], HOST[family]),
            (CLIENT[family], LAN[family]),
            (LAN[family], HOST_ON_LAN[family]),
        ];
        for (from, to) in pairs {
            for port in PORTS {
                probes.extend([Target::Tcp(port), Target::Udp(port)].map(|target| Probe { from, to, target }));
            }
        }
    }
    probes
}

struct Range {
    lab: Lab,
    socket: Socket,
    routing: Routing,
    _echoes: [Echo; 2],
}

impl Range {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        lab.add_addresses(OUT);
        let on = |addresses: &[IpAddr]| -> Vec<SocketAddr> {
            addresses.iter().flat_map(|address| PORTS.map(|port| SocketAddr::new(*address, port))).collect()
        };
        let (host, lan) = (on(&[HOST, HOST_ON_LAN].concat()), on(&LAN));
        let echoes = [lab.host.listen(&host, &host), lab.lan.listen(&lan, &lan)];
        let (socket, routing) = lab.host.run(|| (Socket::open(), Routing::open()));
        Self { lab, socket: socket.expect("a socket"), routing: routing.expect("a socket"), _echoes: echoes }
    }

    fn inside(&self, probe: &Probe) -> &Namespace {
        if LAN.contains(&probe.from) { &self.lab.lan } else { &self.lab.client }
    }

    /// Whether stock nft takes the tables: some conditions contradict each other.
    fn load(&self, text: &str) -> bool {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(format!("flush ruleset\n{text}").as_bytes()).expect("it is writable");
        let loaded = output(self.lab.host.command("nft").arg("-f").arg(file.path())).status == Some(0);
        output(self.lab.host.command("conntrack").arg("-F")).success();
        loaded
    }

    /// What the simulator says of the first packet, and whether it is answered by this machine.
    fn simulated(&self, probe: &Probe) -> Result<Verdict, TestCaseError> {
        let live = self.socket.live().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sets = LiveSets::new(&self.socket, &live, None);
        let transport = match probe.target {
            Target::Tcp(port) => Transport::tcp(port),
            Target::Udp(port) => Transport::udp(port),
            Target::Ping => Transport::echo_request(probe.to),
        };
        let incoming = if LAN.contains(&probe.from) { "eth1" } else { "eth0" };
        let packet = Packet::to_machine(probe.from, probe.to, transport).coming_in_by(incoming);
        let first = follow(&live.ruleset.tables, &sets, &self.routing, &packet);
        let here = first.turns.last().is_some_and(|turn| turn.way == Way::Local);
        let (Transport::Ports { protocol, destination, .. }, Verdict::Allow, true) =
            (transport, first.trace.verdict, here)
        else {
            return Ok(first.trace.verdict);
        };
        let back = Transport::Ports { protocol, source: Some(destination), destination: 50_123 };
        let back = Packet::from_machine(probe.to, probe.from, back).in_state(State::Reply);
        let answer = follow(&live.ruleset.tables, &sets, &self.routing, &back).trace.verdict;
        Ok(if answer == Verdict::Reject { Verdict::Deny } else { answer })
    }
}

fn agrees(verdict: Verdict, outcome: Outcome) -> bool {
    match verdict {
        Verdict::Allow => outcome == Outcome::Connected,
        Verdict::Deny => outcome == Outcome::TimedOut,
        Verdict::Reject => matches!(outcome, Outcome::Refused | Outcome::Unreachable),
        Verdict::Unknown => true,
    }
}

#[test]
fn whatever_others_load_the_kernel_does_what_the_simulator_says() {
    let range = Range::new();
    let sum: RefCell<BTreeMap<Verdict, usize>> = RefCell::default();
    let refused = RefCell::new(0);
    let config = proptest::test_runner::Config { max_shrink_iters: 25, ..config(30) };
    let probes = prop::sample::subsequence(every_probe(), 70);

    let outcome = TestRunner::new(config).run(&(written(), probes), |(written, probes)| {
        if !range.load(&written.text) {
            *refused.borrow_mut() += 1;
            return Ok(());
        }
        let probes: Vec<Probe> = probes.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let said = probes.iter().map(|probe| range.simulated(probe)).collect::<Result<Vec<_>, _>>()?;
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let running: Vec<_> = probes
                .iter()
                .zip(&said)
                .map(|(probe, verdict)| {
                    let wait = if matches!(verdict, Verdict::Deny) { SILENCE } else { PATIENCE };
                    let inside = range.inside(probe);
                    let known = *verdict != Verdict::Unknown;
                    scope.spawn(move || {
                        inside.enter();
                        known.then(|| probe_here(inside, probe.target, probe.from, probe.to, wait))
                    })
                })
                .collect();
            let done = running.into_iter().map(|one| one.join().expect("a probe ends"));
            done.map(|outcome| outcome.unwrap_or(Outcome::TimedOut)).collect()
        });
        said.iter().for_each(|verdict| *sum.borrow_mut().entry(*verdict).or_default() += 1);
        let wrong: Vec<String> = (probes.iter().zip(&said).zip(outcomes))
            .filter(|((_, verdict), outcome)| !agrees(**verdict, *outcome))
            .map(|((probe, verdict), outcome)| format!("{probe:?}: {verdict:?} simulated, but {outcome:?}"))
            .collect();
        prop_assert!(wrong.is_empty(), "{} differ:\n{}\nbeside\n{}", wrong.len(), wrong.join("\n"), written.text);
        Ok(())
    });

    eprintln!("verdicts compared: {:?}; rulesets that nft refused: {}", sum.borrow(), refused.borrow());
    match outcome {
        Err(proptest::test_runner::TestError::Fail(why, _)) => panic!("{why}"),
        Err(error) => panic!("{error}"),
        Ok(()) => {}
    }
}
