//! What has to be true of the policy, made from ufw's rules alone: whoever wrote the services had no hand in it.

use super::units::are_one;
use crate::migrate::cut::{Slot, Translated};
use crate::migrate::questions::{
    MOST_PORTS, MOST_SOURCES, OUTSIDERS, Question, is_of_dhcp, is_of_somebody, is_special, items, one_of, quoted,
};
use crate::migrate::service::is_of_containers;
use crate::migrate::tuple::{Action, Tuple};
use crate::net::{IfPattern, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Whose rules they are about.
pub(super) struct Rules<'a> {
    /// The rules of each version that decide, in their order.
    pub(super) deciding: [&'a [&'a Tuple]; 2],
    /// The places of rules that are cut further than they have to be.
    pub(super) inexact: &'a BTreeSet<String>,
    pub(super) translated: &'a Translated,
    pub(super) default: Action,
    /// Whether IPv6 was used at all.
    pub(super) six: bool,
}

/// The items of `expect`.
pub(super) fn expectations(rules: &Rules<'_>) -> Vec<String> {
    let all: Vec<&Tuple> = rules.deciding.iter().flat_map(|all| all.iter().copied()).collect();
    let named = |slot: &Slot| match slot {
        Slot::Tcp(..) | Slot::Udp(..) => all.iter().any(|tuple| !tuple.ports.is_empty() && slot.is_of(tuple)),
        Slot::Sctp(..) | Slot::Ping | Slot::Other(_) | Slot::Rest => false,
    };
    let mut by_question: BTreeMap<Question, Vec<String>> = BTreeMap::new();
    let runs = rules.translated.slots(&all).into_iter().filter(named).take(MOST_PORTS);
    for slot in runs {
        let (words, _) = crate::migrate::service::ports(&[slot], &[]);
        for question in rules.questions(slot) {
            by_question.entry(question).or_default().extend(words.clone());
        }
    }
    items(by_question)
}

impl Rules<'_> {
    /// The rules of one version about a run of ports.
    fn about(&self, version: Version, slot: Slot) -> Vec<&Tuple> {
        let [four, six] = self.deciding;
        let all = if version == Version::V4 { four } else { six };
        all.iter().copied().filter(|tuple| slot.is_of(tuple)).collect()
    }

    fn questions(&self, slot: Slot) -> Vec<Question> {
        if self.translated.is_of(slot) {
            return Vec::new();
        }
        let of: [Vec<&Tuple>; 2] = Version::ALL.map(|version| self.about(version, slot));
        let is_clear = |tuple: &&Tuple| {
            tuple.is_any_destination() && !tuple.is_inexact() && !self.inexact.contains(&tuple.place())
        };
        if !of.iter().flatten().all(is_clear) {
            return Vec::new();
        }
        // Two rules that came of two commands are two services, each for one version; and these leave containers out.
        let [four, six] = of.each_ref().map(|all| open_to_all(all));
        if !is_special(slot) && four.zip(six).is_some_and(|(four, six)| are_one(four, six)) {
            return vec![Question { is_allowed: true, on: None, from: vec!["any".to_owned()] }];
        }
        // Without a name, everyone's interface but those of containers is meant.
        let names = of.iter().flatten().filter_map(|tuple| tuple.incoming.as_ref());
        let names: BTreeSet<&IfPattern> = names.filter(|name| !is_of_containers(name)).collect();
        if names.is_empty() {
            return self.asked(slot, &of, None);
        }
        let plain = names.iter().filter(|name| !name.wildcard);
        plain.flat_map(|name| self.asked(slot, &of, Some(name))).collect()
    }

    /// The questions for packets that come in by an interface; `None`: by any.
    fn asked(&self, slot: Slot, of: &[Vec<&Tuple>; 2], on: Option<&IfPattern>) -> Vec<Question> {
        let name = on.map(crate::migrate::service::written);
        let here: [Vec<&Tuple>; 2] = [0, 1].map(|at: usize| {
            let all = of.get(at).into_iter().flatten();
            let meets = |tuple: &&&Tuple| match (&tuple.incoming, on) {
                (Some(rule), Some(on)) => rule.covers(&on.name),
                (rule, _) => rule.is_none(),
            };
            all.filter(meets).copied().collect()
        });
        let mut sources: [Vec<String>; 2] = [Vec::new(), Vec::new()];
        for (version, (all, outsiders)) in Version::ALL.into_iter().zip(here.iter().zip(OUTSIDERS)) {
            for source in asked_sources(version, all, outsiders) {
                let first = all.iter().find(|tuple| tuple.from.spans.contains(source));
                let action = match first {
                    _ if version == Version::V6 && !self.six => Action::Deny,
                    Some(first) => first.action,
                    None => self.default,
                };
                let is_allowed = matches!(action, Action::Allow | Action::Limit);
                if is_of_dhcp(slot) && !is_allowed {
                    continue;
                }
                let words = quoted(version, source);
                let [denied, allowed] = &mut sources;
                if is_allowed { allowed.push(words) } else { denied.push(words) }
            }
        }
        let [denied, allowed] = sources;
        [(true, allowed), (false, denied)]
            .into_iter()
            .filter(|(_, from)| !from.is_empty())
            .map(|(is_allowed, from)| Question { is_allowed, on: name.clone(), from })
            .collect()
    }
}

/// The rule that lets everyone in, whatever comes behind it.
fn open_to_all<'a>(rules: &[&'a Tuple]) -> Option<&'a Tuple> {
    for tuple in rules {
        match tuple.action {
            Action::Allow | Action::Limit if tuple.is_any_source() && tuple.incoming.is_none() => return Some(tuple),
            Action::Allow => {}
            // Who has a limit has lost the rules behind it, and is named by address, which means no container.
            Action::Deny | Action::Reject | Action::Limit => return None,
        }
    }
    None
}

/// One source of each that rules name, and one that none names.
fn asked_sources(version: Version, rules: &[&Tuple], outsiders: &[u128]) -> BTreeSet<u128> {
    let partial = || rules.iter().filter(|tuple| !tuple.is_any_source());
    let named = partial().flat_map(|tuple| tuple.from.spans.as_slice().iter().copied());
    let mut sources: BTreeSet<u128> =
        named.map(one_of).filter(|source| is_of_somebody(version, *source)).take(MOST_SOURCES).collect();
    sources.extend(outsiders.iter().find(|one| !partial().any(|tuple| tuple.from.spans.contains(**one))));
    sources
}
