//! Expectations with `to`: connections to elsewhere, from this machine, its containers or others.
//!
//! Like expectations of connections to this machine, they are proved for every source. Destinations that no rule
//! tells apart form a class, and one of each class is tried. So do incoming interfaces and outgoing interfaces. Each
//! user that a rule names is tried, and one that no rule names. What is always allowed is left out: this machine to
//! its containers, and containers to containers.

use super::asked::{Asked, Asks};
use super::evaluate::Evaluator;
use super::proof::{Counterexample, an_example, interval, is_meant, loopback, path};
use super::reading::Reading;
use super::region::{Region, Regions};
use super::space::{InterfaceClass, Space, Target, behind_unreachable, interfaces, is_reachable};
use super::translations::without_translations;
use crate::net::{IfPattern, Version, number};
use crate::policy::Diagnostic;
use crate::resolve::{Elsewhere, Expectation};
use crate::ruleset::{KeyType, Table, TableId};
use crate::simulate::{Hidden, Packet, Transport, Verdict, simulate_table};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many destinations are tried for one way before a proof is given up.
const MAX_DESTINATIONS: usize = 65_536;

/// Who opens a connection.
#[derive(Clone)]
enum Opener {
    /// A program of this user on this machine.
    User(u32),
    /// Whoever sends by an interface of this class.
    By { interface: String, containers: bool },
}

