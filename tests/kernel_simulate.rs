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

use palisade::access::without_translations;
use palisade::compile::compile;
use palisade::desired::load;
use palisade::enforce::enforce;
use palisade::names::Names;
use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Reading, Socket};
use palisade::resolve::Resolved;
use palisade::ruleset::{Table, TableId};
use palisade::simulate::{Effect, Interface, Packet, Path, State, Step, Verdict, follow, simulate_table};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use support::crowd::{Crowd, PUBLISHED};
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::output;
use support::policies::{DEFAULT_BRIDGES, Setting, Written, config_of, policy_of};
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
/// Who containers may be: nobody here, whoever is on the local network, or outside.
const CONTAINERS: &[Setting] = &[
    DEFAULT_BRIDGES[0],
    DEFAULT_BRIDGES[0],
    on_lan("containers: { interfaces: eth1 }\n", false),
    on_lan("containers: { interfaces: eth1, host: allow }\n", false),
    on_lan("containers: { interfaces: eth1, host: allow, outgoing: deny }\n", true),
    Setting { interfaces: &["eth1*"], ..on_lan("containers: { interfaces: \"eth1*\", outgoing: deny }\n", true) },
    Setting {
        text: "containers: { interfaces: eth0 }\n",
        interfaces: &["eth0"],
        bridges: &["eth0"],
        keeps_in: false,
    },
    Setting {
        text: "containers: { interfaces: [eth0, eth1], outgoing: reject }\n",
        interfaces: &["eth0", "eth1"],
        bridges: &["eth0", "eth1"],
        keeps_in: true,
    },
];

const fn on_lan(text: &'static str, keeps_in: bool) -> Setting {
    Setting { text, interfaces: &["eth1"], bridges: &["eth1"], keeps_in }
}

/// How many verdicts there were of each kind.
#[derive(Debug, Default)]
struct Sum {
    packets: usize,
    of_table: BTreeMap<Verdict, usize>,
    of_all: BTreeMap<Verdict, usize>,
    states: BTreeMap<State, usize>,
    /// How many packets left with another source, and how many were sent on to a target of the policy's.
    rewritten: usize,
    forwarded: usize,
    /// Why the whole way of a packet could not be told.
    doubts: BTreeMap<String, usize>,
}

impl Sum {
    /// Counts a packet, with its verdicts by the table alone and by all, as far as they were asked for.
    fn count(&mut self, packet: &Packet, [alone, all]: [Option<Verdict>; 2], fate: Fate) {
        self.packets += 1;
        self.forwarded += usize::from(packet.translated.is_some() && fate == Fate::Left(Side::Lan));
        *self.states.entry(packet.state).or_default() += 1;
        for (verdict, kinds) in [(alone, &mut self.of_table), (all, &mut self.of_all)] {
            let Some(verdict) = verdict else { continue };
            *kinds.entry(verdict).or_default() += 1;
        }
    }
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

    fn resolved(&self, written: &Written) -> Result<Resolved, TestCaseError> {
        let path = self.lab.write_policy("policy.yaml", &written.text);
        for (name, text) in &written.files {
            self.lab.write_policy(name, text);
        }
        load(&path, &Names::default()).map_err(|problems| TestCaseError::fail(problems.render(false)))
    }

