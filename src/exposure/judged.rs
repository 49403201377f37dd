//! Judges a connection from many sources at once: whole networks, groups, everyone, containers.
//!
//! The sources are cut where an address of a rule or of the question begins or ends. Each part is asked about with one
//! of its addresses, and cut again where a set that decides has elements.

use super::ask::{Observed, PortProber, ProbePacket};
use super::reach::{Clause, Label, Reach};
use super::zones::{Interval, cut, parts};
use super::{Interface, Machine, Rules};
use crate::net::{AddressRange, Addresses, IfPattern, Intervals, Version, address, number};
use crate::ruleset::{Table, TableId};
use crate::simulate::{Doubt, is_link_local};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How many parts are asked about behind one interface.
const MOST_PARTS: usize = 4096;
/// How many ranges of the sources are asked about by an address of each. Of more, those that no rule tells apart are asked
/// about by one address together.
const MOST_RANGES: usize = 256;

/// Who opens the connection.
#[derive(Clone, Copy, Debug)]
pub enum Sources<'q> {
    /// Everyone, containers among them.
    Any,
    /// The containers of this machine.
    Containers,
    /// Who has one of these addresses, or comes in by one of these interfaces.
    Listed {
        /// The addresses.
        addresses: &'q Addresses,
        /// The interfaces.
        interfaces: &'q BTreeSet<IfPattern>,
        /// Whether containers with one of the addresses are meant, too.
        containers: bool,
    },
}

/// A connection from many sources.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'q> {
    /// Who opens it.
    pub sources: Sources<'q>,
    /// The IP protocol number; ICMP stands for an echo request of either version.
    pub protocol: u8,
    /// The port; 0 of a protocol without ports.
    pub port: u16,
    /// The address that it is to; without, the address that this machine has towards each source.
    pub to: Option<IpAddr>,
    /// The interface that it comes in by; without, the one that the route to each source leaves by.
    pub on: Option<&'q str>,
}

/// Whether a connection is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is.
    Allowed,
    /// It is denied or rejected.
    Denied,
    /// It can't be told, and why.
    Unknown(Doubt),
}

/// Sources that are judged alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedPart {
    /// The IP version.
    pub version: Version,
    /// The interface that they come in by.
    pub by: String,
    /// Whether containers are behind it.
    pub containers: bool,
    /// The first and the last of the addresses, as numbers.
    pub interval: (u128, u128),
    /// The verdict.
    pub verdict: Judged,
}

/// The verdict on each part of the sources, by version, interface and address. Empty if nobody can have such a source, or if
/// none is of the IP version of the destination.
#[must_use]
pub fn judge(machine: &Machine<'_>, whole: &Whole<'_>) -> Vec<JudgedPart> {
    let mut judged = Vec::new();
    for version in Version::ALL {
        if whole.to.is_some_and(|to| Version::of(to) != version) {
            continue;
        }
        let rules = Rules::new(&machine.tables, version);
        let tables: Vec<(&TableId, &Table)> = rules.tables.iter().map(|(id, table)| (*id, table)).collect();
        let prober = PortProber::new(machine, &tables, &rules);
        let judge = Judge { machine, whole, version, cuts: rules.all_cuts(), prober, listed: BTreeMap::new() };
        judge.judge(&mut judged);
    }
    judged
}

struct Judge<'j, 'm> {
    machine: &'m Machine<'m>,
    whole: &'j Whole<'j>,
    version: Version,
    cuts: BTreeSet<u128>,
    prober: PortProber<'j>,
    /// The addresses of the sets that decide; `None` if they can't be told.
    listed: BTreeMap<Label, Option<Vec<Interval>>>,
}

impl Judge<'_, '_> {
    fn judge(mut self, judged: &mut Vec<JudgedPart>) {
        let machine = self.machine;
        for interface in &machine.interfaces {
            if self.whole.on.is_some_and(|on| on != interface.name) {
                continue;
            }
            let wanted = self.wanted(interface);
            let mut cuts = self.cuts.clone();
            // Of a few ranges each is asked about by an address of its own.
            if wanted.len() <= MOST_RANGES {
                cuts.extend(wanted.iter().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten());
            }
            let all = parts(interface, &machine.interfaces, self.version, false, &cuts, machine.routes);
            let mut asked = 0;
            for part in all {
                let within = within(&wanted, part.interval);
                if within.is_empty() || !self.comes_by(interface, part.source) {
                    continue;
                }
                asked += 1;
                let reach = if asked > MOST_PARTS {
                    Reach::unknown("rules name more networks than are asked about one by one".into())
                } else {
                    self.reach(interface, &within, part.source)
                };
                for interval in within {
                    for (interval, verdict) in self.split(interval, &reach) {
                        self.add(judged, interface, interval, verdict);
                    }
                }
            }
        }
    }

