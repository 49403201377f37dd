//! Whom rules let in, whoever listens: for each port that they tell apart, each interface and each address of this machine,
//! the sources that get in, as addresses.
//!
//! The routing is left out: a source comes in by whatever interface is asked about, as in a proof ([`access`](crate::access)).
//! So what is said holds for the rules alone, and for interfaces that are not there yet.

mod ground;
mod inline;
mod space;

pub use inline::inlined;
pub use space::{Door, Own, Space, Way};

use super::ask::{Decided, Observed, PortProber, ProbePacket};
use super::judged::addresses_of;
use super::reach::{Clause, Label, Reach};
use super::zones::{EVERYONE, Interval, Part, cut, nowhere};
use super::{Machine, Rules};
use crate::net::{Intervals, Version, number};
use crate::ruleset::{Table, TableId};
use crate::simulate::{Doubt, Translation, is_link_local};
use ground::Ground;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// How many parts of the sources are asked about for one door.
const MOST_PARTS: usize = 4096;
/// This machine's address on a link where it has none.
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xffff));
const FROM_PORT: &str = "it depends on the port that the sender chooses";

/// Sets of addresses as numbers.
pub type Spans = Intervals<u128>;

/// What is asked: the index of a door, of a way, and of own addresses of an IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The door.
    pub door: usize,
    /// The way.
    pub way: usize,
    /// The IP version.
    pub version: Version,
    /// The own addresses.
    pub own: usize,
}

/// Who gets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Those who do.
    pub sources: Spans,
    /// Those for whom it can't be told, and why.
    pub unknown: Vec<(Spans, Doubt)>,
    /// Where rules translate the destination to.
    pub translated: BTreeSet<Translation>,
    /// The rules and policies that decided.
    pub decided: BTreeSet<Decided>,
    /// Whether somebody is told that they are refused.
    pub rejects: bool,
}

/// Who gets in, wherever it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<At, Grant>);

impl Grants {
    /// Who gets in there.
    #[must_use]
    pub fn at(&self, at: At) -> Option<&Grant> {
        self.0.get(&at)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&At, &Grant)> {
        self.0.iter()
    }
}

/// Asks the rules of a machine about all of a space: which sources get in.
#[must_use]
pub fn grants(machine: &Machine<'_>, space: &Space) -> Grants {
    asked(machine, space, false)
}

/// The same of what this machine opens: to which destinations it gets, by interfaces that it leaves by.
#[must_use]
pub fn grants_out(machine: &Machine<'_>, space: &Space) -> Grants {
    asked(machine, space, true)
}

fn asked(machine: &Machine<'_>, space: &Space, sends: bool) -> Grants {
    let mut all = BTreeMap::new();
    let mut own: Vec<IpAddr> = space.own.iter().flatten().flat_map(|own| &own.addresses).copied().collect();
    own.extend(space.own.iter().flatten().map(|own| own.example));
    own.extend(machine.interfaces.iter().flat_map(|one| &one.addresses).map(|(address, _)| *address));
    own.push(LINK_LOCAL);
    let ground = Ground::new(&machine.interfaces, own.clone(), machine.routes);
    let machine = Machine { routes: &ground, ..machine.without_listeners() };
    for version in Version::ALL {
        let rules = Rules::new(&machine.tables, version);
        let tables: Vec<(&TableId, &Table)> = rules.tables.iter().map(|(id, table)| (*id, table)).collect();
        let prober = PortProber::new(&machine, &tables, &rules);
        let mut asking = Asking {
            machine: &machine,
            ground: &ground,
            prober,
            version,
            sends,
            parts: parts(version, &rules.cuts, &own),
            own: &own,
            listed: BTreeMap::new(),
        };
        // From which address this machine sends is not told apart.
        for (own, of_own) in space.own(version).iter().enumerate().take(if sends { 1 } else { usize::MAX }) {
            for (way, of_way) in space.ways.iter().enumerate() {
                for (door, of_door) in space.doors.iter().enumerate() {
                    all.insert(At { door, way, version, own }, asking.ask(*of_door, of_way, of_own));
                }
            }
        }
    }
    Grants(all)
}

/// The sources of a version that somebody may have, cut where rules tell them apart.
fn parts(version: Version, cuts: &BTreeSet<u128>, own: &[IpAddr]) -> Vec<Part> {
    let nowhere = nowhere(version);
    let mut bounds = cuts.clone();
    bounds.extend(nowhere.iter().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten());
    if version == Version::V6 {
        bounds.extend([0xfe80 << 112, 0xfec0 << 112]);
    }
    let all = cut((0, version.last_address()), &bounds);
    let somewhere = all.filter(|(first, last)| !nowhere.iter().any(|(from, to)| from <= first && last <= to));
    somewhere.filter_map(|interval| part(version, interval, own)).collect()
}

/// An interval with one of its addresses; `None` if they are all this machine's own.
fn part(version: Version, interval: Interval, own: &[IpAddr]) -> Option<Part> {
    let (first, last) = interval;
    let candidates = [first.saturating_add(1), first, last, last.saturating_sub(1), first + (last - first) / 2];
    let within = candidates.into_iter().filter(|one| first <= *one && *one <= last);
    let source = within.filter_map(|one| version.address(one)).find(|one| !own.contains(one))?;
    Some(Part { interval, source })
}

