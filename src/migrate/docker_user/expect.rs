//! What has to be true of the policy: the rules walked as the kernel does, for one packet at a time.

use super::rule::Verdict;
use super::walk::{About, Walk, about, written};
use crate::migrate::questions::{
    MOST_PORTS, MOST_SOURCES, OUTSIDERS, Question, is_of_somebody, items, of_each, quoted,
};
use crate::migrate::service::{is_of_containers, written as name_of};
use crate::net::IfPattern;
use std::collections::{BTreeMap, BTreeSet};

/// The items of `expect`.
pub(super) fn expectations(walks: &[Walk]) -> Vec<String> {
    let mut by_question: BTreeMap<Question, Vec<String>> = BTreeMap::new();
    for (walk, outsiders) in walks.iter().zip(OUTSIDERS) {
        let names: BTreeSet<&IfPattern> = walk.rules.iter().filter_map(|rule| rule.incoming.as_ref()).collect();
        let plain: Vec<&IfPattern> =
            names.iter().copied().filter(|name| !name.wildcard && !is_of_containers(name)).collect();
        for at in (0..walk.ports.len()).filter(|at| !walk.refused.contains(at)).take(MOST_PORTS) {
            let Some(port) = walk.ports.get(at).filter(|port| port.to.is_all(walk.version)) else { continue };
            let is_outside = names.iter().all(|name| is_of_containers(name) && !name.wildcard);
            let mut asked: Vec<Option<&IfPattern>> = plain.iter().map(|name| Some(*name)).collect();
            asked.extend(is_outside.then_some(None));
            for on in asked {
                for question in walk.asked(at, on, outsiders) {
                    let ports = by_question.entry(question).or_default();
                    let port = written(port);
                    if !ports.contains(&port) {
                        ports.push(port);
                    }
                }
            }
        }
    }
    items(by_question)
}

impl Walk {
    /// The questions about a port for packets that come in by an interface; `None`: by any but those of containers.
    fn asked(&self, at: usize, on: Option<&IfPattern>, outsiders: &[u128]) -> Vec<Question> {
        let partial = || self.rules.iter().filter(|rule| !rule.from.is_all(self.version));
        let named = partial().flat_map(|rule| of_each(&rule.from, self.version));
        let mut sources: BTreeSet<u128> =
            named.filter(|source| is_of_somebody(self.version, *source)).take(MOST_SOURCES).collect();
        sources.extend(outsiders.iter().find(|one| !partial().any(|rule| rule.from.contains(**one))));
        let [mut denied, mut allowed] = [Vec::new(), Vec::new()];
        for source in sources {
            let words = quoted(self.version, source);
            if self.lets_in(at, source, on) { &mut allowed } else { &mut denied }.push(words);
        }
        let on = on.map(name_of);
        [(true, allowed), (false, denied)]
            .into_iter()
            .filter(|(_, from)| !from.is_empty())
            .map(|(is_allowed, from)| Question { is_allowed, on: on.clone(), from })
            .collect()
    }

    fn lets_in(&self, at: usize, source: u128, on: Option<&IfPattern>) -> bool {
        let Some(port) = self.ports.get(at) else { return false };
        let first = self.rules.iter().find(|rule| {
            let is_here = match (&rule.incoming, on) {
                (None, _) => true,
                (Some(name), Some(on)) => name.covers(&on.name),
                (Some(_), None) => false,
            };
            is_here && rule.from.contains(source) && about(rule, port) == About::Yes
        });
        first.is_none_or(|rule| rule.verdict == Verdict::Allow)
    }
}
