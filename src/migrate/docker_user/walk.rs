//! The rules of the chain, walked for each published port.

use super::CHAIN;
use super::published::Published;
use super::rule::{Rule, Verdict};
use super::text::Saved;
use crate::migrate::report::Fate;
use crate::migrate::service::is_of_containers;
use crate::migrate::spans::Spans;
use crate::migrate::tuple::{Action, Log, Place, Protocol, Tuple, Way};
use crate::net::{Version, number};
use crate::printable::printable;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How deep chains may call each other.
const DEEPEST: usize = 8;
/// How many rules are walked.
pub(super) const MOST_RULES: usize = 10_000;

/// Whose a decision is: a line's, or the end of the chain's, where the engine lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Line(usize),
    End,
}

/// A line, and what became of it where that is known without cutting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) fate: Option<(Fate, String)>,
}

/// The walk of one version.
pub(super) struct Walk {
    pub(super) version: Version,
    pub(super) ports: Vec<Published>,
    places: BTreeMap<usize, String>,
    /// The rules that decide, in order, each with all that stands on the way to it.
    pub(super) rules: Vec<Rule>,
    /// What they say of each port.
    pub(super) tuples: Vec<Tuple>,
    pub(super) owners: Vec<Owner>,
    pub(super) lines: BTreeMap<usize, Said>,
    /// Ports that are left out, by their index.
    pub(super) refused: BTreeSet<usize>,
    /// Rules of somebody's own in a chain of the engine.
    pub(super) in_engines_chains: Vec<(usize, String)>,
    /// Whether there are more rules than are walked.
    pub(super) is_cut_off: bool,
}

/// Whether a rule is about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    No,
    Yes,
    /// It can't be told: why.
    Unknown(String),
}

/// Whether a rule is about a published port.
pub(super) fn about(rule: &Rule, port: &Published) -> About {
    let has = |ports: &[(u16, u16)], port: u16| ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
    let is_other = rule.protocol.is_some_and(|protocol| protocol != port.protocol)
        || !rule.asked.is_empty() && !has(&rule.asked, port.asked)
        || rule.outgoing.as_ref().is_some_and(|name| !is_of_containers(name))
        || port.port.is_some_and(|port| !rule.ports.is_empty() && !has(&rule.ports, port))
        || port.address.is_some_and(|address| !rule.to.contains(address));
    if is_other {
        return About::No;
    }
    if let Some(unknown) = &rule.unknown {
        return About::Unknown(format!("{unknown} is not understood"));
    }
    if !rule.ports.is_empty() && port.port.is_none() {
        return About::Unknown(
            "which port of this machine is the container's? The rules of the table nat say it".to_owned(),
        );
    }
    if !rule.to.is_all(port.version) && port.address.is_none() {
        return About::Unknown("which container has that address? The rules of the table nat say it".to_owned());
    }
    if rule.outgoing.is_some() {
        return About::Unknown("which container is behind that bridge is not known".to_owned());
    }
    About::Yes
}

/// The ports that rules name as those that senders ask for.
pub(super) fn named(saved: &Saved, version: Version) -> BTreeSet<(Protocol, u16)> {
    let mut walk = Walk::empty(version, Vec::new());
    walk.follow(saved, CHAIN, &Rule::all(version), 0);
    let single = |rule: &Rule| {
        let protocol = rule.protocol?;
        let ports = rule.asked.iter().filter(|(first, last)| last - first < 64);
        Some(ports.flat_map(|(first, last)| (*first).max(1)..=*last).map(|port| (protocol, port)).collect::<Vec<_>>())
    };
    walk.rules.iter().filter_map(single).flatten().collect()
}

impl Walk {
    fn empty(version: Version, ports: Vec<Published>) -> Self {
        Self {
            version,
            ports,
            places: BTreeMap::new(),
            rules: Vec::new(),
            tuples: Vec::new(),
            owners: Vec::new(),
            lines: BTreeMap::new(),
            refused: BTreeSet::new(),
            in_engines_chains: Vec::new(),
            is_cut_off: false,
        }
    }

