//! What palisade says of connections beside a policy, held against what becomes of them.

use super::drawn::{Built, CLUSTER, Drawn};
use super::exposed::takes_for_container;
use super::tries::{Observer, Said, Try, packet};
use crate::support::dice::Dice;
use crate::support::namespace::output;
use crate::support::probe::{Outcome, Target};
use palisade::access::access_changes;
use palisade::desired::{Loaded, compile_policy, load_and_prove};
use palisade::machine::Machine;
use palisade::names::Names;
use palisade::net::Version;
use palisade::netlink::{Live, LiveSets, Socket};
use palisade::policy::AddressList;
use palisade::preflight::{Remark, Topic, Weight, remarks_here};
use palisade::ruleset::{Table, TableId};
use palisade::simulate::{Stage, Verdict};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How many expectations are made for one policy.
const EXPECTED: usize = 12;

/// How much was said, of each kind.
#[derive(Debug, Default)]
pub struct Sum {
    pub connections: usize,
    pub unknown: usize,
    pub doubts: BTreeMap<String, usize>,
    pub verdicts: BTreeMap<(String, Verdict), usize>,
    /// What `expect`, `exposure` and the access lines said.
    pub told: BTreeMap<(&'static str, &'static str), usize>,
    /// Why policies were refused.
    pub refused: BTreeMap<String, usize>,
}

impl Sum {
    pub fn tell(&mut self, by: &'static str, what: &'static str) {
        *self.told.entry((by, what)).or_default() += 1;
    }
}

/// A machine, and what became of its connections beside the policy before.
pub struct Compared<'m> {
    pub built: &'m Built,
    pub observer: Observer<'m>,
    pub tries: Vec<Try>,
    /// What became of them without palisade.
    without: Vec<Outcome>,
    /// The interface behind which it is that the rules of others translate them to; empty for this machine.
    published: Vec<Option<String>>,
    before: Vec<Outcome>,
    table: Option<Table>,
    text: String,
    /// Whether the policy before tells this machine's addresses apart.
    tells_apart: bool,
}

/// What was found beside one ruleset.
pub struct Beside {
    pub said: Vec<Said>,
    pub outcomes: Vec<Outcome>,
}

impl<'m> Compared<'m> {
    pub fn new(machine: &Drawn, built: &'m Built, dice: &mut Dice, count: usize) -> Self {
        let mut observer = Observer::new(built);
        let tries = observer.draw(dice, machine, count);
        Self {
            built,
            observer,
            tries,
            without: Vec::new(),
            published: Vec::new(),
            before: Vec::new(),
            table: None,
            text: String::new(),
            tells_apart: false,
        }
    }

    /// What is wrong before palisade is loaded.
    pub fn without_palisade(&mut self, dice: &mut Dice, sum: &mut Sum) -> Vec<String> {
        let (beside, mut wrong) = self.explained(sum);
        wrong.extend(self.exposed(dice, &beside, sum));
        self.without.clone_from(&beside.outcomes);
        let published = |said: &Said| said.translated.then(|| said.leaves_by.clone().unwrap_or_default());
        self.published = beside.said.iter().map(published).collect();
        self.before = beside.outcomes;
        wrong.into_iter().map(|one| format!("without palisade: {one}")).collect()
    }

    /// Applies a policy, and tells what is said wrongly then.
    pub fn beside(&mut self, dice: &mut Dice, text: &str, sum: &mut Sum) -> Vec<String> {
        let path = self.built.lab.write_policy("policy.yaml", text);
        let table = compile_policy(&path, &Names::default()).expect("it was compiled before").table;
        let changes = access_changes(&TableId::palisade(), self.table.as_ref(), Some(&table));
        let changes = serde_json::to_value(changes).expect("JSON");
        self.forget();
        self.built.lab.palisade("policy.yaml", &["apply", "--force"]).success();
        let (beside, mut wrong) = self.explained(sum);
        wrong.extend(self.exposed(dice, &beside, sum));
        wrong.extend(self.expected(dice, text, &beside, sum));
        let tells_apart =
            text.contains(" to: [203") || text.contains(" to: 10.77.0.1") || text.contains(" to: \"fd77::1\"");
        if !(self.tells_apart || tells_apart) {
            wrong.extend(self.changed((text, &table), &changes, &beside, sum));
        }
        self.tells_apart = tells_apart;
        self.before = beside.outcomes;
        self.table = Some(table);
        text.clone_into(&mut self.text);
        wrong
    }

