//! The zones' list of rules as services, and what became of each element.

use super::decisions::Read;
use super::definitions::{Definitions, Set};
use super::dispatch::{List, Owner, Part, Says, is_of_engine, known, lists, opens, parts};
use super::expect::{Zones, expectations};
use super::zone::{Act, Bound, Item, Source, What};
use super::{Installation, Sources};
use crate::migrate::Imported;
use crate::migrate::cut::{At, Left, Plan, Slot, Translated, cut, cutters, losers};
use crate::migrate::names::Names;
use crate::migrate::published::closed_now;
use crate::migrate::report::{Entry, Fate, Report, decided};
use crate::migrate::service::{Bridges, Made, Service, Whole, joined, services};
use crate::migrate::spans::InWords;
use crate::migrate::tuple::{Action, Place, Protocol, Tuple};
use crate::migrate::write::{APPLY, CHECK, Document};
use crate::net::Version;
use std::collections::{BTreeMap, BTreeSet};

/// Zones that engines make and bind their bridges to while they run.
const OF_ENGINES: [&str; 4] = ["docker", "libvirt", "libvirt-routed", "netavark_zone"];

pub(super) fn translated(installation: &Installation, sources: &Sources, default: usize) -> Imported {
    let definitions = &sources.definitions;
    let zones: Vec<Read<'_>> = sources.zones.iter().map(|zone| Read::new(zone, definitions)).collect();
    let parts = parts(&zones, default, definitions);
    let plan = plan(&zones, default, opens(&zones, &parts, default));
    let lists = lists(&zones, &parts, plan.default == Action::Allow);
    let all: Vec<&Tuple> = lists.iter().flat_map(|list| &list.tuples).collect();
    let untouched = Translated::default();
    let mut slots = untouched.slots(&all);
    if !slots.contains(&Slot::Ping) {
        slots.push(Slot::Ping);
    }
    let left = lists.each_ref().map(|list| cut(&list.tuples.iter().collect::<Vec<_>>(), &slots, &untouched, plan));
    let bridges = Bridges::of(installation.live.as_ref(), plan.default != Action::Allow);
    let work = Work { zones: &zones, default, lists: &lists, left: &left, slots: &slots, plan, bridges: &bridges };
    let mut report = Report::default();
    let mut names = Names::default();
    let services = joined(work.services(&parts, &mut names, &mut report));
    let bound = of_engines(&zones, &mut report);
    bindings(&zones, definitions, &mut report);
    report.rules.extend(sources.others.rules.iter().cloned());
    of_the_machine(installation, &zones, &parts, default, &mut report);
    if let Some(live) = installation.live.as_ref().filter(|_| !sources.conf.strict_forward_ports) {
        closed_now("firewalld", &services, &live.published, &mut report);
    }
    let zones_of = Zones { all: &zones, default, definitions };
    let document = Document {
        firewall: "firewalld",
        head: head(),
        defaults: defaults(plan),
        host: bound.then_some("deny"),
        denied: Some(if sources.conf.logs_denied { "10/minute" } else { "off" }.to_owned()),
        expect: expectations(&zones_of, &slots),
        named: named(&zones, &parts, definitions),
        services,
        ..Document::default()
    };
    Imported { policy: document.text(), report }
}

fn head() -> Vec<String> {
    vec![
        "Written by `palisade import firewalld`. Read its report, keep this as /etc/palisade/policy.yaml, and then:"
            .to_owned(),
        CHECK.to_owned(),
        APPLY.to_owned(),
    ]
}

