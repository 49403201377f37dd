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

    /// The matches that together are "one of these peers".
    pub(super) fn alternatives(&self, owner: &str, list: &str, peers: &Peers) -> Alternatives {
        let mut all = Alternatives::default();
        if peers.any {
            all.anyone = Some((when(), "from anyone".to_owned(), peers.line));
            return all;
        }
        for (name, line) in &peers.groups {
            if let Some(group) = self.policy.groups.get(name) {
                let words = format!("from {name}");
                all.add(&format!("{name}-"), &group.addresses, !group.interfaces.is_empty(), &words, Some(*line));
            }
        }
        let prefix = format!("{owner}.{list}-");
        all.add(&prefix, &peers.addresses, !peers.interfaces.is_empty(), "from those listed", peers.line);
        all
    }
}

/// A match on a peer, with its words and its line.
pub(super) type Match = (Statement, String, Option<Line>);

/// The matches of a list of peers.
#[derive(Default)]
pub(super) struct Alternatives {
    /// The one match that everything else is redundant beside.
    pub(super) anyone: Option<Match>,
    /// By the interface that a packet comes in by.
    pub(super) by_interface: Vec<Match>,
    /// By its source address.
    pub(super) by_address: Vec<Match>,
}

impl Alternatives {
    /// Adds a match for each of the sets `PREFIXv4`, `PREFIXv6` and `PREFIXif` that exists.
    fn add(&mut self, prefix: &str, addresses: &Addresses, interfaces: bool, words: &str, line: Option<Line>) {
        if interfaces {
            self.by_interface.push((when().iifname_in(&format!("{prefix}if")), words.to_owned(), line));
        }
        for (version, none) in [(Version::V4, addresses.v4.is_empty()), (Version::V6, addresses.v6.is_empty())] {
            if !none {
                let source = when().source_in(version, &format!("{prefix}{}", version.suffix()));
                self.by_address.push((source, words.to_owned(), line));
            }
        }
    }
}

impl IntoIterator for Alternatives {
    type Item = Match;
    type IntoIter = std::iter::Chain<
        std::iter::Chain<std::option::IntoIter<Match>, std::vec::IntoIter<Match>>,
        std::vec::IntoIter<Match>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.anyone.into_iter().chain(self.by_interface).chain(self.by_address)
    }
}
