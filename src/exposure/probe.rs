//! Probes one port from all sources: behind each interface, to each address that is listened on.

use super::ask::{Observed, PortProber, ProbePacket};
use super::reach::{Clause, Label, Reach};
use super::rows::{Purpose, Row};
use super::zones::{EVERYONE, Interval, Part, cut, part, parts};
use super::{Interface, Machine};
use crate::net::Version;
use crate::simulate::is_link_local;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// How many parts are probed behind one interface.
const MOST_PARTS: usize = 4096;

/// Probes ports from behind each interface.
pub(super) struct Probe<'m> {
    machine: &'m Machine<'m>,
    version: Version,
    cuts: &'m BTreeSet<u128>,
    prober: PortProber<'m>,
    /// By the interface's index, and whether only its neighbours are meant.
    parts: BTreeMap<(usize, bool), Vec<Part>>,
}

/// Which addresses of this machine are probed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// All of its addresses.
    Everywhere,
    /// One that the whole world may send to.
    Address(IpAddr),
    /// One that only neighbours can send to: a loopback, multicast or broadcast address.
    Near(IpAddr),
}

/// Who reaches a port through one interface.
struct Behind {
    interface: usize,
    reach: Reach,
    /// The same, part by part.
    parts: Vec<(Interval, Reach)>,
    /// Whether one of the addresses is one that only neighbours can send to.
    near: bool,
    by_group: BTreeSet<String>,
}

impl<'m> Probe<'m> {
    pub(super) fn new(
        machine: &'m Machine<'m>,
        version: Version,
        cuts: &'m BTreeSet<u128>,
        prober: PortProber<'m>,
    ) -> Self {
        Self { machine, version, cuts, prober, parts: BTreeMap::new() }
    }

    /// Who reaches it over this IP version; `None` where nobody listens.
    pub(super) fn reach(&mut self, row: &mut Row) -> Option<Reach> {
        if !row.bound.iter().any(|(address, both)| takes(*address, *both, self.version)) {
            return None;
        }
        let places = self.places(row);
        if places.is_empty() {
            return Some(Reach::nobody());
        }
        let (mut outside, mut containers) = (Vec::new(), Vec::new());
        let machine = self.machine;
        for (index, interface) in machine.interfaces.iter().enumerate() {
            if row.interface.as_ref().is_some_and(|only| *only != interface.name) {
                continue;
            }
            let Some(behind) = self.behind(row, index, &places) else { continue };
            if interface.containers { containers.push(behind) } else { outside.push(behind) }
        }
        let reach = self.outside(&outside, &containers).or(self.containers(&containers));
        if row.last != row.port && !machine.ports_listed {
            return Some(Reach::unknown("which ports of the range sets name is not known".into()));
        }
        Some(match &machine.beyond {
            // The effect of those rules is unknown for every source.
            Some(why) if !(outside.is_empty() && containers.is_empty()) => Reach::unknown(why.clone()),
            _ => reach,
        })
    }

    fn places(&self, row: &Row) -> Vec<At> {
        let mut places = Vec::new();
        for (address, both) in &row.bound {
            if !takes(*address, *both, self.version) {
                continue;
            }
            places.push(match address {
                address if address.is_unspecified() => At::Everywhere,
                // The kernel lets nothing in to it from outside.
                address if *address == IpAddr::V6(Ipv6Addr::LOCALHOST) => continue,
                address if is_near(*address, self.machine) => At::Near(*address),
                address => At::Address(*address),
            });
        }
        places
    }

    /// Who reaches it through an interface; `None` if nobody can be behind it, or if they reach the port another way.
    fn behind(&mut self, row: &mut Row, index: usize, places: &[At]) -> Option<Behind> {
        let mut found: Vec<(Interval, Reach)> = Vec::new();
        let mut observed = Observed::default();
        for near in [false, true] {
            let here: Vec<At> = places.iter().copied().filter(|at| matches!(at, At::Near(_)) == near).collect();
            if !here.is_empty() {
                self.ask(row, index, (near, &here), &mut observed, &mut found)?;
            }
        }
        row.translated.extend(std::mem::take(&mut observed.translated));
        if found.is_empty() || observed.sent_back {
            return None;
        }
        let near = places.iter().any(|at| matches!(at, At::Near(_)));
        found.sort_by_key(|(interval, _)| *interval);
        let reach = folded(self.version, &found);
        Some(Behind { interface: index, reach, parts: found, near, by_group: observed.by_group })
    }

