//! The simulator against the kernel: whatever the policy, both have the same verdict on a packet.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` choose the cases. What is simulated is the table as the kernel gives it back.

mod support;

use palisade::compile::compile;
use palisade::enforce::enforce;
use palisade::load::load;
use palisade::netlink::{Reading, Socket};
use palisade::ruleset::{Table, TableId};
use palisade::simulate::{Packet, State, Translation, Transport, Verdict, simulate_table};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use support::echo::Echo;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::{Namespace, output};
use support::policies::{Written, config, policy};
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};

/// Who asks from outside: addresses that generated policies speak of, their neighbours, and others.
const SOURCES: [&str; 20] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.9",
    "10.0.0.16",
    "10.0.0.17",
    "10.0.0.18",
    "203.0.113.9",
    "198.51.100.7",
    "192.168.1.5",
    "128.0.0.1",
    "223.255.255.1",
    "2001:db8::2",
    "2001:db8::3",
    "2001:db8::9",
    "2001:db8::11",
    "2001:db8::12",
    "8000::1",
    "fd00::5",
];
/// Ports at the edges of those that generated policies open.
const PORTS: [u16; 16] = [1, 2, 19, 20, 22, 23, 25, 30, 53, 80, 443, 60_000, 60_500, 61_001, 65_534, 65_535];
/// Ports of the host that are translated to ports of the machine on the local network, as engines publish them.
const PUBLISHED: [(u16, u16); 3] = [(24, 23), (8080, 80), (60_700, 22)];
/// A port of which no generated policy speaks but by chance.
const ELSEWHERE: u16 = 4242;
/// What engines do for containers. `nat` chains of one machine see no packet of palisade's, and this is no engine's.
const PUBLISHES: &str = "
table inet published {
    map to4 { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { ELEMENTS4 }; }
    map to6 { type inet_proto . inet_service : ipv6_addr . inet_service; elements = { ELEMENTS6 }; }
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname \"eth0\" fib daddr type local dnat ip to meta l4proto . th dport map @to4
        iifname \"eth0\" fib daddr type local dnat ip6 to meta l4proto . th dport map @to6
    }
}
";

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// From outside to the host.
    In,
    /// From outside to a port of the host that the machine on the local network answers.
    Published,
    /// From outside to the machine on the local network.
    Routed,
    /// From the local network to the host.
    LanToHost,
    /// From the local network to the outside.
    LanToOutside,
    /// From the host to the outside.
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Probe {
    way: Way,
    target: Target,
    from: IpAddr,
    to: IpAddr,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn probe() -> impl Strategy<Value = Probe> {
    let ways = [
        (8, Way::In),
        (3, Way::Published),
        (1, Way::Routed),
        (2, Way::LanToHost),
        (1, Way::LanToOutside),
        (1, Way::Out),
    ];
    let way = prop::strategy::Union::new_weighted(ways.map(|(weight, way)| (weight, Just(way))).to_vec());
    let kinds = [(10, 't'), (8, 'u'), (1, 'p')];
    let kind = prop::strategy::Union::new_weighted(kinds.map(|(weight, kind)| (weight, Just(kind))).to_vec());
    (way, kind, select(&SOURCES[..]), select(&PORTS[..]), select(&PUBLISHED[..]), any::<bool>()).prop_map(
        |(way, kind, source, port, published, v6)| {
            let family = usize::from(v6);
            let source = ip(source);
            let of_source = usize::from(source.is_ipv6());
            let (from, to, port) = match way {
                Way::In => (source, HOST[of_source], port),
                Way::Published => (source, HOST[of_source], published.0),
                Way::Routed => (source, LAN[of_source], port),
                Way::LanToHost => (LAN[family], HOST_ON_LAN[family], port),
                Way::LanToOutside => (LAN[family], CLIENT[family], ELSEWHERE),
                Way::Out => (HOST[family], CLIENT[family], ELSEWHERE),
            };
            let target = match kind {
                'u' => Target::Udp(port),
                'p' if way != Way::Published => Target::Ping,
                _ => Target::Tcp(port),
            };
            Probe { way, target, from, to }
        },
    )
}

/// A generated policy without limits, which many packets at once would exceed, and with a word on containers.
fn unlimited() -> impl Strategy<Value = Written> {
    let containers = select(vec![
        "",
        "",
        "containers: { interfaces: eth1 }\n",
        "containers: { interfaces: eth1, host: allow }\n",
        "containers: { interfaces: \"eth1*\", outgoing: deny }\n",
    ]);
    (policy(), containers).prop_map(|(written, containers)| {
        let lines = written.text.lines().map(|line| match line.split_once(", limit: ") {
            Some((before, after)) => {
                let end = after.find([',', '}']).unwrap_or(after.len());
                format!("{before}{}\n", after.get(end..).unwrap_or_default())
            }
            None => format!("{line}\n"),
        });
        Written { text: lines.collect::<String>() + containers, ..written }
    })
}

impl Probe {
    fn transport(self) -> Transport {
        match self.target {
            Target::Tcp(port) => Transport::tcp(port),
            Target::Udp(port) => Transport::udp(port),
            Target::Ping => Transport::echo_request(self.to),
        }
    }

    /// Where the port is translated to.
    fn translation(self) -> Option<Translation> {
        let (Target::Tcp(port) | Target::Udp(port)) = self.target else { return None };
        let (_, to) = PUBLISHED.into_iter().find(|(published, _)| *published == port)?;
        let address = LAN[usize::from(self.to.is_ipv6())];
        matches!(self.way, Way::In | Way::Published).then_some(Translation { address, port: Some(to) })
    }

    /// The first packet, and the answer to it.
    fn packets(self) -> [Packet; 2] {
        let Self { way, from, to, .. } = self;
        let transport = self.transport();
        let answer = match transport {
            Transport::Ports { protocol, destination, .. } => {
                Transport::Ports { protocol, source: Some(destination), destination: 40_000 }
            }
            Transport::Icmp { kind, code } => Transport::Icmp { kind: if kind == 8 { 0 } else { 129 }, code },
            other => other,
        };
        let inward = |interface: &str| {
            [
                Packet::to_machine(from, to, transport).coming_in_by(interface),
                Packet::from_machine(to, from, answer).leaving_by(interface),
            ]
        };
        let across = |first: Packet, to: IpAddr, incoming: &str, outgoing: &str| {
            [
                first.coming_in_by(incoming).leaving_by(outgoing),
                Packet::through(to, from, answer).coming_in_by(outgoing).leaving_by(incoming),
            ]
        };
        let [first, answer] = match (way, self.translation()) {
            (Way::In | Way::Published, None) => inward("eth0"),
            (Way::In | Way::Published, Some(translation)) => {
                across(Packet::published(from, to, transport, translation), translation.address, "eth0", "eth1")
            }
            (Way::Routed, _) => across(Packet::through(from, to, transport), to, "eth0", "eth1"),
            (Way::LanToHost, _) => inward("eth1"),
            (Way::LanToOutside, _) => across(Packet::through(from, to, transport), to, "eth1", "eth0"),
            (Way::Out, _) => [
                Packet::from_machine(from, to, transport).leaving_by("eth0"),
                Packet::to_machine(to, from, answer).coming_in_by("eth0"),
            ],
        };
        [first, answer.in_state(State::Reply)]
    }

    /// What the simulator makes of both packets.
    fn simulated(self, table: &Table) -> Verdict {
        let id = TableId::palisade();
        let verdicts = self.packets().map(|packet| simulate_table(&id, table, &packet).verdict);
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Allow).unwrap_or(Verdict::Allow)
    }
}

