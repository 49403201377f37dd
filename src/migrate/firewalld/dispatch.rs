//! Which zone has a packet, and from that one list of rules of which the first that matches decides.
//!
//! Sources come before interfaces, and the default zone has what is bound nowhere. Zones that bind the same are asked by
//! their names; of interfaces, whose patterns may meet, the last of these first.

use super::decisions::{Match, Read, spans_of};
use super::definitions::Definitions;
use super::ports::Asked;
use super::zone::{Act, Bound, Item, Source, What};
use crate::migrate::service::is_of_containers;
use crate::migrate::spans::Spans;
use crate::migrate::tuple::{Action, Log, Place, Protocol, Tuple, Way};
use crate::net::{IfPattern, Version};

/// What belongs to a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Of IPv4 and IPv6.
    Sources([Spans; 2]),
    Interface(IfPattern),
    Rest,
}

/// A part of what comes in, and the zone that has it.
pub(super) struct Part {
    /// By its index.
    pub(super) zone: usize,
    pub(super) own: Own,
}

/// The parts in the order in which firewalld asks for them. `zones` are sorted by their names.
pub(super) fn parts(zones: &[Read<'_>], default: usize, definitions: &Definitions) -> Vec<Part> {
    let mut sources = Vec::new();
    let mut interfaces = Vec::new();
    for (at, read) in zones.iter().enumerate() {
        let mut spans = [Vec::new(), Vec::new()];
        for binding in &read.zone.bindings {
            match &binding.bound {
                Bound::Interface(name) if is_of_engine(read, name) => {}
                Bound::Interface(name) => interfaces.push((read.zone.priority, at, name.clone())),
                Bound::Source(source) => {
                    for (version, all) in Version::ALL.into_iter().zip(&mut spans) {
                        let known = spans_of(source, version, definitions).ok().flatten().unwrap_or_default();
                        all.extend_from_slice(known.as_slice());
                    }
                }
            }
        }
        let spans = spans.map(Spans::from);
        if spans.iter().any(|all| !all.is_empty()) {
            sources.push((read.zone.priority, at, spans));
        }
    }
    // What is bound to the default zone is there anyway, unless another zone takes some of it.
    let others = |at: usize| at != default;
    if !sources.iter().any(|(_, at, _)| others(*at)) && !interfaces.iter().any(|(_, at, _)| others(*at)) {
        sources.clear();
    }
    let foreign: Vec<IfPattern> =
        interfaces.iter().filter(|(_, at, _)| others(*at)).map(|(_, _, name)| name.clone()).collect();
    interfaces.retain(|(_, at, name)| others(*at) || foreign.iter().any(|other| other.meets(name)));
    interfaces.reverse();
    let sources = sources.into_iter().map(|(priority, zone, spans)| (priority, 0, zone, Own::Sources(spans)));
    let interfaces = interfaces.into_iter().map(|(priority, zone, name)| (priority, 1, zone, Own::Interface(name)));
    let mut all: Vec<(i32, u8, usize, Own)> = sources.chain(interfaces).collect();
    all.sort_by_key(|(priority, kind, ..)| (*priority, *kind));
    let bound = all.into_iter().map(|(_, _, zone, own)| Part { zone, own });
    bound.chain([Part { zone: default, own: Own::Rest }]).collect()
}

/// Whether an engine bound the bridge of its containers to a zone that accepts everything.
pub(super) fn is_of_engine(read: &Read<'_>, name: &IfPattern) -> bool {
    let accepts_all = [read.rest(), read.pings()].into_iter().chain(read.in_order().map(|(_, act, _)| act));
    is_of_containers(name) && accepts_all.into_iter().all(|act| act == Act::Accept)
}

/// What of a zone a rule of the list is: an element, or what its target says of pings and of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Item(usize),
    Pings,
    Rest,
}

/// Whose a rule of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) zone: usize,
    pub(super) says: Says,
}

impl Owner {
    /// The element that it is.
    pub(super) fn item<'a>(self, read: &Read<'a>) -> Option<&'a Item> {
        match self.says {
            Says::Item(at) => read.zone.items.get(at),
            Says::Pings | Says::Rest => None,
        }
    }
}

/// The rules of one version, and whose each is.
#[derive(Default)]
pub(super) struct List {
    pub(super) tuples: Vec<Tuple>,
    pub(super) owners: Vec<Owner>,
}

