//! What has to be true of the policy, made from the zones alone: whoever made one list of them had no hand in it.

use super::decisions::{Match, Read, spans_of};
use super::definitions::Definitions;
use super::dispatch::is_of_engine;
use super::zone::{Act, Bound};
use crate::migrate::cut::Slot;
use crate::migrate::questions::{
    MOST_PORTS, MOST_SOURCES, OUTSIDERS, Question, is_of_dhcp, is_of_somebody, is_special, items, of_each, quoted,
};
use crate::migrate::service::{is_of_containers, ports, written};
use crate::migrate::tuple::Protocol;
use crate::net::{IfPattern, Version};
use std::collections::{BTreeMap, BTreeSet};

/// The zones, and which of them has what is bound nowhere.
pub(super) struct Zones<'a> {
    pub(super) all: &'a [Read<'a>],
    pub(super) default: usize,
    pub(super) definitions: &'a Definitions,
}

/// The items of `expect` about runs of ports.
pub(super) fn expectations(zones: &Zones<'_>, slots: &[Slot]) -> Vec<String> {
    let names = zones.interfaces();
    let mut by_question: BTreeMap<Question, Vec<String>> = BTreeMap::new();
    let named = slots.iter().copied().filter(|slot| zones.name_ports(*slot) && !is_of_dhcp(*slot));
    for slot in named.take(MOST_PORTS) {
        let (words, _) = ports(&[slot], &[]);
        let questions = match &names {
            _ if zones.is_open_to_all(slot) => {
                vec![Question { is_allowed: true, on: None, from: vec!["any".to_owned()] }]
            }
            None => zones.asked(slot, None),
            Some(names) => names.iter().flat_map(|name| zones.asked(slot, Some(name))).collect(),
        };
        for question in questions {
            by_question.entry(question).or_default().extend(words.clone());
        }
    }
    items(by_question)
}

/// Whether something is about a run of ports.
fn is_about(one: &Match, slot: Slot) -> bool {
    let has = |first: u16, last: u16| {
        one.ports.is_empty() || one.ports.iter().any(|(low, high)| *low <= first && last <= *high)
    };
    match (slot, one.protocol) {
        (Slot::Tcp(first, last), Protocol::Tcp | Protocol::Any)
        | (Slot::Udp(first, last), Protocol::Udp | Protocol::Any)
        | (Slot::Sctp(first, last), Protocol::Sctp | Protocol::Any) => has(first, last),
        _ => false,
    }
}

