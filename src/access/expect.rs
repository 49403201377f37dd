//! Whether a table does what its policy expects, proved for every source that is meant.
//!
//! A source given by address may come in by every interface except the containers': policy addresses never mean
//! containers. `any` means every source by every interface except the loopback; an interface means every source by
//! that interface. What is expected of a port must hold both for this machine's own port and for one that a container
//! publishes. Where services tell addresses of this machine apart (`to`), a port counts as open if it is open at one
//! of them, and as shut if it is shut at all of them.

use super::asked::Asked;
use super::elsewhere;
use super::opened::{Opened, Readings};
use super::proof::{Counterexample, an_example, in_words, interval, is_meant, loopback, path};
use super::region::{Region, Regions};
use super::space::{InterfaceClass, Prober, Space, Target, example, is_any_container};
use super::translations::without_translations;
use super::value::may_be_container;
use super::words;
use crate::net::{IfPattern, Version};
use crate::policy::Diagnostic;
use crate::resolve::Expectation;
use crate::ruleset::{Table, TableId};
use crate::simulate::{Packet, Trace, Translation, Verdict, open_through_table};
use std::collections::BTreeSet;

/// How many ranges to name for a broken expectation.
const SHOWN: usize = 3;
/// How many addresses of each set are tried as a container's.
const MOST_NAMED: usize = 1_000;

/// One problem for each expectation that is not met, or can't be proved, with an example and its path.
#[must_use]
pub fn unmet(id: &TableId, table: &Table, expectations: &[Expectation]) -> Vec<Diagnostic> {
    if expectations.is_empty() {
        return Vec::new();
    }
    let mut asked = Asked::default();
    let opened = Opened::new(id, table);
    let [v4, v6] = Version::ALL.map(|version| Readings::new(table, &opened, version, &mut asked));
    let named = || expectations.iter().flat_map(|expectation| expectation.interfaces.iter().chain(&expectation.on));
    asked.also_tells(expectations);
    let space = Space::new(&asked, &[table], named());
    let mut probers = [Prober::new(id, Version::V4, [&v4]), Prober::new(id, Version::V6, [&v6])];
    let plain = without_translations(table);
    let mut problems = Vec::new();
    for expectation in expectations.iter().filter(|expectation| expectation.elsewhere.is_none()) {
        let mut checker = ExpectationChecker { id, table: &plain, space: &space, expectation };
        problems.extend(checker.problem(&mut probers));
    }
    problems.extend(elsewhere::unmet(id, table, expectations, named()));
    problems
}

/// Checks one expectation against the table.
struct ExpectationChecker<'a> {
    id: &'a TableId,
    table: &'a Table,
    space: &'a Space,
    expectation: &'a Expectation,
}

