//! All destinations of connections to elsewhere, in classes that no rule tells apart.
//!
//! Rules that test the destination cut the addresses into classes: two addresses are of one class if each of these
//! tests gives the same answer for both. One address of each class is asked about, for all sources at once. If a packet
//! to it meets rules with further tests, those divide the classes further, until no packet meets a new one.

use super::evaluate::OutcomeRegions;
use super::opened::Readings;
use super::region::{Interval, Region, Regions};
use super::space::{At, Line};
use super::value::Test;
use super::ways;
use crate::net::{Version, number, octets};
use crate::ruleset::TableId;
use crate::simulate::{Hidden, Packet};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

/// Destinations that no rule tells apart, on one way.
pub(super) struct Class<'a> {
    /// The destinations.
    pub(super) destinations: Region,
    /// The packet that opens a connection to one of them.
    pub(super) packet: Packet,
    /// What becomes of it in each table, for all sources.
    pub(super) outcomes: Vec<OutcomeRegions<'a>>,
}

/// Tables, evaluated for connections to elsewhere over one version.
pub(super) struct Explorer<'a> {
    pub(super) version: Version,
    /// Sources and destinations.
    pub(super) regions: Regions,
    tables: Vec<Line<'a>>,
    /// The addresses that packets to elsewhere can have as their destination.
    reachable: Region,
    /// The classes, by the tests that tell them apart.
    known: HashMap<Vec<Identity>, Rc<[Region]>>,
}

/// Tells tests apart by where their data is.
type Identity = (u8, usize, usize);

/// A packet that has been asked about, with its destination.
type Asked<'a> = (u128, Packet, Vec<OutcomeRegions<'a>>);

impl<'a> Explorer<'a> {
    pub(super) fn new(id: &'a TableId, version: Version, tables: impl IntoIterator<Item = &'a Readings<'a>>) -> Self {
        let tables = tables.into_iter().map(|readings| Line::new(id, version, readings)).collect();
        let mut regions = Regions::new(version.last_address());
        let nowhere = regions.of(nowhere(version).to_vec());
        let reachable = regions.minus(Region::ALL, nowhere);
        Self { version, regions, tables, reachable, known: HashMap::new() }
    }

    /// The classes of the destinations that are meant. `place` numbers the way, and `to` makes the packet that goes this
    /// way to an address.
    pub(super) fn classes(&mut self, place: usize, meant: Region, to: impl Fn(IpAddr) -> Packet) -> Vec<Class<'a>> {
        let meant = self.regions.and(meant, self.reachable);
        let mut rules: BTreeSet<At<'a>> = BTreeSet::new();
        let mut asked: Vec<Asked<'a>> = Vec::new();
        loop {
            let known = rules.len();
            let mut classes = Vec::new();
            for class in self.told_apart(&rules).iter() {
                let class = self.regions.and(*class, meant);
                if class == Region::NONE {
                    continue;
                }
                let before = asked.iter().position(|(point, ..)| self.regions.contains(class, *point));
                if before.is_none() {
                    let Some((point, packet)) = self.one_of(class, &to) else { continue };
                    let outcomes = self.outcomes(place, &packet, &mut rules);
                    asked.push((point, packet, outcomes));
                }
                classes.push((class, before.unwrap_or(asked.len() - 1)));
            }
            if rules.len() == known {
                let of = |(destinations, at): (Region, usize)| {
                    let (_, packet, outcomes) = asked.get(at)?.clone();
                    Some(Class { destinations, packet, outcomes })
                };
                return classes.into_iter().filter_map(of).collect();
            }
        }
    }

    fn one_of(&self, class: Region, to: impl Fn(IpAddr) -> Packet) -> Option<(u128, Packet)> {
        let ordinary = Some(number(ways::example(self.version)));
        let ordinary = ordinary.filter(|point| self.regions.contains(class, *point));
        let point = ordinary.or_else(|| self.regions.intervals(class).first().map(|(first, _)| *first))?;
        Some((point, to(self.version.address(point)?)))
    }

    fn outcomes(&mut self, place: usize, packet: &Packet, rules: &mut BTreeSet<At<'a>>) -> Vec<OutcomeRegions<'a>> {
        let mut outcomes = Vec::new();
        for (table, line) in self.tables.iter_mut().enumerate() {
            let (outcome, met) = line.outcomes(&mut self.regions, place, packet, Hidden::Client);
            rules.extend(met.into_iter().map(|(number, rule)| (table, number, rule)));
            outcomes.push(outcome);
        }
        outcomes
    }

    /// The classes that the tests of these rules tell apart.
    fn told_apart(&mut self, rules: &BTreeSet<At<'a>>) -> Rc<[Region]> {
        let tests = rules.iter().flat_map(|(table, number, at)| {
            self.tables.get(*table).map(|line| line.destination_tests(*number, *at)).unwrap_or_default()
        });
        let tests: BTreeMap<Identity, Test<'a>> = tests.map(|test| (identity(test), *test)).collect();
        let key: Vec<Identity> = tests.keys().copied().collect();
        if let Some(classes) = self.known.get(&key) {
            return Rc::clone(classes);
        }
        let tests: Vec<Test<'a>> = tests.into_values().collect();
        let classes = partition(self.version, &tests).into_iter().map(|class| self.regions.of(class));
        let classes: Rc<[Region]> = classes.collect();
        self.known.insert(key, Rc::clone(&classes));
        classes
    }
}