    pub(super) fn new(saved: &Saved, version: Version, ports: Vec<Published>) -> Self {
        let mut walk = Self { places: saved.places.clone(), ..Self::empty(version, ports) };
        if saved.of(version).chain("filter", CHAIN).is_some() {
            walk.follow(saved, CHAIN, &Rule::all(version), 0);
            walk.refuse();
            walk.decide();
        }
        walk.engines(saved);
        walk
    }

    /// Where a decision stands.
    pub(super) fn place(&self, owner: Owner) -> String {
        match owner {
            Owner::Line(line) => self.places.get(&line).cloned().unwrap_or_else(|| format!("line {line}")),
            Owner::End => format!("the end of {CHAIN}"),
        }
    }

    /// Goes through a chain, and those that it calls.
    fn follow(&mut self, saved: &Saved, chain: &str, condition: &Rule, depth: usize) {
        let lines = saved.of(self.version).chain("filter", chain).unwrap_or_default();
        for (at, line) in lines.iter().enumerate() {
            let rule = Rule::read(line, self.version, saved);
            let is_all = rule.is_of_all(self.version);
            if self.rules.len() >= MOST_RULES {
                self.is_cut_off = true;
                return;
            }
            let both = condition.and(&rule);
            let mut fate = None;
            let no_effect = |why: &str| Some((Fate::NoEffect, why.to_owned()));
            match (both, &rule.verdict) {
                _ if !rule.is_of_new => fate = no_effect("it is about connections that stand already"),
                (None, _) => fate = no_effect("no packet comes there that matches it"),
                (Some(_), Verdict::Nothing) => {
                    fate = no_effect("it lets nobody in and denies nobody; `log: { denied }` logs who is denied")
                }
                (Some(_), Verdict::Return | Verdict::Allow) if depth == 0 && is_all => {
                    fate = no_effect("what comes so far is let in by the engine");
                    self.say(line, fate);
                    break;
                }
                (Some(both), _) if is_of_loopback(&both) => {
                    fate = no_effect("what this machine itself asks for does not pass the chain")
                }
                (Some(both), Verdict::Return) if depth == 0 => {
                    self.rules.push(Rule { verdict: Verdict::Allow, ..both })
                }
                (Some(_), Verdict::Return) if is_all && at + 1 == lines.len() => {
                    fate = no_effect("it is the end of its chain")
                }
                (Some(both), Verdict::Return) => {
                    let unknown = both.unknown.clone().or_else(|| Some(format!("`RETURN` in {}", printable(chain))));
                    self.rules.push(Rule { unknown, ..both });
                }
                (Some(both), Verdict::Jump(to)) => {
                    let is_there = saved.of(self.version).chain("filter", to).is_some();
                    if is_there && depth < DEEPEST {
                        fate = Some((Fate::Exact, format!("goes on in {}", printable(to))));
                        self.say(line, fate.clone());
                        self.follow(saved, to, &both, depth + 1);
                    } else {
                        let unknown = both.unknown.clone().or_else(|| Some(format!("`{}`", printable(to))));
                        self.rules.push(Rule { unknown, ..both });
                    }
                }
                (Some(both), Verdict::Allow | Verdict::Deny | Verdict::Reject) => self.rules.push(both),
            }
            self.say(line, fate);
        }
    }

    fn say(&mut self, line: &super::text::Line, fate: Option<(Fate, String)>) {
        let text = printable(&line.text).to_string();
        self.lines.entry(line.number).or_insert(Said { text, fate });
    }

    /// Leaves out the ports about which a rule decides that is not understood.
    fn refuse(&mut self) {
        for rule in &self.rules {
            let mut why = None;
            let mut ports = Vec::new();
            for (at, port) in self.ports.iter().enumerate() {
                if let About::Unknown(unknown) = about(rule, port) {
                    self.refused.insert(at);
                    ports.push(written(port));
                    why = Some(unknown);
                }
            }
            ports.dedup();
            if let (Some(why), Some(said)) = (why, self.lines.get_mut(&rule.line)) {
                said.fate =
                    Some((Fate::NotTranslated, format!("{why}: left out, and closed now: {}", ports.join(", "))));
            } else if let (Some(unknown), true, Some(said)) =
                (&rule.unknown, self.ports.is_empty(), self.lines.get_mut(&rule.line))
            {
                said.fate = Some((Fate::NotTranslated, format!("{unknown} is not understood")));
            } else if let (false, true, Some(said)) =
                (rule.ports.is_empty(), self.ports.is_empty(), self.lines.get_mut(&rule.line))
            {
                let why = "which port of this machine is the container's? The rules of the table nat say it";
                said.fate = Some((Fate::NotTranslated, why.to_owned()));
            }
        }
    }