/// Whether the outcome is one that the verdict has.
fn agrees(probe: &Probe, verdict: Verdict, outcome: Outcome) -> bool {
    match verdict {
        Verdict::Allow => outcome == Outcome::Connected,
        // `ping` does not tell a refusal from silence.
        Verdict::Reject if probe.target == Target::Ping => outcome == Outcome::TimedOut,
        // A sender on this machine is told so before the error that is made for it arrives.
        Verdict::Reject if probe.way == Way::Out && outcome == Outcome::NotPermitted => true,
        Verdict::Reject => matches!(outcome, Outcome::Refused | Outcome::Unreachable),
        Verdict::Deny => matches!(outcome, Outcome::TimedOut | Outcome::NotPermitted),
        Verdict::Unknown => false,
    }
}

/// The lab, with listeners wherever a probe may go.
struct Range {
    lab: Lab,
    socket: Socket,
    _echoes: [Echo; 3],
}

impl Range {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        lab.add_addresses(SOURCES.iter().map(|source| ip(source)));
        let mut elements = [String::new(), String::new()];
        for (elements, address) in elements.iter_mut().zip(LAN) {
            for (from, to) in PUBLISHED {
                for protocol in ["tcp", "udp"] {
                    elements.push_str(&format!("{protocol} . {from} : {address} . {to}, "));
                }
            }
        }
        lab.host.nft_load(&PUBLISHES.replace("ELEMENTS4", &elements[0]).replace("ELEMENTS6", &elements[1]));
        let on = |addresses: &[IpAddr], ports: &[u16]| -> Vec<SocketAddr> {
            let all =
                |address: &IpAddr| -> Vec<_> { ports.iter().map(|port| SocketAddr::new(*address, *port)).collect() };
            addresses.iter().flat_map(all).collect()
        };
        let host = on(&[HOST, HOST_ON_LAN].concat(), &PORTS);
        let (lan, client) = (on(&LAN, &PORTS), on(&CLIENT, &[ELSEWHERE]));
        let echoes = [lab.host.listen(&host, &host), lab.lan.listen(&lan, &lan), lab.client.listen(&client, &client)];
        let socket = lab.host.run(Socket::open).expect("a socket");
        Self { lab, socket, _echoes: echoes }
    }

    fn inside(&self, way: Way) -> &Namespace {
        match way {
            Way::In | Way::Published | Way::Routed => &self.lab.client,
            Way::LanToHost | Way::LanToOutside => &self.lab.lan,
            Way::Out => &self.lab.host,
        }
    }

    /// Has the kernel hold what a policy compiles to, and gives it as the kernel gives it back.
    fn load(&self, written: &Written) -> Result<Table, TestCaseError> {
        let fail = |error: String| TestCaseError::fail(error);
        let path = self.lab.write_policy("policy.yaml", &written.text);
        for (name, text) in &written.files {
            self.lab.write_policy(name, text);
        }
        let resolved = load(&path).map_err(|problems| fail(problems.render(false)))?;
        let id = TableId::palisade();
        let table = compile(&resolved).tables.remove(&id);
        enforce(&self.socket, &id, table.as_ref(), Reading::ByDigest(&()))
            .map_err(|error| fail(error.to_string()))?;
        // What one policy let in is no connection to the next.
        output(self.lab.host.command("conntrack").arg("-F")).success();
        let snapshot = self.socket.snapshot(&id).map_err(|error| fail(error.to_string()))?;
        snapshot.table.ok_or_else(|| fail("there is no table".to_owned()))
    }

    /// The probes of which simulator and kernel say different things, as sentences, and how many verdicts there were of
    /// each kind.
    fn differences(&self, table: &Table, probes: &[Probe]) -> (Vec<String>, BTreeMap<Verdict, usize>) {
        let simulated: Vec<(Probe, Verdict)> = probes.iter().map(|probe| (*probe, probe.simulated(table))).collect();
        let mut verdicts = BTreeMap::new();
        let differences = thread::scope(|scope| {
            let running = simulated.iter().map(|(probe, verdict)| {
                *verdicts.entry(*verdict).or_insert(0) += 1;
                let wait = if *verdict == Verdict::Deny { SILENCE } else { PATIENCE };
                let inside = self.inside(probe.way);
                scope.spawn(move || {
                    inside.enter();
                    probe_here(inside, probe.target, probe.from, probe.to, wait)
                })
            });
            // All are started before the first is waited for.
            let running: Vec<_> = running.collect();
            let outcomes = running.into_iter().map(|one| one.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            let pairs = simulated.iter().zip(outcomes);
            pairs
                .filter(|((probe, verdict), outcome)| !agrees(probe, *verdict, *outcome))
                .map(|((probe, verdict), outcome)| format!("{probe:?}: {verdict:?} simulated, but {outcome:?}"))
                .collect()
        });
        (differences, verdicts)
    }
}

#[test]
fn the_simulator_and_the_kernel_have_the_same_verdicts_whatever_the_policy() {
    let range = Range::new();
    let mut sum: BTreeMap<Verdict, usize> = BTreeMap::new();
    let sums = std::cell::RefCell::new(&mut sum);
    // A case is more than half a second: shrinking ends before patience does.
    let config = Config { max_shrink_iters: 40, ..config(24) };
    let cases = (unlimited(), prop::collection::vec(probe(), 80));

    let outcome = TestRunner::new(config).run(&cases, |(written, probes)| {
        let table = range.load(&written)?;
        let probes: BTreeSet<Probe> = probes.into_iter().collect();
        let probes: Vec<Probe> = probes.into_iter().collect();
        let (differences, verdicts) = range.differences(&table, &probes);
        verdicts.into_iter().for_each(|(verdict, count)| *sums.borrow_mut().entry(verdict).or_insert(0) += count);
        prop_assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
        Ok(())
    });

    eprintln!("verdicts compared: {sum:?}");
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