/// Whether the policy's default can be to accept: where the default zone does, and no other zone refuses all but something.
pub(super) fn opens(zones: &[Read<'_>], parts: &[Part], default: usize) -> bool {
    let refuses_most = |part: &Part| {
        let read = zones.get(part.zone).filter(|read| part.own != Own::Rest && read.rest() != Act::Accept);
        read.is_some_and(|read| read.pings() == Act::Accept || read.in_order().any(|(_, act, _)| act == Act::Accept))
    };
    zones.get(default).is_some_and(|read| read.rest() == Act::Accept) && !parts.iter().any(refuses_most)
}

/// The list of each version. `opens`: whether the policy's default is to accept.
pub(super) fn lists(zones: &[Read<'_>], parts: &[Part], opens: bool) -> [List; 2] {
    let mut lists = [List::default(), List::default()];
    for part in parts {
        let Some(read) = zones.get(part.zone) else { continue };
        for (at, act, reading) in read.in_order() {
            let owner = Owner { zone: part.zone, says: Says::Item(at) };
            for one in &reading.matches {
                let log = if reading.log { Log::New } else { Log::No };
                push(&mut lists, read, part, owner, (action(act), log), one);
            }
        }
        // Where this is the default, it says so itself.
        if part.own == Own::Rest && (opens || read.rest() != Act::Accept) {
            continue;
        }
        let end = |act: Act| match act {
            Act::Accept => Action::Allow,
            // Where the default denies, it does so here.
            Act::Reject if opens => Action::Reject,
            Act::Reject | Act::Drop => Action::Deny,
        };
        for version in Version::ALL {
            let all = Match::all(version);
            let pings = Match { protocol: Protocol::Ping, ..all.clone() };
            if (read.pings() == Act::Accept) != (read.rest() == Act::Accept) {
                let owner = Owner { zone: part.zone, says: Says::Pings };
                push(&mut lists, read, part, owner, (end(read.pings()), Log::No), &pings);
            }
            let owner = Owner { zone: part.zone, says: Says::Rest };
            push(&mut lists, read, part, owner, (end(read.rest()), Log::No), &all);
        }
    }
    lists
}

pub(super) fn action(act: Act) -> Action {
    match act {
        Act::Accept => Action::Allow,
        Act::Reject => Action::Reject,
        Act::Drop => Action::Deny,
    }
}

/// Adds what is in a part.
fn push(
    lists: &mut [List; 2],
    read: &Read<'_>,
    part: &Part,
    owner: Owner,
    (action, log): (Action, Log),
    about: &Match,
) {
    let version = about.version;
    let [four, six] = lists;
    let list = if version == Version::V4 { four } else { six };
    let (from, incoming) = match &part.own {
        Own::Rest => (about.from.clone(), None),
        Own::Interface(name) => (about.from.clone(), Some(name.clone())),
        Own::Sources([four, six]) => (about.from.and(if version == Version::V4 { four } else { six }), None),
    };
    if from.is_empty() {
        return;
    }
    let item = owner.item(read);
    let line = item.map_or(read.zone.line, |item| item.line);
    let place = |spans: &Spans| Place { text: spans.words(version), spans: spans.clone(), is_odd: false };
    list.owners.push(owner);
    list.tuples.push(Tuple {
        line,
        place: read.zone.place(line),
        version,
        way: Way::In,
        action,
        log,
        protocol: about.protocol,
        ports: about.ports.clone(),
        to: place(&about.to),
        sender_ports: about.sender_ports.clone(),
        from: place(&from),
        profile: item.and_then(|item| profile(read, part, &item.what)),
        sender_profile: None,
        incoming,
        outgoing: None,
        comment: None,
    });
}

/// The name of the service that an element names, with the zone's where it is not the default.
fn profile(read: &Read<'_>, part: &Part, what: &What) -> Option<String> {
    let What::Asked(Asked::Service(name)) = what else { return None };
    Some(if part.own == Own::Rest { name.clone() } else { format!("{}-{name}", read.zone.name) })
}

trait Text {
    fn words(&self, version: Version) -> String;
}

impl Text for Spans {
    /// The first of them, for names.
    fn words(&self, version: Version) -> String {
        self.as_slice().first().map(|&(first, last)| version.words(first, last)).unwrap_or_default()
    }
}

/// Whether a source is understood; `Err` is why not.
pub(super) fn known(source: &Source, definitions: &Definitions) -> Result<(), String> {
    for version in Version::ALL {
        spans_of(source, version, definitions)?;
    }
    Ok(())
}