/// What happens to what the default zone does not name.
fn plan(zones: &[Read<'_>], default: usize, opens: bool) -> Plan {
    let Some(read) = zones.get(default) else { return Plan { default: Action::Deny, ping: Some(Action::Deny) } };
    let pings = read.in_order().find_map(|(_, act, reading)| {
        let of_all = |version| {
            reading.matches.iter().any(|one| {
                one.version == version && one.protocol == Protocol::Ping && one.is_of_all() && !reading.is_unclear
            })
        };
        Version::ALL.into_iter().all(of_all).then_some(act)
    });
    let action = super::dispatch::action;
    let rest = match read.rest() {
        Act::Accept if !opens => Act::Reject,
        rest => rest,
    };
    Plan { default: action(rest), ping: Some(action(pings.unwrap_or_else(|| read.pings()))) }
}

fn defaults(plan: Plan) -> Vec<(&'static str, String)> {
    let word = |action: Action| action.name().to_owned();
    let ping = if plan.ping == Some(Action::Allow) { Action::Allow } else { Action::Deny };
    // firewalld refuses what no zone and no policy lets through.
    let forward = if plan.default == Action::Deny { Action::Deny } else { Action::Reject };
    vec![
        ("incoming", word(plan.default)),
        ("outgoing", word(Action::Allow)),
        ("forward", word(forward)),
        ("ping", word(ping)),
    ]
}

/// All that is known when services are made.
struct Work<'a> {
    zones: &'a [Read<'a>],
    default: usize,
    lists: &'a [List; 2],
    left: &'a [Vec<Option<Left>>; 2],
    slots: &'a [Slot],
    plan: Plan,
    bridges: &'a Bridges,
}

