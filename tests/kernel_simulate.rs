//! The simulator against the kernel: whatever the policy, both have the same verdict on a packet.
//!
//! Policies use every feature of the language. Packets are written byte by byte and sent for real: of IPv4 and IPv6, of every
//! kind that rules tell apart, in every state that conntrack has for them, from each interface and over the loopback. What
//! is simulated is what the kernel gives back: palisade's table alone, as the lockout guard and `expect` ask it, and the
//! whole way of a packet through all tables, as `explain` asks it.
//!
//! `PROPTEST_RNG_SEED` chooses the cases; each test prints its own.
#![allow(missing_docs)]

mod support;

use palisade::compile::compile;
use palisade::desired::load;
use palisade::enforce::enforce;
use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Reading, Socket};
use palisade::ruleset::{Table, TableId};
use palisade::simulate::{Interface, Path, State, Verdict, follow, simulate_table};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use support::crowd::{Crowd, PUBLISHED};
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::output;
use support::policies::{Written, config_of, policy};
use support::wire::{Fate, QUIET, Side, Wire};

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
/// A generated policy with a word on containers.
fn written() -> impl Strategy<Value = Written> {
    let containers = select(vec![
        "",
        "",
        "containers: { interfaces: eth1 }\n",
        "containers: { interfaces: eth1, host: allow }\n",
        "containers: { interfaces: \"eth1*\", outgoing: deny }\n",
        "containers: { interfaces: eth0 }\n",
        "containers: { interfaces: [eth0, eth1], outgoing: reject }\n",
    ]);
    (policy(), containers)
        .prop_map(|(written, containers)| Written { text: written.text.clone() + containers, ..written })
}

/// How many verdicts there were of each kind.
#[derive(Debug, Default)]
struct Sum {
    packets: usize,
    of_table: BTreeMap<Verdict, usize>,
    of_all: BTreeMap<Verdict, usize>,
    states: BTreeMap<State, usize>,
    /// Why the whole way of a packet could not be told.
    doubts: BTreeMap<String, usize>,
}

struct Range {
    lab: Lab,
    wire: RefCell<Wire>,
    socket: Socket,
    routing: Routing,
}

impl Range {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        let mut elements = [String::new(), String::new()];
        for (elements, address) in elements.iter_mut().zip(LAN) {
            for (from, to) in PUBLISHED {
                for protocol in ["tcp", "udp"] {
                    elements.push_str(&format!("{protocol} . {from} : {address} . {to}, "));
                }
            }
        }
        lab.host.nft_load(&PUBLISHES.replace("ELEMENTS4", &elements[0]).replace("ELEMENTS6", &elements[1]));
        // That the kernel itself drops addresses of its own, of IPv4, must not hide what rules do with them.
        lab.host.sysctl("net/ipv4/conf/all/accept_local", "1");
        // An acknowledgement of nothing begins no connection.
        lab.host.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
        let wire = RefCell::new(Wire::new(&lab));
        let (socket, routing) = lab.host.run(|| (Socket::open(), Routing::open()));
        Self { lab, wire, socket: socket.expect("a socket"), routing: routing.expect("a socket") }
    }

    /// Has the kernel hold what a policy compiles to, beside connections that were begun before, and gives it as the kernel
    /// gives it back.
    fn load(&self, written: &Written, before: &[(Side, support::frames::Written)]) -> Result<Table, TestCaseError> {
        let fail = |error: String| TestCaseError::fail(error);
        let path = self.lab.write_policy("policy.yaml", &written.text);
        for (name, text) in &written.files {
            self.lab.write_policy(name, text);
        }
        let resolved = load(&path).map_err(|problems| fail(problems.render(false)))?;
        let id = TableId::palisade();
        let table = Some(compile(&resolved));
        enforce(&self.socket, &id, None, Reading::ByDigest(&())).map_err(|error| fail(error.to_string()))?;
        // What one policy let in is no connection to the next.
        output(self.lab.host.command("conntrack").arg("-F")).success();
        self.lab.host.nft_load(QUIET);
        let fates = self.wire.borrow_mut().send(before);
        self.lab.host.nft_load("delete table inet quiet");
        if let Some(((side, packet), _)) = before.iter().zip(fates).find(|(_, fate)| *fate == Fate::Lost) {
            return Err(fail(format!("{side:?} {packet:?} was lost without any rule")));
        }
        enforce(&self.socket, &id, table.as_ref(), Reading::ByDigest(&()))
            .map_err(|error| fail(error.to_string()))?;
        let snapshot = self.socket.snapshot(&id).map_err(|error| fail(error.to_string()))?;
        snapshot.table.ok_or_else(|| fail("there is no table".to_owned()))
    }

    /// Sentences about the packets of which simulator and kernel say different things.
    fn differences(&self, written: &Written, seeds: &[u64], sum: &mut Sum) -> Result<Vec<String>, TestCaseError> {
        let probes = Crowd::of(written).probes(seeds);
        let before: Vec<_> = probes.iter().flat_map(|probe| probe.before.clone()).collect();
        let table = self.load(written, &before)?;
        let live = self.socket.live().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sets = LiveSets::new(&self.socket, &live, None);
        let id = TableId::palisade();
        // Asked before they are sent: what a limit counts, it has counted then.
        let said: Vec<_> = probes
            .iter()
            .map(|probe| {
                let alone = probe.by_table.then(|| simulate_table(&id, &table, &probe.packet).verdict);
                let all = probe.by_follow.then(|| {
                    let traversal = follow(&live.ruleset.tables, &sets, &self.routing, &probe.packet);
                    if let Some(doubt) = traversal.doubt() {
                        *sum.doubts.entry(format!("{:?} {doubt}", probe.packet.state)).or_default() += 1;
                    }
                    traversal.trace.verdict
                });
                (alone, all)
            })
            .collect();
        let sent: Vec<_> = probes.iter().map(|probe| (probe.side, probe.written.clone())).collect();
        let fates = self.wire.borrow_mut().send(&sent);
        let mut found = Vec::new();
        for ((probe, (alone, all)), fate) in probes.iter().zip(said).zip(fates) {
            sum.packets += 1;
            *sum.states.entry(probe.packet.state).or_default() += 1;
            for (verdict, kinds) in [(alone, &mut sum.of_table), (all, &mut sum.of_all)] {
                let Some(verdict) = verdict else { continue };
                *kinds.entry(verdict).or_default() += 1;
            }
            let unknown = all == Some(Verdict::Unknown);
            let wrong = alone.is_some_and(|verdict| probe.differs(verdict, probe.arrives, fate))
                || all.is_some_and(|verdict| !unknown && probe.differs(verdict, probe.arrives, fate));
            if wrong {
                found.push(format!("{probe:?}\n  {alone:?} by its table, {all:?} by all, but {fate:?}"));
            }
        }
        Ok(found)
    }
}