    /// What the rules say of each port, until one decides about all that is left.
    fn decide(&mut self) {
        let mut open: BTreeSet<usize> = (0..self.ports.len()).filter(|at| !self.refused.contains(at)).collect();
        let mut all = Vec::new();
        for rule in &self.rules {
            for (at, port) in self.ports.iter().enumerate() {
                if open.contains(&at) && about(rule, port) == About::Yes {
                    all.push((Owner::Line(rule.line), self.tuple(rule, port)));
                    if rule.from.is_all(self.version) && rule.incoming.is_none() {
                        open.remove(&at);
                    }
                }
            }
        }
        let end = Rule { verdict: Verdict::Allow, ..Rule::all(self.version) };
        for port in open.into_iter().filter_map(|at| self.ports.get(at)) {
            all.push((Owner::End, self.tuple(&end, port)));
        }
        (self.owners, self.tuples) = all.into_iter().unzip();
    }

    fn tuple(&self, rule: &Rule, port: &Published) -> Tuple {
        let version = self.version;
        let place = |spans: &Spans| {
            let text = spans.as_slice().first().map(|&(first, last)| version.words(first, last));
            Place { text: text.unwrap_or_default(), spans: spans.clone(), is_odd: false }
        };
        let owner = if rule.line == 0 { Owner::End } else { Owner::Line(rule.line) };
        Tuple {
            line: rule.line,
            place: self.place(owner),
            version,
            way: Way::In,
            action: match rule.verdict {
                Verdict::Allow => Action::Allow,
                Verdict::Reject => Action::Reject,
                Verdict::Deny | Verdict::Jump(_) | Verdict::Return | Verdict::Nothing => Action::Deny,
            },
            log: Log::No,
            protocol: port.protocol,
            ports: vec![(port.asked, port.asked)],
            to: place(&port.to),
            sender_ports: Vec::new(),
            from: place(&rule.from),
            profile: None,
            sender_profile: None,
            incoming: rule.incoming.clone(),
            outgoing: None,
            comment: None,
        }
    }

    /// Rules of somebody's own in a chain that the engine fills.
    fn engines(&mut self, saved: &Saved) {
        for line in saved.of(self.version).chain("filter", "DOCKER").unwrap_or_default() {
            let rule = Rule::read(line, self.version, saved);
            let denies = matches!(rule.verdict, Verdict::Deny | Verdict::Reject);
            let is_engines = rule.outgoing.is_some() && rule.from.is_all(self.version);
            if denies && (rule.unknown.is_some() || !is_engines) {
                self.in_engines_chains.push((line.number, printable(&line.text).to_string()));
            }
        }
    }

    /// The lines that deny what containers open to elsewhere, too.
    pub(super) fn about_what_containers_open(&self) -> Vec<usize> {
        let is_about = |rule: &&Rule| {
            let denies = matches!(rule.verdict, Verdict::Deny | Verdict::Reject);
            denies && rule.asked.is_empty() && rule.incoming.as_ref().is_none_or(is_of_containers)
        };
        self.rules.iter().filter(is_about).map(|rule| rule.line).collect()
    }
}

/// A published port as a policy writes it.
pub(super) fn written(port: &Published) -> String {
    format!("{}/{}", port.asked, port.protocol.name())
}

/// Whether only this machine itself has such an address or such an interface.
fn is_of_loopback(rule: &Rule) -> bool {
    let own = Spans::from(vec![(number(IpAddr::from([127, 0, 0, 0])), number(IpAddr::from([127, 255, 255, 255])))]);
    let is_four = rule.from.as_slice().iter().all(|(_, last)| *last <= u128::from(u32::MAX));
    let six = Spans::from(vec![(1, 1)]);
    let named = rule.incoming.as_ref().is_some_and(|name| name.name == "lo" && !name.wildcard);
    named || is_four && own.covers(&rule.from) || six.covers(&rule.from)
}