    /// Has the kernel hold what a policy compiles to, beside connections that were begun before, and gives it as the kernel
    /// gives it back.
    fn load(&self, policy: &Resolved, before: &[(Side, support::frames::Written)]) -> Result<Table, TestCaseError> {
        let fail = |error: String| TestCaseError::fail(error);
        let id = TableId::palisade();
        let table = Some(compile(policy));
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
        let policy = self.resolved(written)?;
        let mut probes = Crowd::of_policy(written, &policy).probes(seeds);
        let all: Vec<_> = probes.iter().map(|probe| probe.written.clone()).collect();
        probes.retain(|probe| !probe.before.is_empty() || !all.iter().any(|other| probe.written.answers(other)));
        let before: Vec<_> = probes.iter().flat_map(|probe| probe.before.clone()).collect();
        let loaded = self.load(&policy, &before)?;
        // Where a packet is translated to, it says itself.
        let table = without_translations(&loaded);
        let live = self.socket.live().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sets = LiveSets::new(&self.socket, &live, None);
        let id = TableId::palisade();
        // Asked before they are sent: what a limit counts, it has counted then.
        let said: Vec<_> = probes
            .iter()
            .map(|probe| {
                // Without its translations a table does not tell that the kernel finds no other source for a packet.
                let mut has_a_source = true;
                let all = probe.by_follow.then(|| {
                    let traversal = follow(&live.ruleset.tables, &sets, &self.routing, &probe.packet);
                    if let Some(doubt) = traversal.doubt() {
                        has_a_source = !doubt.starts_with("another connection may have the address");
                        *sum.doubts.entry(format!("{:?} {doubt}", probe.packet.state)).or_default() += 1;
                    }
                    let rewrites = |step: &Step<'_>| step.effect == Effect::TranslateSource && step.certain;
                    (traversal.trace.verdict, traversal.trace.steps.iter().any(rewrites))
                });
                let by_table = probe.by_table && has_a_source;
                let alone = by_table.then(|| simulate_table(&id, &table, &probe.packet).verdict);
                (alone, all)
            })
            .collect();
        let sent: Vec<_> = probes.iter().map(|probe| (probe.side, probe.written.clone())).collect();
        let fates = self.wire.borrow_mut().send(&sent);
        let mut found = Vec::new();
        let own: BTreeSet<IpAddr> =
            policy.nat.values().filter_map(|nat| nat.source).chain(HOST).chain(HOST_ON_LAN).collect();
        for (index, ((probe, (alone, all)), fate)) in probes.iter().zip(said).zip(fates).enumerate() {
            let (all, rewrites) = all.unzip();
            sum.count(&probe.packet, [alone, all], fate);
            let unknown = all == Some(Verdict::Unknown);
            let wrong = alone.is_some_and(|verdict| probe.differs(verdict, probe.arrives, fate))
                || all.is_some_and(|verdict| !unknown && probe.differs(verdict, probe.arrives, fate));
            if wrong {
                let trace = simulate_table(&id, &table, &probe.packet);
                let doubt = trace.doubt().map(ToString::to_string).unwrap_or_default();
                found.push(format!("{probe:?}\n  {alone:?} by its table, {all:?} by all, but {fate:?} {doubt}"));
            }
            // What the host takes for itself it may answer with what it was sent.
            let left = matches!(fate, Fate::Left(_)).then(|| self.wire.borrow().source_of(index)).flatten();
            let (Some(source), Some(rewrites)) = (left, rewrites) else { continue };
            let changed = source != probe.packet.source;
            sum.rewritten += usize::from(changed);
            // It may have the address already that it is given.
            if !unknown
                && (changed != rewrites && !(rewrites && own.contains(&source)) || changed && !own.contains(&source))
            {
                found
                    .push(format!("{probe:?}\n  it left with the source {source}, and rules rewrite it: {rewrites}"));
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

    let outcome = TestRunner::new(config).run(
        &(policy_of(CONTAINERS), prop::collection::vec(any::<u64>(), SEEDS)),
        |(written, seeds)| {
            let found = range.differences(&written, &seeds, &mut sum.borrow_mut())?;
            prop_assert!(found.is_empty(), "{} differ:\n{}", found.len(), found.join("\n"));
            Ok(())
        },
    );

    let sum = sum.into_inner();
    eprintln!("{sum:?} in {:?}", begun.elapsed());
    match outcome {
        Err(TestError::Fail(why, (written, _))) => panic!("{why}\n{written:?}"),
        Err(error) => panic!("{error}"),
        Ok(()) => {
            assert!(sum.packets >= packets, "{} packets are not {packets}", sum.packets);
            assert!(
                sum.rewritten > packets / 200 && sum.forwarded > packets / 200,
                "too few are translated: {sum:?}"
            );
        }
    }
}

#[test]
fn the_simulator_and_the_kernel_have_the_same_verdicts_whatever_the_policy() {
    compare(10_000);
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