impl Work<'_> {
    /// The services of all elements, each of which gets its line in the report.
    fn services(&self, parts: &[Part], names: &mut Names, report: &mut Report) -> Vec<Service> {
        let mut all = Vec::new();
        let in_force: BTreeSet<usize> = parts.iter().map(|part| part.zone).collect();
        let mut one_version = None;
        for zone in in_force {
            let Some(read) = self.zones.get(zone) else { continue };
            let items = (0..read.zone.items.len()).map(Says::Item).chain([Says::Pings, Says::Rest]);
            for says in items {
                let owner = Owner { zone, says };
                let mut made = services(&self.left(owner), &self.whole(), self.bridges);
                if self.is_of_dhcp(owner) {
                    made = Made::default();
                }
                one_version = one_version.or(made.one_version);
                let (fate, why) = self.fate(owner, &made);
                let tuple = self.tuples(owner).next().map(|(_, _, tuple)| tuple);
                for service in &mut made.services {
                    service.name = self.name(names, read, says, service, tuple);
                    service.places.dedup();
                }
                let item = owner.item(read);
                let says_nothing = item.is_none() && made.services.is_empty() && fate == Fate::NoEffect;
                if !says_nothing {
                    let rule = item.map_or_else(|| end(read, says), |item| self.named(zone, item));
                    let place = read.zone.place(item.map_or(read.zone.line, |item| item.line));
                    report.rules.push(Entry { fate, rule, places: vec![place], why });
                }
                all.append(&mut made.services);
            }
        }
        if let Some(version) = one_version {
            crate::migrate::service::of_one_version(version, report);
        }
        all
    }

    fn whole(&self) -> Whole<'_> {
        Whole { slots: self.slots, plan: self.plan }
    }

    /// An element with its zone's name.
    fn named(&self, zone: usize, item: &Item) -> String {
        match self.zones.get(zone) {
            Some(read) if zone != self.default => format!("{}: {}", read.zone.name, item.text),
            _ => item.text.clone(),
        }
    }

    /// The rules of an owner: the version, the index in its list, and the rule.
    fn tuples(&self, owner: Owner) -> impl Iterator<Item = (usize, usize, &Tuple)> {
        self.lists.iter().enumerate().flat_map(move |(version, list)| {
            let own = list.owners.iter().zip(&list.tuples).enumerate().filter(move |(_, (of, _))| **of == owner);
            own.map(move |(at, (_, tuple))| (version, at, tuple))
        })
    }

    /// Its rules that have a line in the policy, with what is left of them.
    fn left(&self, owner: Owner) -> Vec<(&Tuple, &Left)> {
        let left =
            |(version, at, tuple): (usize, usize, _)| Some((tuple, self.left.get(version)?.get(at)?.as_ref()?));
        self.tuples(owner).filter_map(left).collect()
    }

    /// Whether it is about answers of DHCP alone, which are always let in.
    fn is_of_dhcp(&self, owner: Owner) -> bool {
        let mut tuples = self.tuples(owner).peekable();
        let answer = |version: Version| if version == Version::V4 { (68, 68) } else { (546, 546) };
        tuples.peek().is_some()
            && tuples.all(|(_, _, tuple)| {
                tuple.action == Action::Allow
                    && tuple.protocol == Protocol::Udp
                    && !tuple.ports.is_empty()
                    && tuple.ports.iter().all(|port| *port == answer(tuple.version))
            })
    }

    fn name(
        &self,
        names: &mut Names,
        read: &Read<'_>,
        says: Says,
        service: &Service,
        tuple: Option<&Tuple>,
    ) -> String {
        let zone = &read.zone.name;
        match (says, tuple) {
            (Says::Pings | Says::Rest, _) if service.ports == ["ping"] => names.free(&format!("{zone}-ping")),
            (Says::Pings | Says::Rest, _) | (_, None) => names.free(zone),
            (Says::Item(_), Some(tuple)) => names.name(service, tuple),
        }
    }

    /// The places of these rules, but for those of an owner.
    fn places(&self, rules: BTreeSet<At>, but: Option<Owner>) -> Vec<String> {
        let place = |(version, at): At| {
            let list = self.lists.get(version)?;
            let (tuple, of) = list.tuples.get(at).zip(list.owners.get(at))?;
            (but != Some(*of)).then(|| (of.zone, tuple.line, tuple.place()))
        };
        let places: BTreeSet<_> = rules.into_iter().filter_map(place).collect();
        places.into_iter().map(|(.., place)| place).collect()
    }

    fn own(&self, owner: Owner) -> BTreeSet<At> {
        self.tuples(owner).map(|(version, at, _)| (version, at)).collect()
    }

    /// The places of elements that lose something to one.
    fn cut_by(&self, owner: Owner) -> Vec<String> {
        self.places(losers(self.left, &self.own(owner)), Some(owner))
    }

    /// The places of elements that decide before one.
    fn cutters(&self, owner: Owner) -> Vec<String> {
        self.places(cutters(self.left, &self.own(owner)), None)
    }

    /// What became of an element or of a zone's end, and why.
    fn fate(&self, owner: Owner, made: &Made) -> (Fate, Vec<String>) {
        let reading = match owner.says {
            Says::Item(at) => self.zones.get(owner.zone).and_then(|read| read.readings.get(at)),
            Says::Pings | Says::Rest => None,
        };
        let (mut fate, mut why) =
            reading.map_or((Fate::Exact, Vec::new()), |reading| (reading.fate, reading.why.clone()));
        if reading.is_some_and(|reading| reading.act.is_none()) || fate == Fate::NotTranslated {
            return (fate, why);
        }
        let accepts = |read: &Read<'_>| read.rest() == Act::Accept;
        if owner.says == Says::Rest && self.zones.get(owner.zone).is_some_and(accepts) {
            why.push("what it sent through this machine is denied; name it in `forward` where it routes".to_owned());
        }
        let Some((_, _, first)) = self.tuples(owner).next() else {
            why.push("nobody of its zone has such an address".to_owned());
            return (fate.max(Fate::NoEffect), why);
        };
        let opens = first.action == Action::Allow;
        let left = self.left(owner);
        let cutters = self.cutters(owner);
        if self.is_of_dhcp(owner) {
            why.push("answers of DHCP are always let in".to_owned());
        } else if left.is_empty() {
            let cut = self.cut_by(owner);
            if !opens && !cut.is_empty() {
                why.push(format!(
                    "taken out of what {} {}",
                    cut.join(", "),
                    if cut.len() == 1 { "allows" } else { "allow" }
                ));
                return (fate, why);
            }
            why.push(if opens { "the default allows it" } else { "the default denies it" }.to_owned());
            fate = fate.max(Fate::NoEffect);
        } else if made.services.is_empty() {
            why.push(if made.is_essential {
                "containers may ask their engine for names and addresses anyway".to_owned()
            } else if left.iter().all(|(_, left)| left.is_nothing()) {
                format!("{} about all of it", decided(&cutters))
            } else {
                "a policy has no word for what is left of it".to_owned()
            });
            let is_lost = made.lost_protocols;
            fate = fate.max(if is_lost { Fate::NotTranslated } else { Fate::NoEffect });
        } else {
            self.of_written(owner, made, &cutters, (&mut fate, &mut why));
        }
        (fate, why)
    }

    fn of_written(&self, owner: Owner, made: &Made, cutters: &[String], (fate, why): (&mut Fate, &mut Vec<String>)) {
        let left = self.left(owner);
        let opens = left.first().is_some_and(|(first, _)| first.action == Action::Allow);
        if !cutters.is_empty() {
            why.push(format!("without what {} before it", decided(cutters)));
        }
        if made.lost_protocols {
            let now = if opens { "closed now; name them if needed: `132/proto`" } else { "open now" };
            *fate = (*fate).max(if opens { Fate::Tighter } else { Fate::Wider });
            why.push(format!("ICMP but pings, and protocols that nothing names, are {now}"));
        }
        if left.iter().any(|(_, left)| left.is_tighter) {
            *fate = (*fate).max(Fate::Tighter);
            why.push(
                "cut further than it has to be: what earlier rules leave of it falls into too many parts".to_owned(),
            );
        }
        if let Some(admitted) = &made.admitted {
            *fate = (*fate).max(Fate::Wider);
            why.push(crate::migrate::service::admits(admitted));
        }
    }
}

