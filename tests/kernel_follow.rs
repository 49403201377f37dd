//! The simulator against the kernel on rules of others: generated tables of nft, of the ip, ip6 and inet families with sets,
//! maps, marks, jumps and translations, and generated rules of iptables with its own matches and targets. Where it says
//! something, the kernel does the same.
//!
//! `PROPTEST_RNG_SEED` chooses the cases; each test prints its own.
#![allow(missing_docs)]

mod follow;
mod support;

use follow::{restored, written};
use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Socket};
use palisade::simulate::{State, Verdict, Way};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Seek, Write};
use support::crowd::{Crowd, Probe};
use support::frames::Written;
use support::lab::Lab;
use support::namespace::output;
use support::policies::config_of;
use support::recording::Recording;
use support::wire::{Fate, QUIET, Side, Wire};

/// What the packets are near of.
const NEAR: &str = "203.0.113.0/27 203.0.113.64/26 2001:db8::/126 2001:db8::9 22/tcp 53/tcp 80/tcp 80/udp 53/udp 443/tcp \
                    8080/tcp 9000/udp 8080/tcp 9000/tcp 443/udp";

/// How many verdicts there were of each kind.
#[derive(Debug, Default)]
struct Sum {
    packets: usize,
    refused: usize,
    verdicts: BTreeMap<Verdict, usize>,
    states: BTreeMap<State, usize>,
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
        // That the kernel itself drops addresses of its own, of IPv4, must not hide what rules do with them.
        lab.host.sysctl("net/ipv4/conf/all/accept_local", "1");
        let wire = RefCell::new(Wire::new(&lab));
        lab.host.nft_load(QUIET);
        lab.host.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
        let (socket, routing) = lab.host.run(|| (Socket::open(), Routing::open()));
        Self { lab, wire, socket: socket.expect("a socket"), routing: routing.expect("a socket") }
    }

    /// Runs a program of the host with that to read; whether it succeeded.
    fn feed(&self, program: &str, arguments: &[&str], text: &str) -> bool {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("it is writable");
        file.rewind().expect("it is a file");
        let done = output(self.lab.host.command(program).args(arguments).stdin(file));
        done.status == Some(0)
    }

    /// Begins the connections without any rule.
    fn begin(&self, before: &[(Side, Written)]) -> Result<(), TestCaseError> {
        self.lab.host.nft_load(&format!("flush ruleset\n{QUIET}"));
        output(self.lab.host.command("conntrack").arg("-F")).success();
        let fates = self.wire.borrow_mut().send(before);
        match before.iter().zip(fates).find(|(_, fate)| *fate == Fate::Lost) {
            None => Ok(()),
            Some(((side, packet), _)) => {
                Err(TestCaseError::fail(format!("{side:?} {packet:?} was lost without any rule")))
            }
        }
    }

    /// Sends the packets beside the rules that are loaded then, and gives sentences about those that came to another end than
    /// was said.
    fn differences(
        &self,
        (near, seeds): (&str, &[u64]),
        load: impl FnOnce() -> bool,
        sum: &mut Sum,
    ) -> Result<Vec<String>, TestCaseError> {
        let probes: Vec<Probe> = Crowd::around(near).probes(seeds).into_iter().filter(|one| one.by_follow).collect();
        let before: Vec<_> = probes.iter().flat_map(|probe| probe.before.clone()).collect();
        self.begin(&before)?;
        if !load() {
            sum.refused += 1;
            return Ok(Vec::new());
        }
        let live = self.socket.live().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sets = LiveSets::new(&self.socket, &live, None);
        let said: Vec<_> = probes
            .iter()
            .map(|probe| {
                let traversal = palisade::simulate::follow(&live.ruleset.tables, &sets, &self.routing, &probe.packet);
                if let Some(doubt) = traversal.doubt() {
                    *sum.doubts.entry(doubt.to_string()).or_default() += 1;
                }
                let arrives = match traversal.routed.last().map(|decision| &decision.way) {
                    Some(Way::Out(name)) if name == "eth0" => Fate::Left(Side::Client),
                    Some(Way::Out(name)) if name == "eth1" => Fate::Left(Side::Lan),
                    _ => Fate::Delivered,
                };
                (traversal.trace.verdict, arrives)
            })
            .collect();
        let sent: Vec<_> = probes.iter().map(|probe| (probe.side, probe.written.clone())).collect();
        let fates = self.wire.borrow_mut().send(&sent);
        let mut found = Vec::new();
        for ((probe, (verdict, arrives)), fate) in probes.iter().zip(said).zip(fates) {
            sum.packets += 1;
            *sum.verdicts.entry(verdict).or_default() += 1;
            *sum.states.entry(probe.packet.state).or_default() += 1;
            if verdict != Verdict::Unknown && probe.differs(verdict, arrives, fate) {
                found.push(format!("{probe:?}\n  {verdict:?} ({arrives:?}), but {fate:?}"));
            }
        }
        Ok(found)
    }
}

