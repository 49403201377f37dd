//! Expectations with `to`: connections to elsewhere, from this machine, its containers or others.
//!
//! Like expectations of connections to this machine, they are proved for every source. Destinations that no rule
//! tells apart form a class, and one of each class is tried, for all sources at once. So are incoming and outgoing
//! interfaces. Each user that a rule names is tried, and one that no rule names. A connection is open only if the table
//! also passes the answer, and what follows it. What is always allowed is left out: this machine to
//! its containers, and containers to containers.

use super::asked::Asked;
use super::destinations::Explorer;
use super::opened::{Opened, Readings};
use super::proof::{Counterexample, an_example, interval, is_meant, loopback, path};
use super::region::{Region, Regions};
use super::space::{InterfaceClass, Space, Target, interfaces, machine};
use super::translations::without_translations;
use super::ways::{Opener, another, own_sources, packet, users};
use crate::net::{IfPattern, Version};
use crate::policy::Diagnostic;
use crate::resolve::{Elsewhere, Expectation};
use crate::ruleset::{Table, TableId};
use crate::simulate::{Packet, Verdict, open_through_table};
use std::collections::BTreeSet;

/// One problem for each expectation with `to` that is not met, or can't be proved. `named` are the interfaces that
/// expectations name.
pub(super) fn unmet<'n>(
    id: &TableId,
    table: &Table,
    expectations: &[Expectation],
    named: impl IntoIterator<Item = &'n IfPattern>,
) -> Vec<Diagnostic> {
    let with_to = || expectations.iter().filter_map(|one| Some((one, one.elsewhere.as_deref()?)));
    if with_to().next().is_none() {
        return Vec::new();
    }
    let mut asked = Asked::default();
    let opened = Opened::elsewhere(id, table);
    let readings = Version::ALL.map(|version| Readings::new(table, &opened, version, &mut asked));
    asked.also_tells(expectations);
    let space = Space::new(&asked, &[table], named);
    let mut explorers: Vec<Explorer<'_>> = Vec::new();
    for (version, readings) in Version::ALL.into_iter().zip(&readings) {
        explorers.push(Explorer::new(id, version, [readings]));
    }
    let plain = without_translations(table);
    let mut problems = Vec::new();
    let mut place = 0;
    for (expectation, elsewhere) in with_to() {
        let leaving = interfaces(&asked.outgoing, &[table], &elsewhere.interfaces);
        let checker = ElsewhereChecker { id, table: &plain, space: &space, expectation, elsewhere, leaving };
        problems.extend(checker.problem(&mut explorers, &mut place));
    }
    problems
}

/// Checks one expectation with `to` against the table.
struct ElsewhereChecker<'a> {
    id: &'a TableId,
    table: &'a Table,
    space: &'a Space,
    expectation: &'a Expectation,
    elsewhere: &'a Elsewhere,
    /// The classes of interfaces that packets leave by.
    leaving: Vec<InterfaceClass>,
}