impl ExpectationChecker<'_> {
    fn problem(&mut self, probers: &mut [Prober<'_>; 2]) -> Option<Diagnostic> {
        if let Some(nobody) = self.nobody() {
            return Some(nobody);
        }
        let targets: Vec<Target> =
            self.space.targets.iter().copied().filter(|target| is_meant(self.expectation, *target)).collect();
        for target in targets {
            let mut counterexamples = Vec::new();
            for place in 0..self.space.places.len() {
                for prober in &mut *probers {
                    let found = self.counterexample(prober, place, target);
                    counterexamples.extend(found.map(|found| (prober.version, place, found)));
                }
            }
            // Only the sources of the first place that breaks it: other places may have other sources.
            let Some((_, first, _)) = counterexamples.first() else { continue };
            let first = *first;
            counterexamples.retain(|(_, place, _)| *place == first);
            return self.diagnostic(probers, first, counterexamples);
        }
        None
    }

    /// The interface of this class that the expectation means, if any: for its addresses, and for its interfaces.
    fn by(&self, class: &InterfaceClass) -> [Option<String>; 2] {
        let one_of =
            |named: &BTreeSet<IfPattern>| named.iter().find_map(|named| class.one_of(named)).map(str::to_owned);
        let expectation = self.expectation;
        let on = if expectation.on.is_empty() { Some(class.example.clone()) } else { one_of(&expectation.on) };
        let outside = !class.containers || !expectation.on.is_empty() || expectation.any;
        let both: BTreeSet<IfPattern> = if expectation.on.is_empty() {
            expectation.interfaces.clone()
        } else {
            let pairs =
                expectation.interfaces.iter().flat_map(|from| expectation.on.iter().map(move |on| (from, on)));
            pairs.filter_map(|(from, on)| narrower(from, on)).cloned().collect()
        };
        [on.filter(|_| outside), one_of(&both)]
    }

    /// The problem of an expectation that is about no interface at all: every table would meet it.
    fn nobody(&self) -> Option<Diagnostic> {
        let classes = || self.space.places.iter().map(|place| self.by(&place.incoming));
        let expectation = self.expectation;
        let lacking = !expectation.interfaces.is_empty() && !classes().any(|[_, by]| by.is_some())
            || (expectation.any || !expectation.addresses.is_empty()) && !classes().any(|[by, _]| by.is_some());
        lacking.then(|| {
            let on: Vec<String> = expectation.on.iter().chain(&expectation.interfaces).map(example).collect();
            let message = if on.iter().any(|name| name == "lo") {
                "nothing can be expected of the interface `lo`: this machine always reaches itself"
            } else {
                "nobody is meant by this expectation: what `from` names is on no interface of `on`"
            };
            Diagnostic::at(expectation.span, message).help("correct `on`, or leave it out")
        })
    }

    /// The sources that the expectation means, at a place.
    fn wanted(&self, regions: &mut Regions, version: Version, by: &[Option<String>; 2]) -> Region {
        let expectation = self.expectation;
        let everyone = Region::ALL;
        let loopback = regions.of(vec![loopback(version)]);
        if by[1].is_some() || expectation.any && by[0].is_some() {
            return regions.minus(everyone, loopback);
        }
        if by[0].is_none() {
            return Region::NONE;
        }
        let intervals = expectation.addresses.ranges().filter_map(|range| interval(version, range));
        regions.of(intervals.collect())
    }

    fn counterexample(&self, prober: &mut Prober<'_>, place: usize, target: Target) -> Option<Counterexample> {
        let (number, place) = (place, self.space.places.get(place)?);
        let by = self.by(&place.incoming);
        let wanted = self.wanted(&mut prober.regions, prober.version, &by);
        if wanted == Region::NONE {
            return None;
        }
        let classes = prober.outcomes(self.space, number, target);
        let name = by.into_iter().flatten().next_back()?;
        let found = |prober: &Prober<'_>, packet: &Packet, sources| {
            let packet = prober.as_forwarded(0, place, packet).coming_in_by(name.as_str());
            Some(Counterexample { packet, target, sources })
        };
        if !self.expectation.allow {
            return classes.iter().find_map(|(packet, by_table)| {
                let pass = by_table.first()?.may_pass(&mut prober.regions);
                let sources = prober.regions.and(wanted, pass);
                if sources == Region::NONE { None } else { found(prober, packet, sources) }
            });
        }
        // From each source port, the port must be open at one of the addresses.
        for of_port in classes.chunk_by(|(a, _), (b, _)| a.transport == b.transport) {
            let mut denied = wanted;
            for (_, by_table) in of_port {
                let pass = by_table.first()?.passes(&mut prober.regions);
                denied = prober.regions.minus(denied, pass);
            }
            if denied != Region::NONE {
                let (packet, _) = of_port.first()?;
                return found(prober, packet, denied);
            }
        }
        None
    }

    fn diagnostic(
        &self,
        probers: &mut [Prober<'_>; 2],
        place: usize,
        counterexamples: Vec<(Version, usize, Counterexample)>,
    ) -> Option<Diagnostic> {
        let mut ranges = Vec::new();
        for (version, _, found) in &counterexamples {
            let prober = probers.iter_mut().find(|prober| prober.version == *version)?;
            let regions = &mut prober.regions;
            // The loopback's addresses were left out of `any`; don't print a gap for them.
            let (first, last) = loopback(*version);
            let between = |sources| regions.contains(sources, first - 1) && regions.contains(sources, last + 1);
            let gap = if between(found.sources) { regions.of(vec![(first, last)]) } else { Region::NONE };
            let sources = regions.or(found.sources, gap);
            ranges.extend(words::ranges(*version, regions, sources));
        }
        let everyone = ranges == ["0.0.0.0/0", "::/0"];
        let (version, _, found) = counterexamples.into_iter().next()?;
        let prober = probers.iter().find(|prober| prober.version == version)?;
        let source = an_example(version, &prober.regions, found.sources)?;
        let packet = Packet { source, ..found.packet };
        let opened = self.opened(&packet);
        let (_, trace) = opened.last()?;
        let way = self.way(place, &packet);
        let is = in_words(trace.verdict);
        let message = self.message(&opened, &format!("{source}{way}"), found.target)?;
        let label = match everyone {
            true => "whatever the address".to_owned(),
            false if ranges.len() == 1 && ranges.first() == Some(&source.to_string()) => is.to_owned(),
            false => format!("not as expected: {}", words::in_short(&ranges, SHOWN)),
        };
        let path = path(&opened);
        let problem = Diagnostic::at(self.expectation.span, message).label(label).path(path);
        let named = self.space.places.get(place).is_some_and(|place| !place.incoming.names.is_empty());
        Some(if named && self.expectation.on.is_empty() && self.expectation.interfaces.is_empty() {
            problem.help("if only one incoming interface is meant, name it: `on: eth0`")
        } else {
            problem
        })
    }

    /// Tells what happens to the packets that open a connection from `source` to `port`, instead of what is expected.
    fn message(&self, opened: &[(Packet, Trace<'_>)], source: &str, port: Target) -> Option<String> {
        let (last, trace) = opened.last()?;
        let is = in_words(trace.verdict);
        let whose = match opened.len() {
            1 => "",
            _ if trace.verdict == Verdict::Allow => "",
            2 => "the answer ",
            _ => "what follows the answer ",
        };
        let is_translated = opened.first().is_some_and(|(packet, _)| packet.translated.is_some());
        Some(match (self.expectation.allow, trace.verdict) {
            (true, Verdict::Deny | Verdict::Reject) if is_translated && opened.len() == 2 => {
                let from = last.source;
                format!("it can't be proved that {source} reaches {port}: the answer of a container at {from} {is}")
            }
            (_, Verdict::Unknown) => {
                let doubt = trace.doubt().map_or("the rules can't be followed", |doubt| doubt.as_ref());
                format!("it can't be proved whether {source} reaches {port}: {doubt}")
            }
            (true, _) => format!("{source} is expected to reach {port}, and {whose}{is}"),
            (false, _) => format!("{source} is expected not to reach {port}, and {is}"),
        })
    }

    /// The verdicts on the packets that open a connection. If the rules tell containers apart, the container that
    /// answers is one whose answer does not pass.
    fn opened(&self, packet: &Packet) -> Vec<(Packet, Trace<'_>)> {
        let from = |address| {
            let translated = packet.translated.map(|to| Translation { address, ..to });
            open_through_table(self.id, self.table, &Packet { translated, ..packet.clone() })
        };
        let passes =
            |opened: &[(Packet, Trace<'_>)]| opened.last().is_none_or(|(_, trace)| trace.verdict == Verdict::Allow);
        let Some(usual) = packet.translated.filter(|to| is_any_container(to.address)) else {
            return open_through_table(self.id, self.table, packet);
        };
        let opened = from(usual.address);
        if !passes(&opened) {
            return opened;
        }
        let named = self.table.sets.values().flat_map(|set| set.elements.bounds().take(MOST_NAMED));
        let named = named.filter_map(|(first, _)| crate::net::address(first));
        let mut others = named.filter(|address| may_be_container(*address)).map(from);
        others.find(|other| !passes(other)).unwrap_or(opened)
    }

    /// How the packet comes in, where that matters.
    fn way(&self, place: usize, packet: &Packet) -> String {
        let Some(place) = self.space.places.get(place) else { return String::new() };
        let name = match &packet.incoming {
            crate::simulate::Interface::Named(name) => name.as_str(),
            _ => "",
        };
        let name = name.strip_suffix('/').map_or_else(|| name.to_owned(), |begin| format!("{begin}*"));
        let outside =
            self.space.places.iter().filter(|place| !place.incoming.containers && place.published.is_none());
        let by = match place.incoming.containers {
            true => format!(" from a container ({name})"),
            false if name == "*" && outside.count() > 1 => " by an interface that no rule names".to_owned(),
            false if name == "*" => String::new(),
            false => format!(" by {name}"),
        };
        if place.published.is_some() { format!("{by}, where a container publishes the port,") } else { by }
    }
}

/// The interfaces that both patterns match.
fn narrower<'a>(a: &'a IfPattern, b: &'a IfPattern) -> Option<&'a IfPattern> {
    let within = |one: &IfPattern, other: &IfPattern| {
        if other.wildcard { one.name.starts_with(&other.name) } else { one == other }
    };
    if within(a, b) { Some(a) } else { within(b, a).then_some(b) }
}
