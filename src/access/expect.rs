//! Whether a table does what its policy expects, proved for every source that is meant.
//!
//! Addresses come in by every interface except the containers': policy addresses never mean containers. `any` means
//! every source by every interface except the loopback; an interface means every source by that interface. What is
//! expected of a port must hold both for this machine's own port and for one that a container publishes. Where
//! services tell addresses of this machine apart (`to`), a port counts as open if it is open at one of them, and as
//! shut if it is shut at all of them.

use super::asked::Asked;
use super::opened::{Opened, Readings};
use super::region::{Interval, Region, Regions};
use super::space::{InterfaceClass, Prober, Space, Target, example};
use super::value::may_be_container;
use super::words;
use crate::net::{AddressRange, IfPattern, Version, number};
use crate::policy::Diagnostic;
use crate::resolve::Expectation;
use crate::ruleset::provenance::without_prefix;
use crate::ruleset::{Table, TableId};
use crate::simulate::{Effect, Packet, Step, Trace, Translation, Verdict, open_through_table};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many ranges to name for a broken expectation.
const SHOWN: usize = 3;
/// How many addresses of each set are tried for a container's.
const MOST_NAMED: usize = 1_000;
/// Preferred example sources: addresses for documentation, which belong to nobody.
const EXAMPLES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66)),
];

/// One problem for each expectation that is not met, or can't be proved, with an example and its path.
#[must_use]
pub fn unmet(id: &TableId, table: &Table, expectations: &[Expectation]) -> Vec<Diagnostic> {
    if expectations.is_empty() {
        return Vec::new();
    }
    let mut asked = Asked::default();
    let opened = Opened::new(id, table);
    let [v4, v6] = Version::ALL.map(|version| Readings::new(table, &opened, version, &mut asked));
    let named = expectations.iter().flat_map(|expectation| expectation.interfaces.iter().chain(&expectation.on));
    let ports = expectations.iter().flat_map(|expectation| &expectation.ports);
    for ports in ports {
        let cuts = [u32::from(ports.first), u32::from(ports.last) + 1];
        asked.ports.entry(Some(ports.transport.number())).or_default().extend(cuts);
    }
    asked.protocols.extend(expectations.iter().flat_map(|expectation| &expectation.protocols));
    let space = Space::new(&asked, &[table], named);
    let mut probers = [Prober::new(id, Version::V4, [&v4]), Prober::new(id, Version::V6, [&v6])];
    let mut problems = Vec::new();
    for expectation in expectations {
        let mut court = Court { id, table, space: &space, expectation };
        problems.extend(court.problem(&mut probers));
    }
    problems
}

/// Checks one expectation against the table.
struct Court<'a> {
    id: &'a TableId,
    table: &'a Table,
    space: &'a Space,
    expectation: &'a Expectation,
}

/// Sources whose verdict is not as expected, with a packet that stands for theirs.
struct Breach {
    packet: Packet,
    target: Target,
    sources: Region,
}