impl ElsewhereChecker<'_> {
    fn problem(&self, explorers: &mut [Explorer<'_>], place: &mut usize) -> Option<Diagnostic> {
        let openers = self.openers();
        let ways: Vec<(Opener, String)> = openers.iter().flat_map(|opener| self.ways(opener)).collect();
        if ways.is_empty() {
            let message = "nobody is meant by this expectation: what `from` and `to` name is never on the way";
            return Some(Diagnostic::at(self.expectation.span, message).help("correct `from`, `to` or `on`"));
        }
        // Numbers that no other way of this proof has.
        let first = *place;
        *place += ways.len();
        for explorer in explorers {
            for target in self.space.targets.iter().filter(|target| is_meant(self.expectation, **target)) {
                for (at, (opener, leaving)) in ways.iter().enumerate() {
                    if let Some(found) = self.counterexample(explorer, first + at, opener, leaving, *target) {
                        return self.diagnostic(explorer, found);
                    }
                }
            }
        }
        None
    }

    /// The users of this machine that are meant, and one of each class of interfaces that are.
    fn openers(&self) -> Vec<Opener> {
        let mut users_meant: BTreeSet<u32> = self.elsewhere.users.clone();
        if self.elsewhere.host {
            users_meant.extend(users(self.table));
            users_meant.extend(another(&users_meant));
        }
        let mut openers: Vec<Opener> = users_meant.into_iter().map(Opener::User).collect();
        let expectation = self.expectation;
        let one_of = |class: &InterfaceClass, named: &BTreeSet<IfPattern>| {
            named.iter().find_map(|named| class.one_of(named)).map(str::to_owned)
        };
        let by_address = expectation.any || !expectation.addresses.is_empty();
        for place in self.space.places.iter().filter(|place| place.published.is_none()) {
            let class = &place.incoming;
            let on =
                if expectation.on.is_empty() { Some(class.example.clone()) } else { one_of(class, &expectation.on) };
            let outside = !class.containers || !expectation.on.is_empty() || expectation.any;
            let interface = match on.filter(|_| by_address && outside) {
                Some(name) => Some(name),
                None => one_of(class, &expectation.interfaces)
                    .filter(|name| expectation.on.is_empty() || expectation.on.iter().any(|on| on.covers(name))),
            };
            openers.extend(interface.map(|interface| Opener::By { interface, containers: class.containers }));
        }
        openers
    }

    /// An opener with one of each class of interfaces that its packets may leave by on the way to what is meant.
    fn ways(&self, opener: &Opener) -> Vec<(Opener, String)> {
        let inside = opener.is_inside();
        let named = &self.elsewhere.interfaces;
        let mut ways = Vec::new();
        for class in &self.leaving {
            let by_name = named.iter().find_map(|named| class.one_of(named)).map(str::to_owned);
            // An address may be behind any interface, but what is always allowed is not meant.
            let by_address = (self.elsewhere.any || !self.elsewhere.addresses.is_empty())
                && !(class.containers && (inside || self.expectation.allow));
            let leaving = by_name.or_else(|| by_address.then(|| class.example.clone()));
            ways.extend(leaving.map(|leaving| (opener.clone(), leaving)));
        }
        ways
    }

    /// The sources that are meant. This machine's own may be any.
    fn wanted(&self, regions: &mut Regions, version: Version, opener: &Opener) -> Region {
        let by_interface = match opener {
            Opener::User(_) => return own_sources(regions, version),
            Opener::By { interface, .. } => self.expectation.interfaces.iter().any(|named| named.covers(interface)),
        };
        let own = regions.of(vec![loopback(version)]);
        if self.expectation.any || by_interface {
            return regions.minus(Region::ALL, own);
        }
        let intervals = self.expectation.addresses.ranges().filter_map(|range| interval(version, range));
        regions.of(intervals.collect())
    }

    /// The destinations that are meant, behind an interface.
    fn destinations(&self, regions: &mut Regions, version: Version, leaving: &str) -> Region {
        // An address that no interface of `to` names may be behind the interface by which the packet leaves.
        if self.elsewhere.any || self.elsewhere.interfaces.iter().any(|named| named.covers(leaving)) {
            return Region::ALL;
        }
        let intervals = self.elsewhere.addresses.ranges().filter_map(|range| interval(version, range));
        regions.of(intervals.collect())
    }

    /// A packet that is not treated as expected, if there is one this way.
    fn counterexample(
        &self,
        explorer: &mut Explorer<'_>,
        place: usize,
        opener: &Opener,
        leaving: &str,
        target: Target,
    ) -> Option<Counterexample> {
        let version = explorer.version;
        let wanted = self.wanted(&mut explorer.regions, version, opener);
        let meant = self.destinations(&mut explorer.regions, version, leaving);
        if wanted == Region::NONE {
            return None;
        }
        // Of the ports that a program gets: what DHCP clients send from theirs needs no rule.
        let source_port = self.space.source_ports(target).first().copied().flatten();
        let to = |destination| packet(opener, leaving, destination, (target, source_port));
        let classes = explorer.classes(place, meant, to);
        let regions = &mut explorer.regions;
        classes.into_iter().find_map(|class| {
            let outcomes = class.outcomes.first()?;
            let sources = if self.expectation.allow {
                let passes = outcomes.passes(regions);
                regions.minus(wanted, passes)
            } else {
                let may = outcomes.may_pass(regions);
                regions.and(wanted, may)
            };
            (sources != Region::NONE).then_some(Counterexample { packet: class.packet, target, sources })
        })
    }

    fn diagnostic(&self, explorer: &Explorer<'_>, found: Counterexample) -> Option<Diagnostic> {
        let of_host = found.packet.user;
        let source = match of_host {
            Some(_) => machine(explorer.version),
            None => an_example(explorer.version, &explorer.regions, found.sources)?,
        };
        let opened = open_through_table(self.id, self.table, &Packet { source, ..found.packet });
        let (packet, _) = opened.first()?;
        let (_, trace) = opened.last()?;
        let named = |interface: &crate::simulate::Interface| match interface {
            crate::simulate::Interface::Named(name) if !name.ends_with('/') => Some(name.clone()),
            _ => None,
        };
        let who = match (of_host, named(&packet.incoming)) {
            (Some(user), _) => format!("a program of user {user}"),
            (None, Some(name)) => format!("{source} by {name}"),
            (None, None) => source.to_string(),
        };
        let leaves = named(&packet.outgoing).map(|name| format!(" by {name}")).unwrap_or_default();
        let where_to = format!("{} of {}{leaves}", found.target, packet.destination);
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
            (_, Verdict::Unknown) => {
                let doubt = trace.doubt().map_or("the rules can't be followed", |doubt| doubt.as_ref());
                format!("it can't be proved whether {who} may open {where_to}: {doubt}")
            }
            (true, _) => format!("{who} is expected to open {where_to}, and {whose}{is}"),
            (false, _) => format!("{who} is expected not to open {where_to}, and {is}"),
        };
        Some(Diagnostic::at(self.expectation.span, message).label(is).path(path(&opened)))
    }
}