/// Has such rules loaded by a program, and compares so many packets at least.
fn compare<S: Strategy<Value = T>, T: std::fmt::Debug>(
    packets: usize,
    near: &str,
    rules: S,
    load: impl Fn(&Range, &T) -> bool,
    text: impl Fn(&T) -> String,
) -> Sum {
    const SEEDS: usize = 100;
    let range = Range::new();
    let sum: RefCell<Sum> = RefCell::default();
    let cases = u32::try_from(packets / 85 + 1).expect("there are not so many");
    let config = proptest::test_runner::Config { cases, max_shrink_iters: 150, ..config_of(cases) };
    let begun = std::time::Instant::now();

    let outcome =
        TestRunner::new(config).run(&(rules, prop::collection::vec(any::<u64>(), SEEDS)), |(rules, seeds)| {
            let found = range.differences((near, &seeds), || load(&range, &rules), &mut sum.borrow_mut())?;
            prop_assert!(found.is_empty(), "{} differ:\n{}\nbeside\n{}", found.len(), found.join("\n"), text(&rules));
            Ok(())
        });

    let sum = sum.into_inner();
    eprintln!("{sum:?} in {:?}", begun.elapsed());
    match outcome {
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(error) => panic!("{error}"),
        Ok(()) => assert!(sum.packets >= packets, "{} packets are not {packets}", sum.packets),
    }
    let unknown = sum.verdicts.get(&Verdict::Unknown).copied().unwrap_or_default();
    assert!(unknown * 4 < sum.packets, "of too many nothing can be told: {unknown} of {}", sum.packets);
    sum
}

fn beside_nft(packets: usize) {
    let load = |range: &Range, text: &String| range.feed("nft", &["-f", "-"], &format!("flush ruleset\n{text}"));
    compare(packets, NEAR, written(), load, String::clone);
}

fn beside_iptables(packets: usize) {
    let load = |range: &Range, texts: &[String; 2]| {
        range.lab.host.nft_load("delete table inet quiet");
        let mut programs = ["iptables-nft-restore", "ip6tables-nft-restore"].into_iter().zip(texts);
        programs.all(|(program, text)| range.feed(program, &[], text))
    };
    compare(packets, NEAR, restored(), load, |texts| texts.concat());
}

/// What was recorded: rules of engines and of ufw.
const RECORDED: [&str; 6] = [
    "docker-20.10-iptables",
    "docker-26.1-iptables",
    "docker-28.5-iptables",
    "docker-29.7-iptables",
    "docker-29.7-nftables",
    "ufw-0.36",
];

/// The rules of an engine, or of ufw, and packets to what it publishes: of no more than one in twenty nothing can be told.
fn beside_recorded(name: &str) {
    let recording = Recording::read(name);
    let near: String = recording.published().iter().map(|published| format!("{} ", published.target)).collect();
    let load = |range: &Range, recording: &Recording| {
        range.lab.host.nft_load("delete table inet quiet");
        recording.load(&range.lab.host);
        true
    };
    let sum = compare(1_000, &(near + NEAR), Just(recording), load, |_| name.to_owned());
    let unknown = sum.verdicts.get(&Verdict::Unknown).copied().unwrap_or_default();
    eprintln!("{name}: nothing can be told of {unknown} of {}", sum.packets);
    assert!(unknown * 20 < sum.packets, "{unknown} of {}", sum.packets);
}

#[test]
fn beside_what_engines_and_ufw_have_loaded_the_kernel_does_what_the_simulator_says() {
    for name in RECORDED {
        beside_recorded(name);
    }
}

/// Rules of our own making, each shaped as a well-known program shapes its rules.
const SHAPED: [&str; 19] = [
    "calico",
    "cilium",
    "crowdsec",
    "csf",
    "early",
    "fail2ban-iptables",
    "fail2ban-nftables",
    "ferm",
    "firewalld",
    "foomuuri",
    "fw4",
    "gateway",
    "kube-proxy-iptables",
    "kube-proxy-nftables",
    "libvirt",
    "lxd",
    "netavark",
    "shorewall",
    "workstation",
];

/// So many packets beside each, both ways: of no more than three in a hundred nothing can be told.
fn beside_shaped(packets: usize) {
    let mut all = [0, 0];
    for name in SHAPED {
        let recording = Recording::read(&format!("shaped/{name}"));
        let load = |range: &Range, recording: &Recording| {
            range.lab.host.nft_load("delete table inet quiet");
            recording.load(&range.lab.host);
            true
        };
        let sum = compare(packets, NEAR, Just(recording), load, |_| name.to_owned());
        let unknown = sum.verdicts.get(&Verdict::Unknown).copied().unwrap_or_default();
        eprintln!("{name}: nothing can be told of {unknown} of {}", sum.packets);
        all = [all[0] + unknown, all[1] + sum.packets];
    }
    assert!(all[0] * 100 < all[1] * 3, "nothing can be told of {} of {}", all[0], all[1]);
}

#[test]
fn beside_rules_as_well_known_programs_shape_them_the_kernel_does_what_the_simulator_says() {
    beside_shaped(170);
}

#[test]
#[ignore = "takes minutes"]
fn beside_rules_as_well_known_programs_shape_them_a_hundred_thousand_times() {
    beside_shaped(5_000);
}

#[test]
fn whatever_nft_loads_the_kernel_does_what_the_simulator_says() {
    beside_nft(5_000);
}

#[test]
fn whatever_iptables_loads_the_kernel_does_what_the_simulator_says() {
    beside_iptables(5_000);
}

#[test]
#[ignore = "takes minutes"]
fn whatever_nft_loads_the_kernel_does_what_the_simulator_says_a_hundred_thousand_times() {
    beside_nft(100_000);
}

#[test]
#[ignore = "takes minutes"]
fn whatever_iptables_loads_the_kernel_does_what_the_simulator_says_a_hundred_thousand_times() {
    beside_iptables(100_000);
}