/// Compares so many packets at least, some ninety to a policy.
fn compare(packets: usize) {
    const SEEDS: usize = 170;
    let range = Range::new();
    let sum = RefCell::new(Sum::default());
    // Some of what is drawn can't be sent, and is left out.
    let cases = u32::try_from(packets / 80 + 1).expect("there are not so many");
    let config = Config { cases, max_shrink_iters: 60, ..config_of(cases) };
    let begun = std::time::Instant::now();

    let outcome =
        TestRunner::new(config).run(&(written(), prop::collection::vec(any::<u64>(), SEEDS)), |(written, seeds)| {
            let found = range.differences(&written, &seeds, &mut sum.borrow_mut())?;
            prop_assert!(found.is_empty(), "{} differ:\n{}", found.len(), found.join("\n"));
            Ok(())
        });

    let sum = sum.into_inner();
    eprintln!("{sum:?} in {:?}", begun.elapsed());
    match outcome {
        Err(TestError::Fail(why, (written, _))) => panic!("{why}\n{written:?}"),
        Err(error) => panic!("{error}"),
        Ok(()) => assert!(sum.packets >= packets, "{} packets are not {packets}", sum.packets),
    }
}

#[test]
fn the_simulator_and_the_kernel_have_the_same_verdicts_whatever_the_policy() {
    compare(5_000);
}

#[test]
#[ignore = "takes minutes"]
fn the_simulator_and_the_kernel_have_the_same_verdicts_on_a_hundred_thousand_packets() {
    compare(100_000);
}

#[test]
fn every_kind_of_packet_is_among_those_that_are_compared() {
    let seeds: Vec<u64> = (0..20_000).collect();
    let written = Written { text: "version: 1\n".to_owned(), files: BTreeMap::new() };
    let mut kinds = BTreeMap::<(State, u8, bool, Path), usize>::new();
    let mut forged = BTreeSet::new();
    for probe in seeds.chunks(100).flat_map(|seeds| Crowd::of(&written).probes(seeds)) {
        let packet = &probe.packet;
        let kind = (packet.state, probe.written.protocol(), packet.source.is_ipv4(), packet.path);
        *kinds.entry(kind).or_default() += 1;
        let Interface::Named(incoming) = &packet.incoming else { continue };
        let whose = match packet.source {
            own if [HOST, HOST_ON_LAN].concat().contains(&own) => "the host's",
            neighbour if LAN.contains(&neighbour) => "the neighbour's",
            outside if CLIENT.contains(&outside) => "the client's",
            _ => continue,
        };
        if packet.state == State::New && probe.by_follow && !probe.by_table {
            forged.insert((incoming.clone(), whose, packet.source.is_ipv4(), packet.path));
        }
    }

    for (incoming, whose) in
        [("eth0", "the host's"), ("eth0", "the neighbour's"), ("eth1", "the host's"), ("eth1", "the client's")]
    {
        for (v4, path) in [true, false].into_iter().flat_map(|v4| [(v4, Path::ToMachine), (v4, Path::Through)]) {
            let kind = (incoming.to_owned(), whose, v4, path);
            assert!(forged.contains(&kind), "{kind:?} is not among {forged:?}");
        }
    }
    for path in [Path::ToMachine, Path::Through, Path::FromMachine] {
        for v4 in [true, false] {
            let icmp = if v4 { 1 } else { 58 };
            for protocol in [6, 17, icmp] {
                for state in [State::New, State::Established, State::Reply, State::Invalid] {
                    let possible = (state, protocol) != (State::Invalid, 17);
                    let kind = (state, protocol, v4, path);
                    assert!(!possible || kinds.contains_key(&kind), "{kind:?} is not among {kinds:?}");
                }
            }
            for (state, protocol) in [(State::Related, icmp), (State::New, 132), (State::New, 50)] {
                assert!(kinds.contains_key(&(state, protocol, v4, path)), "{state:?} {protocol} {v4} {path:?}");
            }
        }
    }
    assert!(kinds.contains_key(&(State::Untracked, 58, false, Path::ToMachine)));
    assert!(kinds.contains_key(&(State::Untracked, 58, false, Path::FromMachine)));
}
