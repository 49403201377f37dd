//! Whole connections against the kernel: generated tables of nft, and real connections to this machine, through it, from it
//! and to itself, to ports that are translated and to others. Where the simulator says what becomes of one, the kernel does
//! the same: the answer gets back, or does not, and so does what follows it.
//!
//! `PROPTEST_RNG_SEED` chooses the cases; each test prints its own.
#![allow(missing_docs)]

mod answers;
mod support;

use answers::rules;
use palisade::net::protocol;
use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Socket};
use palisade::simulate::{Packet, Stage, Transport, Verdict, follow_connection};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use support::echo::Echo;
use support::lab::{ANY, CLIENT, HOST, HOST_ON_LAN, LAN, LOOPBACK, Lab};
use support::namespace::{Namespace, output};
use support::policies::config_of;
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_from};
use support::tap::{mac_of, mac_text};

/// What everybody answers.
const TCP: [u16; 4] = [22, 80, 4242, 8080];
const UDP: [u16; 3] = [53, 4242, 9000];

/// The ports that connections come from, of those that the kernel gives. None is used again soon: what is left of an
/// earlier connection from it would count as its continuation.
const OWN_PORTS: std::ops::Range<u16> = 33_000..60_000;

/// How many verdicts there were of each kind, by the packet that decides.
#[derive(Debug, Default)]
struct Sum {
    verdicts: BTreeMap<(String, Verdict), usize>,
    doubts: BTreeMap<String, usize>,
}

/// One connection.
struct Try<'n> {
    inside: &'n Namespace,
    target: Target,
    from: SocketAddr,
    to: IpAddr,
    packet: Packet,
}

/// Three machines that answer everything.
struct Range {
    lab: Lab,
    _echoes: [Echo; 3],
    socket: Socket,
    routing: Routing,
    next_port: Cell<u16>,
}

impl Range {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        let echo = |inside: &Namespace| {
            let at = |ports: &[u16]| -> Vec<SocketAddr> {
                ports.iter().flat_map(|port| ANY.map(|address| SocketAddr::new(address, *port))).collect()
            };
            inside.listen(&at(&TCP), &at(&UDP))
        };
        let echoes = [&lab.host, &lab.client, &lab.lan].map(echo);
        know_each_other(&lab);
        let (socket, routing) = lab.host.run(|| (Socket::open(), Routing::open()));
        let (socket, routing) = (socket.expect("a socket"), routing.expect("a socket"));
        Self { _echoes: echoes, socket, routing, lab, next_port: Cell::new(OWN_PORTS.start) }
    }

    fn own_port(&self) -> u16 {
        let port = self.next_port.get();
        self.next_port.set(if port + 1 < OWN_PORTS.end { port + 1 } else { OWN_PORTS.start });
        port
    }

    fn tries(&self) -> Vec<Try<'_>> {
        let Lab { host, client, lan, .. } = &self.lab;
        let mut tries = Vec::new();
        for family in 0..2 {
            let [c, h, i, l, o] = [CLIENT, HOST, HOST_ON_LAN, LAN, LOOPBACK].map(|of| of[family]);
            let mut add = |inside, from: IpAddr, to: IpAddr, by: Option<&str>, targets: &[Target]| {
                for target in targets {
                    let own = self.own_port();
                    let of = |protocol, destination| Transport::Ports { protocol, source: Some(own), destination };
                    let transport = match target {
                        Target::Tcp(port) => of(protocol::TCP, *port),
                        Target::Udp(port) => of(protocol::UDP, *port),
                        Target::Ping => Transport::echo_request(to),
                    };
                    let packet = match by {
                        Some(name) => Packet::to_machine(from, to, transport).coming_in_by(name),
                        None => Packet::from_machine(from, to, transport),
                    };
                    tries.push(Try { inside, target: *target, from: SocketAddr::new(from, own), to, packet });
                }
            };
            let some = [Target::Tcp(80), Target::Udp(53), Target::Ping];
            let published = [Target::Tcp(8080), Target::Udp(9000)];
            add(client, c, h, Some("eth0"), &some);
            add(client, c, h, Some("eth0"), &published);
            add(client, c, l, Some("eth0"), &some);
            add(lan, l, i, Some("eth1"), &some);
            add(lan, l, c, Some("eth1"), &some);
            add(host, h, c, None, &[Target::Tcp(4242), Target::Udp(4242), Target::Ping, Target::Tcp(8080)]);
            add(host, i, l, None, &some);
            add(host, h, h, None, &[Target::Tcp(22), Target::Udp(53), Target::Ping, Target::Tcp(8080)]);
            add(host, o, o, None, &[Target::Tcp(22), Target::Ping]);
        }
        tries
    }

    /// Sentences about the connections that come to another end than is said, beside the rules that are loaded.
    fn differences(&self, sum: &mut Sum) -> Result<Vec<String>, TestCaseError> {
        output(self.lab.host.command("conntrack").arg("-F")).success();
        let live = self.socket.live().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sets = LiveSets::new(&self.socket, &live, None);
        let mut asked = Vec::new();
        for one in self.tries() {
            let said = follow_connection(&live.ruleset.tables, &sets, &self.routing, &one.packet);
            if let Some(doubt) = said.doubt() {
                *sum.doubts.entry(doubt.to_string()).or_default() += 1;
            }
            let (stage, verdict) = (said.decisive().0, said.verdict());
            *sum.verdicts.entry((stage.name().to_owned(), verdict)).or_default() += 1;
            if verdict != Verdict::Unknown {
                asked.push((one, stage, verdict));
            }
        }
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let running: Vec<_> = asked
                .iter()
                .map(|(one, _, verdict)| {
                    let wait = if *verdict == Verdict::Deny { SILENCE } else { PATIENCE };
                    scope.spawn(move || {
                        one.inside.enter();
                        probe_from(one.inside, one.target, one.from, one.to, wait)
                    })
                })
                .collect();
            running.into_iter().map(|one| one.join().expect("a probe ends")).collect()
        });
        let wrong = asked
            .iter()
            .zip(outcomes)
            .filter(|((one, stage, verdict), outcome)| !agrees(one, *stage, *verdict, *outcome));
        let words = |((one, stage, verdict), outcome): (&(Try<'_>, Stage, Verdict), Outcome)| {
            format!("{} from {} to {}: {verdict:?} ({}), but {outcome:?}", one.target, one.from, one.to, stage.name())
        };
        Ok(wrong.map(words).collect())
    }
}

