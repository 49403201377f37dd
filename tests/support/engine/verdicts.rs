//! Who may reach what beside an engine, as rows that say so, tried with real packets all at once.

use super::{Container, Engine};
use crate::support::lab::{CLIENT, HOST, LAN, Lab};
use crate::support::namespace::Namespace;
use crate::support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

/// Somebody outside whom no policy of these tests names.
pub const OUT: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66))];
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
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
enum Without {
    Open,
    /// Open when a userland proxy runs.
    OpenByProxy,
    /// Closed by something else, ufw for one.
    Closed,
    /// What engines differ in: it is recorded.
    Any,
}

/// One probe: from whom, to where, over which family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    pub from: String,
    pub to: String,
    pub target: Target,
    pub six: bool,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.six { "IPv6" } else { "IPv4" };
        write!(f, "{} → {}, {}, {family}", self.from, self.to, self.target)
    }
}

#[derive(Debug)]
struct Row {
    /// As it was written.
    line: String,
    probe: Probe,
    must: Must,
    without: Without,
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
    /// `closed` or `any`. Who and where: `trusted`, `out`, `neighbour` (of the local network), `host`, `loopback`, `outside`,
    /// `gateway:CONTAINER` (the host's address in that container's network), else a container's name.
    pub fn new(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.flat_map(|line| row(line).unwrap_or_else(|| panic!("not a row of verdicts: {line}"))).collect())
    }

    /// Tries each, without palisade.
    pub fn without(&self, places: &Places) -> Outcomes {
        self.outcomes(places, |_| A_SECOND_TRY)
    }

    /// Tries each, under palisade.
    pub fn with(&self, places: &Places) -> Outcomes {
        self.outcomes(places, |row| if row.must == Must::Denied { SILENCE } else { A_SECOND_TRY })
    }

    /// Sentences about what was not as it must be without palisade.
    pub fn not_as_expected_without(&self, engine: &Engine, without: &Outcomes) -> Vec<String> {
        let mut differing = Vec::new();
        for Row { probe, without: expected, .. } in &self.0 {
            let Some(outcome) = without.get(probe) else { continue };
            let open = match expected {
                Without::Open => true,
                Without::OpenByProxy if engine.setting.proxy => true,
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
        for Row { probe, must, .. } in &self.0 {
            let Some(outcome) = with.get(probe) else { continue };
            let expected = match must {
                Must::Allowed => Some(Outcome::Connected),
                Must::Denied => Some(Outcome::TimedOut),
                Must::Same => without.get(probe).copied(),
            };
            if expected != Some(*outcome) {
                broken.push(format!("{probe}: {must:?}, {expected:?} expected, but {outcome:?}"));
            }
        }
        broken
    }

    /// The line that each probe is of.
    pub fn lines(&self) -> impl Iterator<Item = (&Probe, &str)> {
        self.0.iter().map(|row| (&row.probe, row.line.as_str()))
    }

    fn outcomes(&self, places: &Places, wait: fn(&Row) -> Duration) -> Outcomes {
        thread::scope(|scope| {
            let mut running = Vec::new();
            // All are started before the first is waited for.
            for row in &self.0 {
                let Some((inside, from, to)) = places.of(&row.probe) else { continue };
                let (target, wait) = (row.probe.target, wait(row));
                let outcome = scope.spawn(move || {
                    inside.enter();
                    probe_here(inside, target, from, to, wait)
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
    let written = line.split_whitespace().collect::<Vec<_>>().join(" ");
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
        let (port, transport) = target.split_once('/')?;
        let target = match transport {
            "tcp" => Target::Tcp(port.parse().ok()?),
            "udp" => Target::Udp(port.parse().ok()?),
            _ => return None,
        };
        for family in families.split_whitespace() {
            for from in from.split_whitespace() {
                for to in to.split_whitespace() {
                    let (from, to) = (from.to_owned(), to.to_owned());
                    let probe = Probe { from, to, target, six: family == "v6" };
                    rows.push(Row { line: written.clone(), probe, must, without });
                }
            }
        }
    }
    Some(rows)
}

/// Where the names of rows are: it changes when containers do.
pub struct Places<'lab> {
    lab: &'lab Lab,
    containers: BTreeMap<&'static str, Container>,
}

impl<'lab> Places<'lab> {
    /// Those of a lab and these containers of its engine, all of which run.
    #[track_caller]
    pub fn of_engine(lab: &'lab Lab, engine: &Engine, containers: &[&'static str]) -> Self {
        let containers = engine.containers(containers);
        let since = Instant::now();
        for inside in containers.iter().map(|container| &container.inside).chain([&lab.host]) {
            // Until nobody else is known to have it, an IPv6 address is not used.
            while !inside.ip("-6 address show tentative").is_empty() {
                assert!(since.elapsed() < PATIENCE, "an address stays tentative");
                thread::sleep(Duration::from_millis(50));
            }
        }
        Self { lab, containers: containers.into_iter().map(|container| (container.name, container)).collect() }
    }

    /// Where to try from, with which address, and which address to try; `None` when a container has none of that family.
    fn of(&self, probe: &Probe) -> Option<(&Namespace, IpAddr, IpAddr)> {
        let family = usize::from(probe.six);
        let of_family =
            |addresses: &[IpAddr]| addresses.iter().copied().find(|address| address.is_ipv6() == probe.six);
        let (inside, from) = match probe.from.as_str() {
            "trusted" => (&self.lab.client, CLIENT[family]),
            "out" => (&self.lab.client, OUT[family]),
            "neighbour" => (&self.lab.lan, LAN[family]),
            "host" => (&self.lab.host, ANY[family]),
            name => {
                let container = self.containers.get(name)?;
                (&container.inside, of_family(&container.addresses)?)
            }
        };
        let to = match probe.to.as_str() {
            "host" => HOST[family],
            "loopback" => LOOPBACK[family],
            "outside" => CLIENT[family],
            name => match name.strip_prefix("gateway:") {
                Some(name) => of_family(&self.containers.get(name)?.gateways)?,
                None => of_family(&self.containers.get(name)?.addresses)?,
            },
        };
        Some((inside, from, to))
    }
}