    /// Adds a part to those before it, or to the last one if it goes on.
    fn add(&self, judged: &mut Vec<JudgedPart>, interface: &Interface, interval: Interval, verdict: Judged) {
        match judged.last_mut() {
            Some(before)
                if before.version == self.version
                    && before.by == interface.name
                    && before.verdict == verdict
                    && before.interval.1.checked_add(1) == Some(interval.0) =>
            {
                before.interval.1 = interval.1;
            }
            _ => judged.push(JudgedPart {
                version: self.version,
                by: interface.name.clone(),
                containers: interface.containers,
                interval,
                verdict,
            }),
        }
    }

    /// The sources that are meant behind an interface.
    fn wanted(&self, interface: &Interface) -> Vec<Interval> {
        let everyone = vec![(0, self.version.last_address())];
        match self.whole.sources {
            Sources::Any => everyone,
            Sources::Containers if interface.containers => everyone,
            Sources::Containers => Vec::new(),
            Sources::Listed { interfaces, .. } if interfaces.iter().any(|one| one.covers(&interface.name)) => {
                everyone
            }
            Sources::Listed { containers: false, .. } if interface.containers => Vec::new(),
            Sources::Listed { addresses, .. } => {
                addresses.ranges().filter_map(|range| of_version(self.version, range)).collect()
            }
        }
    }

    /// Whether a source comes in by an interface: the route to it leaves there, or it is not known by which it does.
    fn comes_by(&self, interface: &Interface, source: IpAddr) -> bool {
        let is_named = match self.whole.sources {
            Sources::Listed { interfaces, .. } => interfaces.iter().any(|one| one.covers(&interface.name)),
            Sources::Any | Sources::Containers => false,
        };
        if interface.containers || is_named || self.whole.on.is_some() {
            return true;
        }
        match self.machine.routes.leads(source) {
            Ok(Some(name)) => {
                name == interface.name || !self.machine.interfaces.iter().any(|other| other.name == name)
            }
            Ok(None) | Err(_) => true,
        }
    }

    /// Who of some ranges gets through, which no rule tells apart, asked about by one source behind the interface.
    fn reach(&self, interface: &Interface, ranges: &[Interval], source: IpAddr) -> Reach {
        if let Some(why) = &self.machine.beyond {
            return Reach::unknown(why.clone());
        }
        if !self.come_by_it_alone(interface, ranges, source) {
            return Reach::unknown("routes to some of them leave by other interfaces: pass --on IFACE".into());
        }
        let Some(destination) = self.destination(interface, source) else {
            let why = format!("which address of this machine {source} asks for is not known: pass --to ADDR");
            return Reach::unknown(why.into());
        };
        let packet = ProbePacket {
            protocol: self.whole.protocol,
            port: self.whole.port,
            source,
            destination,
            interface: &interface.name,
            sends: false,
            purpose: None,
        };
        self.prober.reach(&packet, &mut Observed::default())
    }

    /// Whether the ends of ranges come in by the interface that a source comes in by.
    fn come_by_it_alone(&self, interface: &Interface, ranges: &[Interval], source: IpAddr) -> bool {
        let ends = ranges.first().into_iter().chain(ranges.last()).flat_map(|(first, last)| [*first, *last]);
        let leads = |address: IpAddr| self.machine.routes.leads(address).ok().flatten();
        let own = leads(source);
        let mut ends = ends.filter_map(|end| self.version.address(end));
        // The first and the last address of a network, and this machine's own, have routes of their own.
        own.is_none()
            || ends.all(|end| leads(end).is_none_or(|name| name == interface.name || own.as_ref() == Some(&name)))
    }

    fn destination(&self, interface: &Interface, source: IpAddr) -> Option<IpAddr> {
        let of = |one: &Interface| {
            let fits = |address: &IpAddr| {
                Version::of(*address) == self.version && is_link_local(*address) == is_link_local(source)
            };
            one.addresses.iter().map(|(address, _)| *address).find(fits)
        };
        self.whole.to.or_else(|| self.machine.routes.source_towards(source).ok()).or_else(|| of(interface))
    }