    /// Has the machine forget all connections.
    fn forget(&self) {
        output(self.built.lab.host.command("conntrack").arg("-F")).success();
    }

    pub fn ask<T>(&self, ask: impl Fn(&Live, &LiveSets<'_>) -> T) -> T {
        let live = self.observer.socket.live().expect("the rules can be read");
        let sets = LiveSets::new(&self.observer.socket, &live, None);
        ask(&live, &sets)
    }

    /// What `explain` says, and what becomes of each connection.
    fn explained(&self, sum: &mut Sum) -> (Beside, Vec<String>) {
        let said: Vec<Said> = self.ask(|live, sets| {
            self.tries.iter().map(|one| Said::of(&self.observer.follow(live, sets, &one.packet))).collect()
        });
        self.forget();
        let asked: Vec<(&Try, Verdict)> =
            self.tries.iter().zip(&said).map(|(one, said)| (one, said.verdict)).collect();
        let outcomes = self.observer.outcomes(&asked);
        let mut wrong = Vec::new();
        for ((one, said), outcome) in self.tries.iter().zip(&said).zip(&outcomes) {
            sum.connections += 1;
            *sum.verdicts.entry((said.stage.name().to_owned(), said.verdict)).or_default() += 1;
            if said.verdict == Verdict::Unknown {
                sum.unknown += 1;
                *sum.doubts.entry(said.doubt.clone().unwrap_or_default()).or_default() += 1;
            }
            // Nobody has an address of the cluster.
            let nobody = said.verdict == Verdict::Allow && !said.translated && is_of_cluster(one.to);
            if !nobody && !said.agrees(one.target, *outcome) {
                let (verdict, stage) = (said.verdict, said.stage.name());
                wrong.push(format!("explain: {one}: {verdict:?} ({stage}), but {outcome:?}"));
            }
        }
        (Beside { said, outcomes }, wrong)
    }

    /// Whether the same sender may reach the same port at another address of the machine, as far as `explain` tells.
    pub fn open_elsewhere(&self, one: &Try) -> bool {
        let host = self.built.who.last().expect("the host is there");
        let who = &self.built.who[one.who];
        self.ask(|live, sets| {
            let own = host.addresses.iter().flatten().filter(|own| own.is_ipv4() == one.to.is_ipv4());
            own.filter(|own| **own != one.to).any(|own| {
                let packet = packet(who.by, one.from, *own, one.target);
                let verdict = self.observer.follow(live, sets, &packet).verdict();
                matches!(verdict, Verdict::Allow | Verdict::Unknown)
            })
        })
    }

    /// Whether a connection is one to this machine from elsewhere.
    pub fn is_to_machine(&self, one: &Try) -> bool {
        let host = self.built.who.last().expect("the host is there");
        self.built.who[one.who].by.is_some() && host.addresses.iter().flatten().any(|own| *own == one.to)
    }

    /// Holds what `expect` proves against the outcomes.
    fn expected(&self, dice: &mut Dice, text: &str, beside: &Beside, sum: &mut Sum) -> Vec<String> {
        let indices: Vec<usize> = (0..self.tries.len()).collect();
        let chosen = dice.some(&indices, EXPECTED);
        let mut with = format!("{}\nexpect:\n", text.trim_end());
        let mut lines = BTreeMap::new();
        for index in chosen {
            for word in ["allow", "deny"] {
                let line = self.expectation(&self.tries[index], word);
                if let Some(line) = line {
                    let number = u32::try_from(with.lines().count() + 1).expect("a short text");
                    lines.insert(number, (index, word));
                    with.push_str(&line);
                }
            }
        }
        if lines.is_empty() {
            return Vec::new();
        }
        let path = self.built.lab.write_policy("expects.yaml", &with);
        let loaded = match load_and_prove(&path, &Names::default()) {
            Ok(loaded) => loaded,
            Err(problems) => {
                for problem in problems.diagnostics {
                    *sum.refused.entry(format!("expectation: {}", problem.message)).or_default() += 1;
                }
                return Vec::new();
            }
        };
        let Some(unproved) = self.unproved(&loaded, sum, |line| lines.contains_key(line)) else { return Vec::new() };
        let mut wrong = Vec::new();
        for (line, (index, word)) in &lines {
            if unproved.contains(line) {
                sum.tell("expect", "not proved");
                continue;
            }
            let (one, connected) = (&self.tries[*index], beside.outcomes[*index] == Outcome::Connected);
            let holds = match *word {
                "allow" => connected || self.is_to_machine(one) && self.open_elsewhere(one),
                _ => !connected,
            };
            sum.tell("expect", if *word == "allow" { "allowed" } else { "denied" });
            if !holds {
                let said = with.lines().nth(*line as usize - 1).unwrap_or_default();
                wrong.push(format!("expect: {one}: proved is `{said}`, but {:?}", beside.outcomes[*index]));
            }
        }
        wrong
    }

    /// The lines of expectations that are not called proved on this machine; `None` if none is, for another reason.
    fn unproved(&self, loaded: &Loaded, sum: &mut Sum, is_of: impl Fn(&u32) -> bool) -> Option<BTreeSet<u32>> {
        let unmet = loaded.unmet.iter().flat_map(|problems| &problems.diagnostics);
        let mut unproved: BTreeSet<u32> =
            unmet.filter_map(|problem| problem.span.as_ref()).map(|span| span.line).collect();
        let here = || remarks_here(Socket::open().ok().as_ref(), &loaded.policy, &loaded.table, &Machine::read());
        let counts = |remark: &&Remark| remark.weight == Weight::Error || remark.topic == Topic::Expected;
        for remark in self.built.lab.host.run(here).iter().filter(counts) {
            let Some(line) = remark.line.map(|line| line.number).filter(|line| is_of(line)) else {
                sum.tell("expect", "does not fit");
                return None;
            };
            unproved.insert(line);
        }
        Some(unproved)
    }

    /// An expectation of one connection, if there is one of such.
    fn expectation(&self, one: &Try, word: &str) -> Option<String> {
        let who = &self.built.who[one.who];
        let from = match who.by {
            Some(name) => format!("\"{}\", on: {name}", one.from.ip()),
            None => "host".to_owned(),
        };
        let target = one.target;
        if self.is_to_machine(one) {
            return Some(format!("  - {{ {word}: {target}, from: {from} }}\n"));
        }
        if is_of_cluster(one.to) {
            return None;
        }
        let host = self.built.who.last()?;
        let own = host.addresses.iter().flatten().any(|own| *own == one.to);
        (!own).then(|| format!("  - {{ {word}: {target}, from: {from}, to: \"{}\" }}\n", one.to))
    }

    /// Whether the policy before took who comes in by an interface for a container.
    fn was_behind_containers(&self, by: &str) -> bool {
        self.table.as_ref().is_some_and(|table| takes_for_container(table, by))
    }

    /// Whether the policy before or this one names an interface.
    fn names(&self, text: &str, by: &str) -> bool {
        [self.text.as_str(), text].iter().any(|text| {
            text.contains(&format!("interface: {by}"))
                || text.contains(&format!("on: {by}"))
                || by == "eth1" && text.contains("near]")
        })
    }

    /// Holds the lines about access against what became of connections before and after.
    fn changed(&self, (text, table): (&str, &Table), changes: &Value, beside: &Beside, sum: &mut Sum) -> Vec<String> {
        let mut wrong = Vec::new();
        let nothing = Value::Null;
        for (index, one) in self.tries.iter().enumerate().filter(|(_, one)| self.is_to_machine(one)) {
            let by = self.built.who[one.who].by.unwrap_or_default();
            // Those with a direction are about what goes out or through.
            let comes_in = changes.as_array().into_iter().flatten().filter(|line| line["direction"].is_null());
            let of: Vec<&Value> = comes_in.filter(|line| is_about(line, one.target)).collect();
            // What a policy itself forwards is told with this machine's own ports.
            let behind = self.published[index].as_deref();
            let published = behind.is_some();
            // Lines about the containers that answer come before those about all of them.
            let best = |published: bool, is_by: &dyn Fn(&Value) -> bool| -> Option<&Value> {
                let of = of.iter().filter(|line| line["published"].as_bool().unwrap_or_default() == published);
                let of: Vec<&Value> = of.filter(|line| is_by(line)).copied().collect();
                let names = |line: &&Value| line["behind"].as_str().is_some_and(|names| is_named(names, behind));
                let rest = || of.iter().find(|line| line["behind"].is_null());
                of.iter().find(|line| names(line)).or_else(rest).copied()
            };
            let named = |published| {
                best(published, &|line| {
                    line["by"].as_str().is_some_and(|names| names.split(", ").any(|name| name == by))
                })
            };
            let general = |published| best(published, &|line| line["by"].is_null());
            let line = match (published, named(published)) {
                (_, Some(line)) => Some(line),
                // Such lines are about others than containers; which interfaces the general ones are about is told by
                // those that name some, unless nothing changes there.
                _ if self.is_behind_containers(by) || self.was_behind_containers(by) || self.names(text, by) => None,
                (true, None) if general(true).is_some() => None,
                // A port of a machine that is no container to the policy, and is neither its own: `apply` warns of it.
                (true, None) if behind.is_some_and(|name| !name.is_empty() && !takes_for_container(table, name)) => {
                    None
                }
                (true, None) => Some(named(false).or_else(|| general(false)).unwrap_or(&nothing)),
                (false, None) => Some(general(false).unwrap_or(&nothing)),
            };
            let Some(line) = line else {
                sum.tell("access", "about others");
                continue;
            };
            let is_among = |key: &str| {
                let words = line[key].as_array();
                words.into_iter().flatten().filter_map(Value::as_str).any(|words| contains(words, one.from.ip()))
            };
            let connected = |outcome: &Outcome| *outcome == Outcome::Connected;
            let [without, before, after] =
                [&self.without[index], &self.before[index], &beside.outcomes[index]].map(connected);
            let (what, holds) = if is_among("unknown") {
                ("unknown", true)
            } else if is_among("gains") {
                // It is about palisade's table. Rules of others drop what it forwards, or leave a packet untracked, whose
                // answer is then new to it.
                let said = &beside.said[index];
                let by_others = said.denied_by_others || said.stage == Stage::Answer;
                ("gains", !before && (after || !without || by_others || self.open_elsewhere(one)))
            } else if is_among("loses") {
                ("loses", !after)
            } else {
                // What a policy forwards meets the rules of others that it did not meet before.
                ("same", before == after || before && beside.said[index].denied_by_others)
            };
            sum.tell("access", what);
            if !holds {
                let [before, after] = [self.before[index], beside.outcomes[index]];
                wrong.push(format!("access: {one}: {what} by {line:?}, but {before:?} before and {after:?} after"));
            }
        }
        wrong
    }
}

/// Whether an interface is among names and patterns: `eth1, br-*`.
fn is_named(names: &str, interface: Option<&str>) -> bool {
    let Some(interface) = interface else { return false };
    names.split(", ").any(|name| match name.strip_suffix('*') {
        Some(begin) => interface.starts_with(begin),
        None => name == interface,
    })
}

fn is_of_cluster(address: IpAddr) -> bool {
    CLUSTER.concat().contains(&address.to_string().as_str())
}

fn is_about(line: &Value, target: Target) -> bool {
    let (port, proto) = match target {
        Target::Tcp(port) => (port, "tcp"),
        Target::Udp(port) => (port, "udp"),
        Target::Ping => return line["proto"] == "icmp",
    };
    let ports = match &line["port"] {
        Value::Number(one) => one.as_u64() == Some(u64::from(port)),
        Value::String(range) => range.split_once('-').is_some_and(|(first, last)| {
            let number = |text: &str| text.parse::<u16>().unwrap_or_default();
            (number(first)..=number(last)).contains(&port)
        }),
        _ => false,
    };
    ports && line["proto"] == proto
}

/// Whether an address is in a network, a range, an address or `any`.
pub fn contains(words: &str, address: IpAddr) -> bool {
    if words == "any" {
        return true;
    }
    let number = palisade::net::number(address);
    let everyone = match words {
        "0.0.0.0/0" => Some(Version::V4),
        "::/0" => Some(Version::V6),
        _ => None,
    };
    if let Some(version) = everyone {
        return version == Version::of(address);
    }
    AddressList::of_text(0, words).addresses.ranges().any(|range| {
        use palisade::net::AddressRange::{V4, V6};
        let (first, last): (IpAddr, IpAddr) = match range {
            V4(first, last) => (first.into(), last.into()),
            V6(first, last) => (first.into(), last.into()),
        };
        let inside = palisade::net::number(first)..=palisade::net::number(last);
        first.is_ipv4() == address.is_ipv4() && inside.contains(&number)
    })
}