/// Whether a connection may end so after that was said.
fn agrees(one: &Try<'_>, stage: Stage, verdict: Verdict, outcome: Outcome) -> bool {
    use Outcome::{Connected, NotPermitted, Refused, TimedOut, Unreachable};
    match verdict {
        Verdict::Allow => outcome == Connected,
        // It may be reset.
        Verdict::Deny if matches!(stage, Stage::Third | Stage::Fourth) => outcome != Connected,
        Verdict::Deny => matches!(outcome, TimedOut | NotPermitted),
        // Nobody tells an echo request that it is refused, and ping says nothing of errors.
        Verdict::Reject if one.target == Target::Ping => outcome != Connected,
        Verdict::Reject => matches!(outcome, Refused | Unreachable | NotPermitted),
        Verdict::Unknown => true,
    }
}

/// Has all know the link addresses of the others, so that no rule is asked about neighbour discovery.
fn know_each_other(lab: &Lab) {
    let sides = [(&lab.client, CLIENT, "eth0", HOST), (&lab.lan, LAN, "eth1", HOST_ON_LAN)];
    for (inside, addresses, device, host) in sides {
        let (theirs, ours) = (mac_of(inside, "eth0"), mac_of(&lab.host, device));
        for (address, here) in addresses.iter().zip(host) {
            lab.host
                .ip(&format!("neighbour replace {address} lladdr {} dev {device} nud permanent", mac_text(theirs)));
            inside.ip(&format!("neighbour replace {here} lladdr {} dev eth0 nud permanent", mac_text(ours)));
        }
    }
}

/// Compares what becomes of every connection beside so many tables.
fn compare(cases: u32) -> Sum {
    let range = Range::new();
    let sum: RefCell<Sum> = RefCell::default();
    let config = proptest::test_runner::Config { cases, max_shrink_iters: 40, ..config_of(cases) };
    let outcome = TestRunner::new(config).run(&rules(), |text| {
        range.lab.host.nft_load(&format!("flush ruleset\n{text}"));
        let found = range.differences(&mut sum.borrow_mut())?;
        prop_assert!(found.is_empty(), "{} differ:\n{}\nbeside\n{text}", found.len(), found.join("\n"));
        Ok(())
    });
    let sum = sum.into_inner();
    eprintln!("{sum:#?}");
    match outcome {
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(error) => panic!("{error}"),
        Ok(()) => sum,
    }
}

#[test]
fn whatever_nft_loads_a_connection_comes_to_the_end_that_the_simulator_says() {
    let sum = compare(12);

    let unknown: usize = sum.verdicts.iter().filter(|((_, one), _)| *one == Verdict::Unknown).map(|(_, n)| n).sum();
    assert!(unknown * 2 < sum.verdicts.values().sum(), "of too many nothing can be told: {sum:?}");
}