/// What a zone does with what no element of it names.
fn end(read: &Read<'_>, says: Says) -> String {
    let (what, act) = match says {
        Says::Pings => ("pings are", read.pings()),
        Says::Item(_) | Says::Rest => ("everything else is", read.rest()),
    };
    let word = match act {
        Act::Accept => "accepted",
        Act::Reject => "refused",
        Act::Drop => "dropped",
    };
    format!("{}: {what} {word}", read.zone.name)
}

/// Says of the zones of engines that containers asked this machine for what they let in. Whether there is one.
fn of_engines(zones: &[Read<'_>], report: &mut Report) -> bool {
    let mut is_there = false;
    for read in zones {
        let accepts = read.rest() == Act::Accept;
        let bridges: Vec<&str> = read
            .zone
            .bindings
            .iter()
            .filter_map(|binding| match &binding.bound {
                Bound::Interface(name) if is_of_engine(read, name) => Some(name.name.as_str()),
                Bound::Interface(_) | Bound::Source(_) => None,
            })
            .collect();
        let is_known = OF_ENGINES.contains(&read.zone.name.as_str()) && read.zone.bindings.is_empty();
        if bridges.is_empty() && !(is_known && accepts) {
            continue;
        }
        is_there = true;
        let who = if bridges.is_empty() { String::new() } else { format!(" behind {}", bridges.join(", ")) };
        let why = format!(
            "containers{who} reached every port of this machine that no rule of the zone refuses, and now those that a \
             service names; `containers: {{ host: allow }}` gives them all"
        );
        let rule = format!("{}: containers' bridges are accepted", read.zone.name);
        let places = vec![read.zone.place(read.zone.line)];
        report.rules.push(Entry { fate: Fate::Tighter, rule, places, why: vec![why] });
    }
    is_there
}

/// Says of a network with bits of a host which network it is.
fn masked(place: &str, text: &str, report: &mut Report) {
    for version in Version::ALL {
        let Some(read) = Place::read(text, version) else { continue };
        let address = text.split('/').next().and_then(|address| address.parse().ok()).map(crate::net::number);
        let words = read.spans.words(version).join(", ");
        if address != read.spans.as_slice().first().map(|(first, _)| *first) {
            report.remark(format!("{place}: {} is the network {words}", crate::printable::printable(text)));
        }
    }
}

/// Says what could not be followed of what binds to zones, and of rules.
fn bindings(zones: &[Read<'_>], definitions: &Definitions, report: &mut Report) {
    for read in zones {
        for item in &read.zone.items {
            let What::Rich(rich) = &item.what else { continue };
            for side in [&rich.from, &rich.to].into_iter().flatten() {
                if let Source::Address(text) = &side.source {
                    masked(&read.zone.place(item.line), text, report);
                }
            }
        }
        for binding in &read.zone.bindings {
            let Bound::Source(source) = &binding.bound else { continue };
            if let Source::Address(text) = source {
                masked(&read.zone.place(binding.line), text, report);
            }
            let Err(why) = known(source, definitions) else { continue };
            let why = vec![why, format!("these senders are of the default zone now, and not of {}", read.zone.name)];
            let rule = format!("{}: {}", read.zone.name, binding.text);
            let places = vec![read.zone.place(binding.line)];
            report.rules.push(Entry { fate: Fate::NotTranslated, rule, places, why });
        }
    }
}

/// What no file of firewalld says.
fn of_the_machine(
    installation: &Installation,
    zones: &[Read<'_>],
    parts: &[Part],
    default: usize,
    report: &mut Report,
) {
    if installation.has_network_manager {
        report.note(
            Some("etc/NetworkManager".to_owned()),
            "NetworkManager binds interfaces to zones, and no file of firewalld says so: compare `firewall-cmd \
             --get-active-zones` where firewalld runs, and bind each that is missing: `firewall-cmd --permanent --zone=ZONE \
             --add-interface=NAME`, then import again",
        );
    }
    if let Some(read) = zones.get(default).filter(|read| read.rest() == Act::Accept) {
        report.note(
            Some(read.zone.place(read.zone.line)),
            "the default zone also let everyone send through this machine, and the policy does not: name it in `forward` where it \
             routes",
        );
    }
    for folder in &installation.folders {
        report.note(Some(folder.clone()), "zones in a folder of their own are not read");
    }
    for (at, read) in zones.iter().enumerate() {
        let in_force = at == default || parts.iter().any(|part| part.zone == at) || !read.zone.bindings.is_empty();
        let is_stock = read.zone.file.starts_with('/') || OF_ENGINES.contains(&read.zone.name.as_str());
        if !in_force && !is_stock {
            report.remark(format!("{}: no file binds an interface or a source to it: not in force", read.zone.file));
        }
    }
}

/// Names for the sources of zones and for sets.
fn named(zones: &[Read<'_>], parts: &[Part], definitions: &Definitions) -> Vec<(String, Vec<String>)> {
    let mut all: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut names = Names::default();
    for part in parts {
        let super::dispatch::Own::Sources(spans) = &part.own else { continue };
        let members: Vec<String> =
            Version::ALL.into_iter().zip(spans).flat_map(|(version, spans)| spans.words(version)).collect();
        let name = zones.get(part.zone).map_or("zone", |read| &read.zone.name);
        all.entry(members).or_insert_with(|| names.free(name));
    }
    for (name, set) in &definitions.sets {
        let Set::Addresses(version, spans) = set else { continue };
        let members = spans.words(*version);
        if members.len() > 1 {
            all.entry(members).or_insert_with(|| names.free(name));
        }
    }
    let mut all: Vec<(String, Vec<String>)> = all.into_iter().map(|(members, name)| (name, members)).collect();
    // The longest first: what contains another is found before it.
    all.sort_by_key(|(name, members)| (std::cmp::Reverse(members.len()), name.clone()));
    all
}