    /// Asks about each part of the sources behind an interface, by one source of each. A part in which the rules that this
    /// source met tell others apart is asked about once more, by a source of the rest.
    fn ask(
        &mut self,
        row: &Row,
        index: usize,
        (near, here): (bool, &[At]),
        observed: &mut Observed,
        found: &mut Vec<(Interval, Reach)>,
    ) -> Option<()> {
        let machine = self.machine;
        let interface = machine.interfaces.get(index)?;
        let mut waiting = self.parts(index, near);
        while let Some(one) = waiting.pop() {
            if found.len() >= MOST_PARTS {
                let why = "rules name more networks than are asked about one by one";
                found.push((one.interval, Reach::unknown(why.into())));
                continue;
            }
            observed.alike = EVERYONE;
            let mut reach = self.of_source(row, interface, (one.source, here), observed);
            let (alike, rest) = one.split(observed.alike);
            if near && !interface.containers {
                reach = reach.within(&Label::Network(self.version.words(alike.0, alike.1)));
            }
            found.push((alike, reach));
            let parts = rest.into_iter().flatten();
            waiting.extend(
                parts.filter_map(|rest| part(interface, &machine.interfaces, self.version, rest, machine.routes)),
            );
        }
        Some(())
    }

    /// Who among the sources that rules treat like this one reaches it, at any of these places.
    fn of_source(
        &self,
        row: &Row,
        interface: &Interface,
        (source, here): (IpAddr, &[At]),
        observed: &mut Observed,
    ) -> Reach {
        let mut reach = Reach::nobody();
        let mut destinations = self.destinations(interface, source, here);
        destinations.retain(|destination| !row.elsewhere.contains(destination));
        for destination in destinations {
            if reach.is_everyone() {
                break;
            }
            let packet = ProbePacket {
                protocol: row.protocol,
                port: row.port,
                source,
                destination,
                interface: &interface.name,
                sends: false,
                purpose: Some(&row.purpose),
            };
            reach = reach.or(self.prober.reach(&packet, observed));
        }
        reach
    }

    fn parts(&mut self, index: usize, near: bool) -> Vec<Part> {
        let (machine, version, cuts) = (self.machine, self.version, self.cuts);
        let known = self.parts.entry((index, near)).or_insert_with(|| {
            let Some(interface) = machine.interfaces.get(index) else { return Vec::new() };
            parts(interface, &machine.interfaces, version, near, cuts, machine.routes)
        });
        known.clone()
    }

    /// The addresses that this source would send to.
    fn destinations(&self, interface: &Interface, source: IpAddr, places: &[At]) -> Vec<IpAddr> {
        let mut destinations = Vec::new();
        for at in places {
            match at {
                At::Address(address) if is_link_local(*address) == is_link_local(source) => {
                    destinations.push(*address)
                }
                At::Address(_) => {}
                At::Near(address) => destinations.push(*address),
                At::Everywhere => {
                    let of = |one: &'m Interface| {
                        let fits = |address: &IpAddr| {
                            Version::of(*address) == self.version && is_link_local(*address) == is_link_local(source)
                        };
                        one.addresses.iter().map(|(address, _)| *address).filter(move |address| fits(address))
                    };
                    let own = self.machine.interfaces.iter().filter(|one| one.name == interface.name);
                    let others =
                        self.machine.interfaces.iter().filter(|one| one.name != interface.name && !one.containers);
                    destinations.extend(own.flat_map(of));
                    if !is_link_local(source) {
                        destinations.extend(others.flat_map(of));
                    }
                }
            }
        }
        destinations
    }

    /// Who reaches it except containers: what holds for every interface, and what holds for some.
    fn outside(&self, outside: &[Behind], containers: &[Behind]) -> Reach {
        let agreed = agreed(outside).map(|parts| folded(self.version, &parts));
        let plain = agreed.unwrap_or_else(|| {
            together(outside, |behind| {
                let mut groups = behind.by_group.iter().filter(|group| *group != "containers");
                match (groups.next(), groups.next()) {
                    (Some(group), None) => Label::Group(group.clone()),
                    _ => Label::By(self.name(behind)),
                }
            })
        });
        let mut reach = Reach { who: Vec::new(), unknown: plain.unknown };
        for clause in plain.who {
            // "Everyone" includes containers unless they are excepted, and so does a list with an address of theirs.
            let is_among = |behind: &&Behind| behind.reach.covers(&clause) || !behind.reach.unknown.is_empty();
            let left_out: Vec<&Behind> = containers
                .iter()
                .filter(|behind| !is_among(behind))
                .filter(|behind| self.machine.may_be_among(behind.interface, &clause, self.version))
                .collect();
            let left_out: Vec<Label> = if left_out.len() == containers.len() && !left_out.is_empty() {
                vec![Label::Containers]
            } else {
                left_out.into_iter().map(|behind| Label::ContainersBy(self.name(behind))).collect()
            };
            let one = Reach { who: vec![clause], unknown: Vec::new() };
            reach = reach.or(left_out.iter().fold(one, Reach::but));
        }
        reach
    }

    fn containers(&self, containers: &[Behind]) -> Reach {
        let all = together(containers, |behind| Label::ContainersBy(self.name(behind)));
        let named = |clause: &Clause| clause.within.iter().any(|label| matches!(label, Label::ContainersBy(_)));
        let with = |clause: Clause| {
            if named(&clause) {
                clause
            } else {
                Clause { within: clause.within.into_iter().chain([Label::Containers]).collect(), but: clause.but }
            }
        };
        Reach {
            who: all.who.into_iter().map(with).collect(),
            unknown: all.unknown.into_iter().map(|(clause, why)| (with(clause), why)).collect(),
        }
    }

    fn name(&self, behind: &Behind) -> String {
        self.machine.interfaces.get(behind.interface).map(|interface| interface.name.clone()).unwrap_or_default()
    }
}