struct Asking<'a, 'm> {
    machine: &'a Machine<'m>,
    ground: &'a Ground<'a>,
    prober: PortProber<'a>,
    version: Version,
    /// Whether this machine sends, and the sources are destinations.
    sends: bool,
    parts: Vec<Part>,
    own: &'a [IpAddr],
    /// The addresses of sets; `None` if they can't be told.
    listed: BTreeMap<Label, Option<Spans>>,
}

impl Asking<'_, '_> {
    fn ask(&mut self, door: Door, way: &Way, own: &Own) -> Grant {
        let mut grant = Grant::default();
        let mut observed = Observed { watched: true, ..Observed::default() };
        let (mut sources, mut unknown): (Vec<Interval>, BTreeMap<Doubt, Vec<Interval>>) = Default::default();
        let mut waiting = self.parts.clone();
        let mut asked = 0;
        while let Some(one) = waiting.pop() {
            asked += 1;
            if asked > MOST_PARTS {
                let why = "rules name more networks than are asked about one by one".into();
                unknown.entry(why).or_default().push(one.interval);
                continue;
            }
            observed.alike = EVERYONE;
            let local = way.addresses.iter().map(|(own, _)| *own).find(|own| is_link_local(*own));
            let is_near = own.unnamed && is_link_local(one.source);
            let to = if is_near { local.unwrap_or(LINK_LOCAL) } else { own.example };
            self.ground.comes(one.source, &way.example);
            let packet = ProbePacket {
                protocol: door.protocol,
                port: door.first,
                source: one.source,
                destination: to,
                interface: &way.example,
                sends: self.sends,
                purpose: None,
            };
            let reach = match &self.machine.beyond {
                Some(why) => Reach::unknown(why.clone()),
                None => self.prober.reach(&packet, &mut observed),
            };
            let (alike, rest) = one.split(observed.alike);
            self.take((&reach, one.source), alike, &mut sources, &mut unknown);
            waiting.extend(rest.into_iter().flatten().filter_map(|rest| part(self.version, rest, self.own)));
        }
        grant.sources = filled(self.version, sources.into_iter().collect::<Spans>().joined());
        let unknown = unknown.into_iter().map(|(why, spans)| (spans.into_iter().collect::<Spans>().joined(), why));
        let unknown = unknown.map(|(spans, why)| (filled(self.version, spans).minus(&grant.sources), why));
        grant.unknown = unknown.filter(|(spans, _)| !spans.is_empty()).collect();
        grant.translated = observed.translated;
        grant.decided = observed.decided;
        grant.rejects = observed.rejects;
        grant
    }

    /// Takes what a formula says of an interval.
    fn take(
        &mut self,
        (reach, source): (&Reach, IpAddr),
        interval: Interval,
        sources: &mut Vec<Interval>,
        unknown: &mut BTreeMap<Doubt, Vec<Interval>>,
    ) {
        for clause in &reach.who {
            let (spans, why) = self.of_clause(clause, interval);
            match why {
                None => sources.extend(spans.as_slice()),
                Some(why) => unknown.entry(why).or_default().extend(spans.as_slice()),
            }
        }
        for (clause, why) in &reach.unknown {
            let (spans, _) = self.of_clause(clause, interval);
            // One reason for all of whom it is true.
            let why = why.replace(&source.to_string(), "them").into();
            unknown.entry(why).or_default().extend(spans.as_slice());
        }
    }

    /// The addresses of a clause, and why they may be fewer.
    fn of_clause(&mut self, clause: &Clause, interval: Interval) -> (Spans, Option<Doubt>) {
        let mut spans: Spans = std::iter::once(interval).collect();
        let mut why = None;
        for (label, is_in) in
            clause.within.iter().map(|one| (one, true)).chain(clause.but.iter().map(|one| (one, false)))
        {
            if matches!(label, Label::FromPort(_)) {
                why.get_or_insert(FROM_PORT.into());
                continue;
            }
            match self.spans_of(label) {
                Some(of_label) if is_in => spans = spans.and(&of_label),
                Some(of_label) => spans = spans.minus(&of_label),
                None => {
                    let name = match label {
                        Label::Set(_, name) | Label::Group(name) | Label::List(name) => name.as_str(),
                        _ => "that decides",
                    };
                    why.get_or_insert(format!("who is in the set {name} is not known, or changes").into());
                }
            }
        }
        (spans, why)
    }

    fn spans_of(&mut self, label: &Label) -> Option<Spans> {
        if !self.listed.contains_key(label) {
            let spans = addresses_of(self.machine, label, self.version).map(|all| all.into_iter().collect::<Spans>());
            self.listed.insert(label.clone(), spans);
        }
        self.listed.get(label).cloned().flatten()
    }
}

/// The same, with the addresses that nobody has where those beside them are in it, too.
fn filled(version: Version, spans: Spans) -> Spans {
    let mut all = spans;
    for (first, last) in nowhere(version) {
        let before = first.checked_sub(1).is_none_or(|before| all.contains(before));
        let behind = last.checked_add(1).filter(|next| *next <= version.last_address());
        let behind = behind.is_none_or(|behind| all.contains(behind));
        if before && behind && !all.is_empty() {
            all = all.or(&std::iter::once((first, last)).collect()).joined();
        }
    }
    all
}

/// The addresses of a version that somebody else may have.
#[must_use]
pub fn somewhere(version: Version, machine: &Machine<'_>) -> Spans {
    let own = machine.interfaces.iter().flat_map(|one| &one.addresses).map(|(address, _)| *address);
    let own = own.filter(|own| Version::of(*own) == version).map(|own| (number(own), number(own)));
    Spans::all(version).minus(&nowhere(version).into_iter().chain(own).collect())
}