impl Court<'_> {
    fn problem(&mut self, probers: &mut [Prober<'_>; 2]) -> Option<Diagnostic> {
        if let Some(nobody) = self.nobody() {
            return Some(nobody);
        }
        let targets: Vec<Target> =
            self.space.targets.iter().copied().filter(|target| self.is_meant(*target)).collect();
        for target in targets {
            let mut breaches = Vec::new();
            for place in 0..self.space.places.len() {
                for prober in &mut *probers {
                    let breach = self.breach(prober, place, target);
                    breaches.extend(breach.map(|breach| (prober.version, place, breach)));
                }
            }
            // Only the sources of the first place that breaks it: other places may have other sources.
            let Some((_, first, _)) = breaches.first() else { continue };
            let first = *first;
            breaches.retain(|(_, place, _)| *place == first);
            return self.diagnostic(probers, first, breaches);
        }
        None
    }

    fn is_meant(&self, target: Target) -> bool {
        match target {
            Target::Ports { protocol, first, .. } => self
                .expectation
                .ports
                .iter()
                .any(|ports| ports.transport.number() == protocol && (ports.first..=ports.last).contains(&first)),
            Target::Protocol(number) => self.expectation.protocols.contains(&number),
            Target::Ping | Target::OtherProtocols(_) => false,
        }
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

    /// The problem of an expectation that is about no interface at all: anything would meet it.
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

    fn breach(&self, prober: &mut Prober<'_>, place: usize, target: Target) -> Option<Breach> {
        let by = self.by(&self.space.places.get(place)?.incoming);
        let wanted = self.wanted(&mut prober.regions, prober.version, &by);
        if wanted == Region::NONE {
            return None;
        }
        let fates = prober.fates(self.space, place, target);
        let regions = &mut prober.regions;
        let name = by.into_iter().flatten().next_back()?;
        let with = |packet: &Packet| packet.clone().coming_in_by(name.as_str());
        if !self.expectation.allow {
            return fates.iter().find_map(|(packet, fates)| {
                let pass = fates.first()?.may_pass(regions);
                let sources = regions.and(wanted, pass);
                (sources != Region::NONE).then(|| Breach { packet: with(packet), target, sources })
            });
        }
        // From each source port, the port must be open at one of the addresses.
        for of_port in fates.chunk_by(|(a, _), (b, _)| a.transport == b.transport) {
            let mut denied = wanted;
            for (_, fates) in of_port {
                let pass = fates.first()?.passes(regions);
                denied = regions.minus(denied, pass);
            }
            if denied != Region::NONE {
                let (packet, _) = of_port.first()?;
                return Some(Breach { packet: with(packet), target, sources: denied });
            }
        }
        None
    }

    fn diagnostic(
        &self,
        probers: &mut [Prober<'_>; 2],
        place: usize,
        breaches: Vec<(Version, usize, Breach)>,
    ) -> Option<Diagnostic> {
        let mut ranges = Vec::new();
        for (version, _, breach) in &breaches {
            let prober = probers.iter_mut().find(|prober| prober.version == *version)?;
            let regions = &mut prober.regions;
            // The loopback's addresses were left out of `any`; don't print a gap for them.
            let (first, last) = loopback(*version);
            let between = |sources| regions.contains(sources, first - 1) && regions.contains(sources, last + 1);
            let gap = if between(breach.sources) { regions.of(vec![(first, last)]) } else { Region::NONE };
            let sources = regions.or(breach.sources, gap);
            ranges.extend(words::ranges(*version, regions, sources));
        }
        let everyone = ranges == ["0.0.0.0/0", "::/0"];
        let (version, _, breach) = breaches.into_iter().next()?;
        let prober = probers.iter().find(|prober| prober.version == version)?;
        let source = an_example(version, &prober.regions, breach.sources)?;
        let packet = Packet { source, ..breach.packet };
        let opened = self.opened(&packet);
        let (_, trace) = opened.last()?;
        let way = self.way(place, &packet);
        let port = breach.target;
        let is = match trace.verdict {
            Verdict::Allow => "is allowed",
            Verdict::Deny => "is denied",
            Verdict::Reject => "is rejected",
            Verdict::Unknown => "may be either",
        };
        let whose = match opened.len() {
            1 => "",
            _ if trace.verdict == Verdict::Allow => "",
            2 => "the answer ",
            _ => "what follows the answer ",
        };
        let message = match (self.expectation.allow, trace.verdict) {
            (true, Verdict::Deny | Verdict::Reject) if packet.translated.is_some() && opened.len() == 2 => {
                let from = opened.last().map_or(source, |(answer, _)| answer.source);
                format!(
                    "it can't be proved that {source}{way} reaches {port}: the answer of a container at {from} {is}"
                )
            }
            (_, Verdict::Unknown) => {
                let doubt = trace.doubt().map_or("the rules can't be followed", |doubt| doubt.as_ref());
                format!("it can't be proved what becomes of {source}{way} at {port}: {doubt}")
            }
            (true, _) => format!("{source}{way} is expected to reach {port}, and {whose}{is}"),
            (false, _) => format!("{source}{way} is expected not to reach {port}, and {is}"),
        };
        let label = match everyone {
            true => "whatever the address".to_owned(),
            false if ranges.len() == 1 && ranges.first() == Some(&source.to_string()) => is.to_owned(),
            false => format!("not as expected: {}", words::in_short(&ranges, SHOWN)),
        };
        let path = path(&opened);
        let problem = Diagnostic::at(self.expectation.span, message).label(label).path(path);
        let named = self.space.places.get(place).is_some_and(|place| !place.incoming.names.is_empty());
        Some(if named && self.expectation.on.is_empty() && self.expectation.interfaces.is_empty() {
            problem.help("to speak of what comes in by one interface only, name it: `on: eth0`")
        } else {
            problem
        })
    }

    /// What becomes of the packets that open a connection. The container that answers is one that gets no answer
    /// through, if the rules tell containers apart.
    fn opened(&self, packet: &Packet) -> Vec<(Packet, Trace<'_>)> {
        let from = |address| {
            let translated = packet.translated.map(|to| Translation { address, ..to });
            open_through_table(self.id, self.table, &Packet { translated, ..packet.clone() })
        };
        let passes =
            |opened: &[(Packet, Trace<'_>)]| opened.last().is_none_or(|(_, trace)| trace.verdict == Verdict::Allow);
        let Some(usual) = packet.translated else { return open_through_table(self.id, self.table, packet) };
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

/// The loopback's addresses: no packet comes in with them.
const fn loopback(version: Version) -> Interval {
    match version {
        Version::V4 => (0x7f00_0000, 0x7fff_ffff),
        Version::V6 => (1, 1),
    }
}

/// The interfaces that both patterns match.
fn narrower<'a>(a: &'a IfPattern, b: &'a IfPattern) -> Option<&'a IfPattern> {
    let within = |one: &IfPattern, other: &IfPattern| {
        if other.wildcard { one.name.starts_with(&other.name) } else { one == other }
    };
    if within(a, b) { Some(a) } else { within(b, a).then_some(b) }
}

fn interval(version: Version, range: AddressRange) -> Option<Interval> {
    let (first, last): (IpAddr, IpAddr) = match range {
        AddressRange::V4(first, last) if version == Version::V4 => (first.into(), last.into()),
        AddressRange::V6(first, last) if version == Version::V6 => (first.into(), last.into()),
        _ => return None,
    };
    Some((number(first), number(last)))
}

/// One of the sources: a documentation address, or the first that could be a host's.
fn an_example(version: Version, regions: &Regions, sources: Region) -> Option<IpAddr> {
    let known = EXAMPLES.into_iter().filter(|address| address.is_ipv4() == (version == Version::V4));
    let mut known = known.filter(|address| regions.contains(sources, number(*address)));
    // No host has an address in 0.0.0.0/8.
    let ordinary = regions.intervals(sources).iter().find(|(_, last)| *last > 0x00ff_ffff);
    let ordinary = ordinary.map(|&(first, _)| if version == Version::V4 { first.max(0x0100_0000) } else { first });
    let first = ordinary.or_else(|| regions.intervals(sources).first().map(|&(first, _)| first));
    known.next().or_else(|| version.address(first?))
}

/// The steps of the packets in words, one per line.
fn path(opened: &[(Packet, Trace<'_>)]) -> Vec<String> {
    let passes = opened.last().is_none_or(|(_, trace)| trace.verdict == Verdict::Allow);
    let mut path = Vec::new();
    for ((_, trace), heading) in opened.iter().zip([None, Some("the answer:"), Some("what follows the answer:")]) {
        // If they all pass, the first is what was asked about.
        if heading.is_none() || !passes {
            path.extend(heading.map(str::to_owned));
            // The policy of a base chain that lets a packet on to the next one decides nothing.
            let decides = |(index, step): &(usize, &Step<'_>)| {
                step.rule.is_some() || step.effect != Effect::Accept || index + 1 == trace.steps.len()
            };
            path.extend(trace.steps.iter().enumerate().filter(decides).map(|(_, step)| self::step(step)));
        }
    }
    path
}

fn step(step: &Step<'_>) -> String {
    let sentence = match step.comment() {
        Some(comment) => without_prefix(comment).to_owned(),
        None => step.text(),
    };
    let effect = match step.effect {
        Effect::Continue => "goes on".to_owned(),
        Effect::Jump(chain) | Effect::Goto(chain) => format!("to {chain}"),
        Effect::Return => "back".to_owned(),
        Effect::Accept => "accepted".to_owned(),
        Effect::Drop => "dropped".to_owned(),
        Effect::Reject => "rejected".to_owned(),
        Effect::Translate(_) => "its destination is translated".to_owned(),
        Effect::TranslateSource => "its source is translated".to_owned(),
        Effect::Unknown => "unknown".to_owned(),
    };
    format!("{}: {sentence}: {effect}", step.chain)
}
