//! Who may reach what beside an engine, as rows that say so, tried with real packets all at once.

use super::names;
use super::namespace::Namespace;
use super::probe::{Outcome, SILENCE, Target, probe_here};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

/// How long a probe without palisade, or one that should be as without, waits: for a second try of TCP, and no more,
/// since half of them are never answered.
const A_SECOND_TRY: Duration = Duration::from_millis(1500);

/// What must come of a probe under palisade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    Allowed,
    /// Silence.
    Denied,
    /// What came of it without palisade.
    Same,
}

/// What must have come of it without palisade, so that a denial is palisade's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    Open,
    /// Open when a userland proxy runs.
    OpenByProxy,
    /// Closed by something else, ufw for one.
    Closed,
    /// What engines differ in: it is recorded.
    Any,
}

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Reach(Target),
    /// Ask for its name: the answer must be its address.
    Resolve,
}

/// One probe: from whom, to where, over which family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    pub from: String,
    pub to: String,
    pub what: What,
    pub six: bool,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.six { "IPv6" } else { "IPv4" };
        match self.what {
            What::Reach(target) => write!(f, "{} → {}, {target}, {family}", self.from, self.to),
            What::Resolve => write!(f, "{} → {}, names, {family}", self.from, self.to),
        }
    }
}

/// Where the names of rows are, on one engine.
pub trait Places: Sync {
    /// Where to try from, with which address, and which address to try; `None` when there is none of that family.
    fn of(&self, probe: &Probe) -> Option<(&Namespace, IpAddr, IpAddr)>;
    /// Whom `from` asks for names.
    fn name_server(&self, from: &str) -> Option<IpAddr>;
}

#[derive(Debug)]
pub struct Row {
    /// As it is shown: without the second word, which is for the test alone.
    pub label: String,
    pub probe: Probe,
    pub must: Must,
    pub without: Without,
}

/// Probes, each with what must come of it with palisade and without.
#[derive(Debug)]
pub struct Rows(Vec<Row>);

/// What came of each probe.
pub type Outcomes = BTreeMap<Probe, Outcome>;

impl Rows {
    /// Reads lines such as `denied open 9010/tcp 9400/udp from trusted out to host over v4 v6`.
    ///
    /// The first word is `allowed`, `denied` or `same`; the second `open`, `proxy` (open where a userland proxy runs),
    /// `closed` or `any`. `names` in the place of a port asks for an address by name. Who and where: `trusted`, `out`,
    /// `neighbour` (of the local network), `host`, `loopback`, `outside`, `gateway:CONTAINER` (the host's address in that
    /// container's network), else a container's name. What is allowed and open by a proxy only is as without palisade
    /// where none runs.
    pub fn new(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self(lines.flat_map(|line| row(line).unwrap_or_else(|| panic!("not a row of verdicts: {line}"))).collect())
    }

    /// Tries each, without palisade.
    pub fn without(&self, places: &dyn Places) -> Outcomes {
        self.outcomes(places, |_| A_SECOND_TRY)
    }

    /// Tries each, under palisade.
    pub fn with(&self, places: &dyn Places) -> Outcomes {
        self.outcomes(places, |row| if row.must == Must::Denied { SILENCE } else { A_SECOND_TRY })
    }

    /// Sentences about what was not as it must be without palisade.
    pub fn not_as_expected_without(&self, proxy: bool, without: &Outcomes) -> Vec<String> {
        let mut differing = Vec::new();
        for Row { probe, without: expected, .. } in &self.0 {
            let Some(outcome) = without.get(probe) else { continue };
            let open = match expected {
                Without::Open => true,
                Without::OpenByProxy if proxy => true,
                Without::Closed => false,
                Without::OpenByProxy | Without::Any => continue,
            };
            if open != (*outcome == Outcome::Connected) {
                differing.push(format!("{probe}: {expected:?} expected without palisade, but {outcome:?}"));
            }
        }
        differing
    }

    /// Sentences about verdicts that do not hold.
    pub fn broken(&self, without: &Outcomes, with: &Outcomes) -> Vec<String> {
        let mut broken = Vec::new();
        for Row { probe, must, without: open, .. } in &self.0 {
            let Some(outcome) = with.get(probe) else { continue };
            let expected = match (must, open) {
                (Must::Denied, _) => Some(Outcome::TimedOut),
                (Must::Same, _) | (Must::Allowed, Without::OpenByProxy) => without.get(probe).copied(),
                (Must::Allowed, _) => Some(Outcome::Connected),
            };
            if expected != Some(*outcome) {
                broken.push(format!("{probe}: {must:?}, {expected:?} expected, but {outcome:?}"));
            }
        }
        broken
    }

    /// Each probe's row.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    fn outcomes(&self, places: &dyn Places, wait: fn(&Row) -> Duration) -> Outcomes {
        thread::scope(|scope| {
            let mut running = Vec::new();
            // All are started before the first is waited for.
            for row in &self.0 {
                let Some((inside, from, to)) = places.of(&row.probe) else { continue };
                let (what, wait) = (row.probe.what, wait(row));
                let server = places.name_server(&row.probe.from);
                if what == What::Resolve && server.is_none() {
                    continue;
                }
                // A name without a dot is a container's, and some engines ask nobody else for it.
                let name = if row.probe.to == "outside" { "outside.example" } else { &row.probe.to };
                let outcome = scope.spawn(move || {
                    inside.enter();
                    match (what, server) {
                        (What::Reach(target), _) => probe_here(inside, target, from, to, wait),
                        (What::Resolve, Some(server)) if names::resolve(server, name, wait) == Some(to) => {
                            Outcome::Connected
                        }
                        (What::Resolve, _) => Outcome::TimedOut,
                    }
                });
                running.push((row.probe.clone(), outcome));
            }
            running
                .into_iter()
                .map(|(probe, run)| (probe, run.join().unwrap_or_else(|panic| resume_unwind(panic))))
                .collect()
        })
    }
}

fn row(line: &str) -> Option<Vec<Row>> {
    let mut written: Vec<&str> = line.split_whitespace().collect();
    written.remove(1);
    let label = written.join(" ");
    let (head, rest) = line.split_once(" from ")?;
    let (from, rest) = rest.split_once(" to ")?;
    let (to, families) = rest.split_once(" over ")?;
    let mut head = head.split_whitespace();
    let must = match head.next()? {
        "allowed" => Must::Allowed,
        "denied" => Must::Denied,
        "same" => Must::Same,
        _ => return None,
    };
    let without = match head.next()? {
        "open" => Without::Open,
        "proxy" => Without::OpenByProxy,
        "closed" => Without::Closed,
        "any" => Without::Any,
        _ => return None,
    };
    let mut rows = Vec::new();
    for target in head {
        let what = match target.split_once('/') {
            Some((port, "tcp")) => What::Reach(Target::Tcp(port.parse().ok()?)),
            Some((port, "udp")) => What::Reach(Target::Udp(port.parse().ok()?)),
            None if target == "names" => What::Resolve,
            _ => return None,
        };
        for family in families.split_whitespace() {
            for from in from.split_whitespace() {
                for to in to.split_whitespace() {
                    let (from, to) = (from.to_owned(), to.to_owned());
                    let probe = Probe { from, to, what, six: family == "v6" };
                    rows.push(Row { label: label.clone(), probe, must, without });
                }
            }
        }
    }
    Some(rows)
}