/// One problem for each expectation with `to` that is not met, or can't be proved.
pub(super) fn unmet(
    id: &TableId,
    table: &Table,
    expectations: &[Expectation],
    asked: &Asked<'_>,
    space: &Space,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for expectation in expectations {
        let Some(elsewhere) = &expectation.elsewhere else { continue };
        let leaving = interfaces(&asked.outgoing, &[table], &elsewhere.interfaces);
        let mut checker = ElsewhereChecker { id, table, space, expectation, elsewhere, leaving };
        problems.extend(checker.problem());
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
    fn problem(&mut self) -> Option<Diagnostic> {
        let openers = self.openers();
        let ways: Vec<(Opener, String)> = openers.iter().flat_map(|opener| self.ways(opener)).collect();
        if ways.is_empty() {
            let message = "nobody is meant by this expectation: what `from` and `to` name is never on the way";
            return Some(Diagnostic::at(self.expectation.span, message).help("correct `from`, `to` or `on`"));
        }
        for version in Version::ALL {
            let mut asked = Asked::default();
            let reading = Reading::new(self.table, version, Asks::First, &mut asked);
            let mut prover = Prover {
                version,
                regions: Regions::new(version.last_address()),
                evaluator: Evaluator::new(self.id, self.table, &reading, version),
            };
            let targets = self.space.targets.iter().filter(|target| is_meant(self.expectation, **target));
            for (number, target) in targets.enumerate() {
                for (at, (opener, leaving)) in ways.iter().enumerate() {
                    // Numbers that no other packet of this proof has.
                    let place = number * ways.len() + at;
                    match self.counterexample(&mut prover, place, opener, leaving, *target) {
                        Ok(None) => {}
                        Ok(Some(found)) => return self.diagnostic(&prover, found),
                        Err(problem) => return Some(*problem),
                    }
                }
            }
        }
        None
    }

    /// The users of this machine that are meant, and one of each class of interfaces that are.
    fn openers(&self) -> Vec<Opener> {
        let mut users: BTreeSet<u32> = self.elsewhere.users.clone();
        if self.elsewhere.host {
            let sets = self.table.sets.values().filter(|set| set.spec.key == KeyType::UID);
            let keys =
                sets.flat_map(|set| set.elements.bounds().map(|(first, _)| first.to_vec()).collect::<Vec<_>>());
            users.extend(keys.filter_map(|key| Some(u32::from_ne_bytes(key.try_into().ok()?))));
            let other = (0..u32::MAX).find(|user| !users.contains(user));
            users.extend(other);
        }
        let mut openers: Vec<Opener> = users.into_iter().map(Opener::User).collect();
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
        let inside = matches!(opener, Opener::User(_) | Opener::By { containers: true, .. });
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
            Opener::User(_) => return Region::ALL,
            Opener::By { interface, .. } => self.expectation.interfaces.iter().any(|named| named.covers(interface)),
        };
        let own = regions.of(vec![loopback(version)]);
        if self.expectation.any || by_interface {
            return regions.minus(Region::ALL, own);
        }
        let intervals = self.expectation.addresses.ranges().filter_map(|range| interval(version, range));
        regions.of(intervals.collect())
    }

    /// A packet that is not treated as expected, if there is one this way.
    ///
    /// # Errors
    /// Rules that tell too many destinations apart.
    fn counterexample(
        &self,
        prover: &mut Prover<'_>,
        place: usize,
        opener: &Opener,
        leaving: &str,
        target: Target,
    ) -> Result<Option<Counterexample>, Box<Diagnostic>> {
        let version = prover.version;
        let wanted = self.wanted(&mut prover.regions, version, opener);
        if wanted == Region::NONE {
            return Ok(None);
        }
        // An address that no interface of `to` names may be behind the interface by which the packet leaves.
        let everywhere = self.elsewhere.any || self.elsewhere.interfaces.iter().any(|named| named.covers(leaving));
        let meant: Vec<(u128, u128)> = if everywhere {
            vec![(number(example(version)), version.last_address())]
        } else {
            self.elsewhere.addresses.ranges().filter_map(|range| interval(version, range)).collect()
        };
        let is_meant =
            |point: u128| everywhere || meant.iter().any(|(first, last)| (*first..=*last).contains(&point));
        let behind = behind_unreachable(version).into_iter().filter(|point| is_meant(*point));
        let mut waiting: Vec<u128> = behind.chain(meant.iter().map(|(first, _)| *first)).collect();
        // Of the ports that a program gets: what DHCP clients send from theirs needs no rule.
        let source_port = self.space.source_ports(target).first().copied().flatten();
        let (mut tried, mut rules) = (BTreeSet::new(), BTreeSet::new());
        while let Some(point) = waiting.pop() {
            let Some(destination) = version.address(point).filter(is_reachable) else { continue };
            if !tried.insert(point) {
                continue;
            }
            if tried.len() > MAX_DESTINATIONS {
                let message =
                    format!("it can't be proved: rules tell more than {MAX_DESTINATIONS} destinations apart");
                let problem = Diagnostic::at(self.expectation.span, message);
                return Err(Box::new(problem.help("name fewer destinations in `to`")));
            }
            let packet = packet(version, opener, leaving, destination, (target, source_port));
            let outcomes = prover.evaluator.outcomes(&mut prover.regions, place, &packet, Hidden::Client);
            let regions = &mut prover.regions;
            let sources = if self.expectation.allow {
                let passes = outcomes.passes(regions);
                regions.minus(wanted, passes)
            } else {
                let may = outcomes.may_pass(regions);
                regions.and(wanted, may)
            };
            if sources != Region::NONE {
                return Ok(Some(Counterexample { packet, target, sources }));
            }
            for rule in outcomes.destinations.iter().filter(|rule| rules.insert(**rule)) {
                let tests = prover.evaluator.rule(*rule).map(|rule| rule.destinations.clone()).unwrap_or_default();
                let cuts = tests.into_iter().flat_map(|test| test.cuts(version));
                waiting.extend(cuts.filter(|cut| is_meant(*cut)));
            }
        }
        Ok(None)
    }

    fn diagnostic(&self, prover: &Prover<'_>, found: Counterexample) -> Option<Diagnostic> {
        let of_host = found.packet.user;
        let source = match of_host {
            Some(_) => host(prover.version),
            None => an_example(prover.version, &prover.regions, found.sources)?,
        };
        let packet = Packet { source, ..found.packet };
        let table = without_translations(self.table);
        let trace = simulate_table(self.id, &table, &packet);
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
        let message = match (self.expectation.allow, trace.verdict) {
            (_, Verdict::Unknown) => {
                let doubt = trace.doubt().map_or("the rules can't be followed", |doubt| doubt.as_ref());
                format!("it can't be proved whether {who} may open {where_to}: {doubt}")
            }
            (true, _) => format!("{who} is expected to open {where_to}, and {is}"),
            (false, _) => format!("{who} is expected not to open {where_to}, and {is}"),
        };
        Some(Diagnostic::at(self.expectation.span, message).label(is).path(path(&[(packet, trace)])))
    }
}

/// The table, for packets of one version.
struct Prover<'t> {
    version: Version,
    regions: Regions,
    evaluator: Evaluator<'t>,
}

/// The packet that stands for a class.
fn packet(
    version: Version,
    opener: &Opener,
    leaving: &str,
    destination: IpAddr,
    (target, source_port): (Target, Option<u16>),
) -> Packet {
    let source = host(version);
    let transport = match target {
        Target::Ports { protocol, first, .. } => {
            Transport::Ports { protocol, source: source_port, destination: first }
        }
        Target::Ping => Transport::echo_request(source),
        Target::Protocol(number) | Target::OtherProtocols(number) => Transport::Other(number),
    };
    let packet = match opener {
        Opener::User(user) => Packet::from_machine(source, destination, transport).sent_by(*user),
        Opener::By { interface, .. } => {
            Packet::through(source, destination, transport).coming_in_by(interface.as_str())
        }
    };
    packet.leaving_by(leaving)
}

/// An address of this machine.
const fn host(version: Version) -> IpAddr {
    match version {
        Version::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        Version::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    }
}

/// An address elsewhere that no policy is expected to name.
const fn example(version: Version) -> IpAddr {
    match version {
        Version::V4 => IpAddr::V4(Ipv4Addr::new(198, 18, 0, 9)),
        Version::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9)),
    }
}
