//! Who: groups and literal peers as sets, and the matches on them.

use super::Compiler;
use super::statement::{Origin, Statement, Version, interface_elements, when};
use crate::resolve::{Interface, Line, Peers};
use crate::ruleset::{Addresses, KeyType, Set, SetFlags, SetSpec};
use std::collections::BTreeSet;

impl Compiler<'_> {
    /// `GROUP-v4`, `GROUP-v6` and `GROUP-if` of every group that is used: one change of a group is one change of a set.
    pub(super) fn group_sets(&mut self) {
        for (name, group) in &self.policy.groups {
            let origin = group.line.map_or(Origin::BuiltIn, |line| Origin::Line(Some(line)));
            let comment = self.says(&format!("group {name}"), origin);
            self.address_sets(&format!("{name}-"), &group.addresses, &comment);
            self.interface_set(format!("{name}-if"), &group.interfaces, comment);
        }
    }

    /// Sets of the peers that stand in a list without a group's name: `ssh.from-v4`. The dot keeps them apart from
    /// groups, whose names have none.
    pub(super) fn literal_sets(&mut self, owner: &str, list: &str, what: &str, peers: &Peers) {
        let comment = self.says(what, Origin::Line(peers.line));
        self.address_sets(&format!("{owner}.{list}-"), &peers.addresses, &comment);
        self.interface_set(format!("{owner}.{list}-if"), &peers.interfaces, comment);
    }

    /// The sets `PREFIXv4` and `PREFIXv6`, each only when it has an element.
    pub(super) fn address_sets(&mut self, prefix: &str, addresses: &Addresses, comment: &str) {
        for version in Version::ALL {
            let elements = match version {
                Version::V4 => addresses.v4_elements(),
                Version::V6 => addresses.v6_elements(),
            };
            if !elements.is_empty() {
                let mut spec = SetSpec::new(version.key(), SetFlags::INTERVAL);
                spec.comment = Some(comment.to_owned());
                self.set(format!("{prefix}{}", version.suffix()), Set { spec, elements });
            }
        }
    }

    /// A set of interfaces, only when it has an element. Always an interval set, so that the first wildcard is an
    /// added element and not another set.
    pub(super) fn interface_set(&mut self, name: String, interfaces: &BTreeSet<Interface>, comment: String) {
        let elements = interface_elements(interfaces);
        if !elements.is_empty() {
            let spec = SetSpec { comment: Some(comment), ..SetSpec::new(KeyType::IFNAME, SetFlags::INTERVAL) };
            self.set(name, Set { spec, elements });
        }
    }

    /// The matches that together are "one of these peers", each with its words and its line.
    pub(super) fn alternatives(
        &self,
        owner: &str,
        list: &str,
        peers: &Peers,
    ) -> Vec<(Statement, String, Option<Line>)> {
        if peers.any {
            return vec![(when(), "from anyone".to_owned(), peers.line)];
        }
        let mut matches = Vec::new();
        for (name, line) in &peers.groups {
            if let Some(group) = self.policy.groups.get(name) {
                let sets = matches_on(&format!("{name}-"), &group.addresses, !group.interfaces.is_empty());
                matches.extend(sets.into_iter().map(|one| (one, format!("from {name}"), Some(*line))));
            }
        }
        let sets = matches_on(&format!("{owner}.{list}-"), &peers.addresses, !peers.interfaces.is_empty());
        matches.extend(sets.into_iter().map(|one| (one, "from those listed".to_owned(), peers.line)));
        matches
    }
}

/// A match for each of the sets `PREFIXv4`, `PREFIXv6` and `PREFIXif` that exists.
fn matches_on(prefix: &str, addresses: &Addresses, interfaces: bool) -> Vec<Statement> {
    let mut matches = Vec::new();
    if !addresses.v4.is_empty() {
        matches.push(when().source_in(Version::V4, &format!("{prefix}v4")));
    }
    if !addresses.v6.is_empty() {
        matches.push(when().source_in(Version::V6, &format!("{prefix}v6")));
    }
    if interfaces {
        matches.push(when().iifname_in(&format!("{prefix}if")));
    }
    matches
}