impl Zones<'_> {
    fn matches(&self) -> impl Iterator<Item = &Match> {
        self.all.iter().flat_map(|read| &read.readings).flat_map(|reading| &reading.matches)
    }

    fn name_ports(&self, slot: Slot) -> bool {
        self.matches().any(|one| !one.ports.is_empty() && is_about(one, slot))
    }

    /// The interfaces to ask about; `None` where no other zone than the default has one.
    fn interfaces(&self) -> Option<Vec<IfPattern>> {
        let of = |at: usize, read: &Read<'_>| -> Vec<(bool, IfPattern)> {
            let names = read.zone.bindings.iter().filter_map(|binding| match &binding.bound {
                Bound::Interface(name) if !is_of_engine(read, name) => Some((at != self.default, name.clone())),
                Bound::Interface(_) | Bound::Source(_) => None,
            });
            names.collect()
        };
        let all: Vec<(bool, IfPattern)> = self.all.iter().enumerate().flat_map(|(at, read)| of(at, read)).collect();
        if !all.iter().any(|(is_other, _)| *is_other) {
            return None;
        }
        let plain = all.into_iter().map(|(_, name)| name).filter(|name| !name.wildcard && !is_of_containers(name));
        Some(plain.collect::<BTreeSet<IfPattern>>().into_iter().collect())
    }

    /// Whether the default zone has everything, and lets everyone ask for a run of ports.
    fn is_open_to_all(&self, slot: Slot) -> bool {
        let is_alone =
            self.all.iter().enumerate().all(|(at, read)| at == self.default || read.zone.bindings.is_empty());
        let Some(read) = self.all.get(self.default) else { return false };
        let about = |act: bool| {
            let of_act = read.in_order().filter(move |(_, is, _)| (*is == Act::Accept) == act);
            of_act.flat_map(|(_, _, reading)| &reading.matches).filter(|one| is_about(one, slot)).collect::<Vec<_>>()
        };
        let (denials, allowances) = (about(false), about(true));
        let open = |version: Version| allowances.iter().any(|one| one.version == version && one.is_of_all());
        let clear = read.readings.iter().all(|reading| !reading.is_unclear);
        !is_special(slot) && is_alone && clear && denials.is_empty() && Version::ALL.into_iter().all(open)
    }

    /// The zone that has a packet: by the priority, then by the source, then by the interface.
    fn zone_of(&self, version: Version, source: u128, interface: Option<&str>) -> Option<&Read<'_>> {
        let mut best: Option<((i32, u8, i64), usize)> = None;
        for (at, read) in self.all.iter().enumerate() {
            for binding in &read.zone.bindings {
                let order = i64::try_from(at).unwrap_or_default();
                let key = match &binding.bound {
                    Bound::Source(named) => {
                        let spans = spans_of(named, version, self.definitions).ok().flatten();
                        spans.filter(|spans| spans.contains(source)).map(|_| (read.zone.priority, 0, order))
                    }
                    Bound::Interface(name) => {
                        let is_here = interface.is_some_and(|interface| name.covers(interface));
                        is_here.then_some((read.zone.priority, 1, -order))
                    }
                };
                if let Some(key) = key.filter(|key| best.as_ref().is_none_or(|(other, _)| key < other)) {
                    best = Some((key, at));
                }
            }
        }
        self.all.get(best.map_or(self.default, |(_, at)| at))
    }

    /// Whether somebody gets in; `None` if a policy can't say it exactly.
    fn lets_in(&self, version: Version, source: u128, interface: Option<&str>, slot: Slot) -> Option<bool> {
        let read = self.zone_of(version, source, interface)?;
        for (_, act, reading) in read.in_order() {
            let about = |one: &&Match| one.version == version && one.from.contains(source) && is_about(one, slot);
            let Some(one) = reading.matches.iter().find(about) else { continue };
            if reading.is_unclear || !one.to.is_all(version) || !one.sender_ports.is_empty() {
                return None;
            }
            return Some(act == Act::Accept);
        }
        Some(read.rest() == Act::Accept)
    }

    /// The questions for packets that come in by an interface; `None`: by any.
    fn asked(&self, slot: Slot, on: Option<&IfPattern>) -> Vec<Question> {
        let mut sources: [Vec<String>; 2] = [Vec::new(), Vec::new()];
        for (version, outsiders) in Version::ALL.into_iter().zip(OUTSIDERS) {
            for source in self.sources(version, slot, outsiders) {
                let interface = on.map(|on| on.name.as_str());
                let Some(is_allowed) = self.lets_in(version, source, interface, slot) else { continue };
                let [denied, allowed] = &mut sources;
                if is_allowed { allowed } else { denied }.push(quoted(version, source));
            }
        }
        let [denied, allowed] = sources;
        let on = on.map(written);
        [(true, allowed), (false, denied)]
            .into_iter()
            .filter(|(_, from)| !from.is_empty())
            .map(|(is_allowed, from)| Question { is_allowed, on: on.clone(), from })
            .collect()
    }

    /// One source of each that a zone or a rule names, and one that none names.
    fn sources(&self, version: Version, slot: Slot, outsiders: &[u128]) -> BTreeSet<u128> {
        let of_rules = self.matches().filter(|one| one.version == version && is_about(one, slot));
        let of_rules = of_rules.map(|one| one.from.clone()).filter(|from| !from.is_all(version));
        let bound = self.all.iter().flat_map(|read| &read.zone.bindings).filter_map(|binding| match &binding.bound {
            Bound::Source(named) => spans_of(named, version, self.definitions).ok().flatten(),
            Bound::Interface(_) => None,
        });
        let partial: Vec<_> = of_rules.chain(bound).collect();
        let named = partial.iter().flat_map(|spans| of_each(spans, version));
        let mut sources: BTreeSet<u128> =
            named.filter(|source| is_of_somebody(version, *source)).take(MOST_SOURCES).collect();
        sources.extend(outsiders.iter().find(|one| !partial.iter().any(|spans| spans.contains(**one))));
        sources
    }
}