    /// Cuts a part where sets that decide have elements.
    fn split(&mut self, part: Interval, reach: &Reach) -> Vec<(Interval, Judged)> {
        let clauses = || reach.who.iter().chain(reach.unknown.iter().map(|(clause, _)| clause));
        let labels: BTreeSet<&Label> = clauses().flat_map(|clause| clause.within.iter().chain(&clause.but)).collect();
        let mut cuts = BTreeSet::new();
        for label in labels {
            if !self.listed.contains_key(label) {
                self.listed.insert(label.clone(), addresses_of(self.machine, label, self.version));
            }
            let all = self.listed.get(label).and_then(Option::as_ref).map_or(&[][..], Vec::as_slice);
            let after = all.partition_point(|(_, last)| *last < part.0);
            let among = all.get(after..).unwrap_or_default().iter().take_while(|(first, _)| *first <= part.1);
            let bounds = among.flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten();
            cuts.extend(bounds);
        }
        cut(part, &cuts).map(|piece| (piece, self.verdict(piece.0, reach))).collect()
    }

    fn verdict(&self, source: u128, reach: &Reach) -> Judged {
        let who: Vec<Option<bool>> = reach.who.iter().map(|clause| self.holds(clause, source)).collect();
        if who.contains(&Some(true)) {
            return Judged::Allowed;
        }
        let unknown = reach.unknown.iter().find(|(clause, _)| self.holds(clause, source) != Some(false));
        match unknown {
            Some((_, why)) => Judged::Unknown(why.clone()),
            None if who.contains(&None) => Judged::Unknown("a set that decides can't be read".into()),
            None => Judged::Denied,
        }
    }

    /// Whether a source is in a clause; `None` if it is not known.
    fn holds(&self, clause: &Clause, source: u128) -> Option<bool> {
        let is_in = |label: &Label| match label {
            // Most clients send from a port that no rule names.
            Label::FromPort(_) => Some(false),
            label => {
                let all = self.listed.get(label)?.as_ref()?;
                let at = all.partition_point(|(_, last)| *last < source);
                Some(all.get(at).is_some_and(|(first, _)| *first <= source))
            }
        };
        let within = clause.within.iter().map(is_in);
        let outside = clause.but.iter().map(|label| is_in(label).map(|is| !is));
        let all: Vec<Option<bool>> = within.chain(outside).collect();
        if all.contains(&Some(false)) {
            return Some(false);
        }
        if all.contains(&None) { None } else { Some(true) }
    }
}

/// The addresses of a set, in order; `None` if they can't be told.
pub(super) fn addresses_of(machine: &Machine<'_>, label: &Label, version: Version) -> Option<Vec<Interval>> {
    let own = TableId::palisade();
    let (id, name) = match label {
        Label::Group(name) | Label::List(name) => (&own, format!("{name}-{}", version.suffix())),
        Label::Set(title, name) => {
            let is_it = |(id, _): &&(&TableId, &Table)| format!("{} {}", id.family, id.name) == *title;
            let (id, _) = machine.tables.iter().find(is_it)?;
            (*id, name.clone())
        }
        Label::Network(_) | Label::Containers | Label::ContainersBy(_) | Label::By(_) | Label::FromPort(_) => {
            return None;
        }
    };
    let elements = (machine.elements)(id, &name)?;
    if elements.listed().iter().any(|element| element.key.bounds().is_none()) {
        // It has an element for whatever no other matches.
        return None;
    }
    let bounds = elements.bounds().map(|(first, last)| {
        let (first, last) = (address(first)?, address(last)?);
        // Something else is part of its keys.
        (Version::of(first) == version).then(|| (number(first), number(last)))
    });
    Some(bounds.collect::<Option<Intervals<u128>>>()?.as_slice().to_vec())
}

/// What is of a part in ranges, which are in order.
fn within(ranges: &[Interval], part: Interval) -> Vec<Interval> {
    let after = ranges.partition_point(|(_, last)| *last < part.0);
    let among = ranges.get(after..).unwrap_or_default().iter().take_while(|(first, _)| *first <= part.1);
    among.map(|(first, last)| ((*first).max(part.0), (*last).min(part.1))).collect()
}

fn of_version(version: Version, range: AddressRange) -> Option<Interval> {
    let (first, last): (IpAddr, IpAddr) = match range {
        AddressRange::V4(first, last) => (first.into(), last.into()),
        AddressRange::V6(first, last) => (first.into(), last.into()),
    };
    (Version::of(first) == version).then(|| (number(first), number(last)))
}