/// The addresses that no packet to elsewhere has as its destination: the unspecified one and the loopback's.
const fn nowhere(version: Version) -> &'static [Interval] {
    match version {
        Version::V4 => &[(0, 0), (0x7f00_0000, 0x7fff_ffff)],
        Version::V6 => &[(0, 1)],
    }
}

/// A set of destinations with those addresses that none can have and that lie between two of the set.
pub(super) fn filled(regions: &mut Regions, version: Version, destinations: Region) -> Region {
    let between = |(first, last): &&Interval| {
        let holds = |address: u128| regions.contains(destinations, address);
        first.checked_sub(1).is_none_or(holds) && last.checked_add(1).is_none_or(holds)
    };
    let gaps: Vec<Interval> = nowhere(version).iter().filter(between).copied().collect();
    let gaps = regions.of(gaps);
    regions.or(destinations, gaps)
}

fn identity(test: &Test<'_>) -> Identity {
    match test {
        Test::Begins(_, data) => (0, data.as_ptr().addr(), data.len()),
        Test::Within { data, mask } => (1, data.as_ptr().addr(), mask.as_ptr().addr()),
        Test::In(set) => (2, std::ptr::from_ref(*set).addr(), 0),
    }
}

/// All addresses, by the answers that tests give for them. Of the answers only those that are not 0 are kept: an
/// address is in few of many sets.
fn partition(version: Version, tests: &[Test<'_>]) -> Vec<Vec<Interval>> {
    let answer = |test: usize, point: u128| {
        let test = tests.get(test)?;
        Some(test.answer(&octets(version.address(point)?))).filter(|answer| *answer != 0)
    };
    let mut cuts: Vec<(u128, usize)> = Vec::new();
    for (number, test) in tests.iter().enumerate() {
        cuts.extend(
            test.cuts(version).into_iter().filter(|cut| *cut <= version.last_address()).map(|cut| (cut, number)),
        );
    }
    cuts.sort_unstable();
    let mut answers: BTreeMap<usize, usize> =
        (0..tests.len()).filter_map(|test| Some((test, answer(test, 0)?))).collect();
    let mut classes: BTreeMap<Vec<(usize, usize)>, Vec<Interval>> = BTreeMap::new();
    let mut keep = |answers: &BTreeMap<usize, usize>, interval: Interval| {
        let key = answers.iter().map(|(test, answer)| (*test, *answer)).collect();
        classes.entry(key).or_default().push(interval);
    };
    let mut begin = 0;
    for here in cuts.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((at, _)) = here.first() else { continue };
        if let Some(end) = at.checked_sub(1).filter(|end| begin <= *end) {
            keep(&answers, (begin, end));
            begin = *at;
        }
        for (_, test) in here {
            match answer(*test, *at) {
                Some(answer) => answers.insert(*test, answer),
                None => answers.remove(test),
            };
        }
    }
    keep(&answers, (begin, version.last_address()));
    classes.into_values().collect()
}
