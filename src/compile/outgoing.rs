//! `outgoing`: what this machine, its users and its containers open to elsewhere.

use super::Compiler;
use super::ending::Ending;
use super::forward::CONTAINERS;
use super::routed::{Entry, Traffic, titled};
use super::statement::{Origin, when};
use crate::net::IfPattern;
use crate::resolve::{Peers, PolicyRule};
use crate::ruleset::Rule;
use std::collections::BTreeSet;

const OUTGOING: &str = "outgoing";

impl Compiler<'_> {
    /// For filter-output: the rules for this machine and its users. Adds the sets of all rules of `outgoing`, unless
    /// filter-forward has done so.
    pub(super) fn host_sends(&mut self) -> Vec<Rule> {
        self.open(Traffic::Host, OUTGOING, |compiler, rule| compiler.names_host(&rule.from))
    }

    /// For from-containers: the rules for containers.
    pub(super) fn containers_open(&mut self) -> Vec<Rule> {
        self.open(Traffic::Containers, "containers", |compiler, rule| !compiler.bridges(&rule.from).is_empty())
    }

    fn open(&mut self, traffic: Traffic, section: &str, is_meant: impl Fn(&Self, &PolicyRule) -> bool) -> Vec<Rule> {
        let policy = self.policy;
        let mut entries = Vec::new();
        for (name, rule) in &policy.outgoing {
            if !is_meant(self, rule) {
                continue;
            }
            self.rule_sets(OUTGOING, name, rule);
            let chain = format!("{section}-{name}");
            self.rule_chain(traffic, OUTGOING, name, &chain, rule);
            entries.push(Entry::of_rule(name, chain, rule));
        }
        self.look_up(section, &entries)
    }

    /// For from-containers, before packets to containers are accepted: denials of connections to containers behind
    /// other bridges.
    pub(super) fn containers_stay_apart(&mut self) -> Vec<Rule> {
        let policy = self.policy;
        let mut entries = Vec::new();
        for (name, rule) in &policy.outgoing {
            if !self.names_all_containers(&rule.to) {
                continue;
            }
            let chain = format!("apart-{name}");
            let title = titled(name, rule.comment.as_deref());
            let (action, log, line) = (rule.action, rule.log, rule.line);
            let end = self.rule_end(&chain, Ending { action, log, title: &title, line, denied: None });
            let origin = Origin::Line(Some(rule.line));
            let exact = self.bridges(&rule.from).into_iter().filter(|bridge| !bridge.wildcard);
            let rules = exact.map(|bridge| {
                let elsewhere = when().iifname_is(&bridge.name).oifname_is_not(&bridge.name).oifname_in(CONTAINERS);
                elsewhere.finished(&end).because(self.says(&format!("{title} to containers"), origin))
            });
            let rules = rules.collect();
            let comment = self.says(&format!("outgoing {name}: apart from other containers"), origin);
            self.chain(chain.clone(), comment, rules);
            entries.push(Entry::of_rule(name, chain, rule));
        }
        self.look_up("apart", &entries)
    }

    fn names_host(&self, from: &Peers) -> bool {
        let groups = from.groups.keys().filter_map(|name| self.policy.groups.get(name));
        from.host || !from.users.is_empty() || groups.into_iter().any(|group| !group.users.is_empty())
    }

    /// The bridges that a `from` names.
    fn bridges(&self, from: &Peers) -> BTreeSet<IfPattern> {
        let groups = from.groups.keys().filter_map(|name| self.policy.groups.get(name));
        groups.flat_map(|group| &group.interfaces).chain(&from.interfaces).cloned().collect()
    }

    fn names_all_containers(&self, to: &Peers) -> bool {
        let containers = &self.policy.containers.interfaces;
        let groups = to.groups.keys().filter_map(|name| self.policy.groups.get(name));
        !containers.is_empty() && groups.into_iter().any(|group| group.interfaces.is_superset(containers))
    }
}