/// A port that is published from the machine on the local network, which counts as a container.
const PUBLISHED: &str = "
table ip nat {
    chain prerouting {
        type nat hook prerouting priority -100;
        iifname != \"eth1\" tcp dport 8080 dnat to 10.77.0.2:80
    }
}
";
const POLICY: &str = "version: 1
containers: { interfaces: eth1 }
services:
  web: { ports: 8080/tcp, from: any }
  pages: { ports: 80/tcp, from: any }
";

/// What `explain` and `exposure` say of a port that the client asks for, and what becomes of it.
fn told(lab: &Lab, port: &str) -> (String, String, Vec<String>) {
    let arguments = ["explain", port, "--from", "203.0.113.9", "--to", "203.0.113.1", "--json"];
    let said: Value = serde_json::from_str(&lab.palisade("policy.yaml", &arguments).stdout).expect("a document");
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    let exposed = lab.palisade("policy.yaml", &["exposure", "--json"]).success();
    let exposed: Value = serde_json::from_str(&exposed).expect("a document");
    let (number, _) = port.split_once('/').expect("a port");
    let rows = exposed["ports"].as_array().cloned().unwrap_or_default();
    let of_port = rows.iter().filter(|row| row["port"].as_u64().is_some_and(|port| port.to_string() == number));
    let reached = of_port.map(|row| row["ipv4"]["reachable_from"].to_string());
    (text("verdict"), text("reason"), reached.collect())
}

#[test]
fn a_port_whose_answers_die_is_open_to_nobody_and_it_is_said_where_they_die() {
    let lab = Lab::new();
    lab.forward();
    let listening: Vec<SocketAddr> = vec![SocketAddr::new(LAN[0], 80)];
    let _container = lab.lan.listen(&listening, &[]);
    let _host = lab.host.listen(&[SocketAddr::new(HOST[0], 80)], &[]);
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    let reaches = |port| lab.client.probe(Target::Tcp(port), CLIENT[0], HOST[0], SILENCE) == Outcome::Connected;
    let beside = |others: &str| {
        lab.host.nft_load(&format!(
            "table ip nat\ndelete table ip nat\ntable ip x\ndelete table ip x\n{PUBLISHED}{others}"
        ));
        [8080, 80].map(|port| (told(&lab, &format!("{port}/tcp")), reaches(port)))
    };
    let everyone = || vec!["[\"everyone\"]".to_owned()];
    let nobody = || vec!["[\"nobody\"]".to_owned()];
    let open = || (("allow".to_owned(), "no table denies it".to_owned(), everyone()), true);
    let shut = |why: &str| (("deny".to_owned(), why.to_owned(), nobody()), false);

    assert_eq!(beside(""), [open(), open()]);
    assert_eq!(
        beside(
            "table ip x { chain a { type filter hook prerouting priority -300; ip saddr 10.77.0.0/16 drop; }; }\n"
        ),
        [
            shut(
                "the answer to it is dropped by chain a of table ip x, not by palisade: `ip saddr 10.77.0.0/16 drop`"
            ),
            open()
        ]
    );
    assert_eq!(
        beside("table ip x { chain a { type filter hook output priority 0; tcp sport 80 drop; }; }\n"),
        [open(), shut("the answer to it is dropped by chain a of table ip x, not by palisade: `tcp sport 80 drop`")]
    );
    assert_eq!(
        beside("table ip x { chain a { type filter hook input priority 0; policy drop; ct state new accept; }; }\n"),
        [open(), shut("what follows the answer is dropped by chain a of table ip x, not by palisade: `policy drop`")]
    );
    assert_eq!(
        beside("table ip x { chain a { type filter hook prerouting priority -300; iifname eth1 notrack; }; }\n"),
        [shut("a rule leaves the answer untracked, so that its translation is not undone"), open()]
    );
}

#[test]
#[ignore = "takes minutes"]
fn whatever_nft_loads_a_connection_comes_to_the_end_that_the_simulator_says_ten_thousand_times() {
    let sum = compare(250);

    let of = |stage: &str, verdict| sum.verdicts.get(&(stage.to_owned(), verdict)).copied().unwrap_or_default();
    assert!(of("answer", Verdict::Deny) > 200 && of("third", Verdict::Deny) > 20, "{sum:?}");
    let unknown: usize = sum.verdicts.iter().filter(|((_, one), _)| *one == Verdict::Unknown).map(|(_, n)| n).sum();
    assert!(unknown * 10 < sum.verdicts.values().sum(), "of too many nothing can be told: {sum:?}");
}