/// Who reaches it in each part of the sources, if that does not depend on the incoming interface, and if no group is
/// told by it.
fn agreed(all: &[Behind]) -> Option<Vec<(Interval, Reach)>> {
    if all.iter().flat_map(|behind| &behind.by_group).any(|group| group != "containers") {
        return None;
    }
    // Each interface's sources are cut at places of their own.
    let bounds = |parts: &[(Interval, Reach)]| -> Vec<u128> {
        parts.iter().flat_map(|((first, last), _)| [Some(*first), last.checked_add(1)]).flatten().collect()
    };
    let cuts: BTreeSet<u128> = all.iter().flat_map(|behind| bounds(&behind.parts)).collect();
    let mut parts: BTreeMap<Interval, &Reach> = BTreeMap::new();
    for ((first, last), reach) in all.iter().flat_map(|behind| &behind.parts) {
        for interval in cut((*first, *last), &cuts) {
            if **parts.entry(interval).or_insert(reach) != *reach {
                return None;
            }
        }
    }
    let near = all.iter().any(|behind| behind.near);
    (!near).then(|| parts.into_iter().map(|(interval, reach)| (interval, reach.clone())).collect())
}

/// Whether a socket that is bound to an address receives packets of an IP version.
const fn takes(address: IpAddr, both: bool, version: Version) -> bool {
    matches!((Version::of(address), version), (Version::V4, Version::V4) | (Version::V6, Version::V6))
        || both && matches!(version, Version::V4)
}

/// What holds for all interfaces, and what holds for some, with their labels.
fn together(all: &[Behind], label: impl Fn(&Behind) -> Label) -> Reach {
    let mut reach = Reach::nobody();
    for behind in all {
        let label = label(behind);
        for clause in &behind.reach.who {
            let everywhere = all.iter().all(|other| other.reach.covers(clause));
            let one = Reach { who: vec![clause.clone()], unknown: Vec::new() };
            reach = reach.or(if everywhere { one } else { one.within(&label) });
        }
        for unknown in &behind.reach.unknown {
            let everywhere =
                all.iter().all(|other| other.reach.unknown.iter().any(|(clause, _)| *clause == unknown.0));
            let one = Reach { who: Vec::new(), unknown: vec![unknown.clone()] };
            reach = reach.or(if everywhere { one } else { one.within(&label) });
        }
    }
    reach
}

/// One formula for the reach of several intervals: that of most addresses, and then the exceptions.
fn folded(version: Version, sorted: &[(Interval, Reach)]) -> Reach {
    let mut runs: Vec<(Interval, &Reach)> = Vec::new();
    for (interval, reach) in sorted {
        match runs.last_mut() {
            // No packet comes from the addresses in between.
            Some((run, before)) if *before == reach => run.1 = run.1.max(interval.1),
            _ => runs.push((*interval, reach)),
        }
    }
    let span = |reach: &Reach| {
        let of = runs.iter().filter(|(_, other)| *other == reach);
        of.fold(0_u128, |sum, ((first, last), _)| sum.saturating_add(last - first))
    };
    let Some(most) = runs.iter().map(|(_, reach)| *reach).max_by_key(|reach| span(reach)) else {
        return Reach::nobody();
    };
    let mut folded = most.clone();
    for (interval, reach) in runs.iter().filter(|(_, reach)| *reach != most) {
        folded = Reach::choose(&Label::Network(version.words(interval.0, interval.1)), reach, &folded);
    }
    folded
}

/// Whether only neighbours can send to an address.
fn is_near(address: IpAddr, machine: &Machine<'_>) -> bool {
    let own = || machine.interfaces.iter().flat_map(|interface| &interface.addresses);
    let broadcast = match address {
        IpAddr::V4(_) => own().any(|(own, prefix)| {
            let network = super::zones::network(*own, *prefix);
            *own != address && *prefix < 31 && network.is_some_and(|network| network.broadcast() == address)
        }),
        IpAddr::V6(_) => false,
    };
    address.is_loopback()
        || address.is_multicast()
        || broadcast
        || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

impl Row {
    /// Whether it is reachable from this machine only.
    #[must_use]
    pub fn is_for_this_machine(&self) -> bool {
        let loopback = self.bound.iter().all(|(address, _)| address.is_loopback());
        loopback || self.interface.as_deref() == Some("lo")
    }

    /// Whether it is a container's.
    #[must_use]
    pub fn is_container(&self) -> bool {
        self.purpose == Purpose::Container
    }
}
