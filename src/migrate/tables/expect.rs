//! What has to be true of the policy, by what the simulator said of the tables.

use super::pieces::gets_in;
use super::rows::{DoorRows, is_all, is_of_dhcp, slot};
use super::sentences::{Plan, bypasses, forwarded};
use crate::exposure::{Space, Spans};
use crate::migrate::cut::Slot;
use crate::migrate::questions::{
    MOST_PORTS, MOST_SOURCES, OUTSIDERS, Question, is_of_somebody, is_special, items, of_each, quoted,
};
use crate::migrate::service::{ports, written};
use crate::net::{Version, protocol};
use std::collections::BTreeMap;

/// The items of `expect`.
pub(super) fn expectations(space: &Space, rows: &[DoorRows], plan: &Plan) -> Vec<String> {
    let mut by_question: BTreeMap<Question, Vec<Slot>> = BTreeMap::new();
    let asked = rows.iter().filter(|of| {
        let slot = slot(of.door);
        !matches!(slot, Slot::Rest | Slot::Other(protocol::IGMP))
            && !is_special(slot)
            && !is_of_dhcp(of.door)
            && of.is_alike()
            && of.unknown.is_empty()
    });
    let asked = asked.filter(|of| forwarded(space, of).is_none());
    for of in asked.filter(|of| plan.is_open() || !bypasses(space, of)).take(MOST_PORTS) {
        // An expectation is about every address of this machine.
        let asked = questions(space, of, plan).into_iter();
        for question in asked.filter(|question| !question.is_allowed || plan.shut.is_empty()) {
            by_question.entry(question).or_default().push(slot(of.door));
        }
    }
    items(by_question.into_iter().map(|(question, slots)| (question, ports(&slots, &[]).0)).collect())
}

/// The questions about a door.
fn questions(space: &Space, of: &DoorRows, plan: &Plan) -> Vec<Question> {
    let Some(base) = of.common.0.first() else { return Vec::new() };
    let ways = || space.ways.iter().zip(&of.common.0);
    let is_same = ways().all(|(way, both)| way.containers || both == base);
    let containers = |gets: bool| ways().all(|(way, both)| !way.containers || gets_in(way, both) == gets);
    let any = |is_allowed| vec![Question { is_allowed, on: None, from: vec!["any".to_owned()] }];
    if is_same && is_all(base) && containers(true) {
        return any(true);
    }
    if of.common.is_nothing() && !plan.host {
        return any(false);
    }
    if is_same {
        return asked(None, base);
    }
    let named = ways().filter(|(way, _)| !way.containers);
    let named = named.filter_map(|(way, both)| Some((way.names.iter().find(|name| !name.wildcard)?, both)));
    named.flat_map(|(name, both)| asked(Some(written(name)), both)).collect()
}

/// Questions about single sources: one of each range, and one that is in none.
fn asked(on: Option<String>, both: &[Spans; 2]) -> Vec<Question> {
    let (mut allowed, mut denied) = (Vec::new(), Vec::new());
    for (version, outsiders) in Version::ALL.into_iter().zip(OUTSIDERS) {
        let spans = &both[version as usize];
        let outsider = outsiders.iter().copied().find(|one| !spans.contains(*one));
        let each = if spans.is_all(version) { Vec::new() } else { of_each(spans, version) };
        let each = each.into_iter().chain(outsider.or(outsiders.first().copied()));
        for source in each.filter(|source| is_of_somebody(version, *source)).take(MOST_SOURCES) {
            if spans.contains(source) { &mut allowed } else { &mut denied }.push(quoted(version, source));
        }
    }
    [(true, allowed), (false, denied)]
        .into_iter()
        .filter(|(_, from)| !from.is_empty())
        .map(|(is_allowed, from)| Question { is_allowed, on: on.clone(), from })
        .collect()
}
