//! Peers: groups and literal peers as sets, and the matches on them.

use super::Compiler;
use super::statement::{Origin, Statement, interface_elements, when};
use crate::net::{Addresses, IfPattern, Version};
use crate::resolve::{Line, Peers};
use crate::ruleset::{Address, Elements, KeyType, Set, SetFlags, SetSpec};
use crate::temporary::{MOST, set_name};
use std::collections::BTreeSet;

/// With this many intervals or more, single addresses get a set of their own.
const MANY: usize = 1_024;

/// The set of an owner's single addresses. The dot distinguishes it from a group's set, whose name has none.
pub(super) fn hosts_name(owner: &str, version: Version) -> String {
    format!("{owner}.hosts-{}", version.suffix())
}

/// The size to declare for a set of `count` elements; the kernel allocates a hash of that size at once. Rounded up in
/// eighths, so that adding a few elements does not change the declared size and recreate the set.
fn room(count: usize) -> u32 {
    let wanted = u32::try_from(count.saturating_add(count / 16)).unwrap_or(u32::MAX);
    let step = (wanted.checked_next_power_of_two().unwrap_or(u32::MAX) / 16).max(1);
    wanted.div_ceil(step).saturating_mul(step)
}

impl Compiler<'_> {
    /// Adds `GROUP-v4`, `GROUP-v6` and `GROUP-if` of every group in use, so that a change to a group is a change to a
    /// set.
    pub(super) fn group_sets(&mut self) {
        for (name, group) in &self.policy.groups {
            let origin = group.line.map_or(Origin::BuiltIn, |line| Origin::Line(Some(line)));
            let comment = self.says(&format!("group {name}"), origin);
            self.source_sets(name, &group.addresses, &comment);
            self.interface_set(format!("{name}-if"), &group.interfaces, comment.clone());
            self.user_set(format!("{name}.users"), &group.users, comment);
        }
        for (name, temporary) in self.policy.temporary() {
            self.temporary_sets(name, temporary.line);
        }
    }

    /// Adds the sets for whoever is in a group for a time. They are empty: that is no part of a policy. Hashes beside the
    /// group's own sets, which stay as they are.
    fn temporary_sets(&mut self, name: &str, line: Line) {
        for version in Version::ALL {
            let comment = self.says(&format!("group {name}: who is in it for a time"), Origin::Line(Some(line)));
            let spec = SetSpec {
                size: Some(MOST),
                comment: Some(comment),
                ..SetSpec::new(KeyType::address(version), SetFlags::TIMEOUT)
            };
            self.set(set_name(name, version), Set { spec, elements: Elements::none() });
        }
    }

    /// The sets of source addresses that an owner has: the hash of single addresses first, which is cheap and holds most
    /// matches, and of a group last those for whoever is in it for a time.
    pub(super) fn source_sets_of(&self, owner: &str, version: Version) -> Vec<String> {
        let own = [hosts_name(owner, version), format!("{owner}-{}", version.suffix())];
        let temporary = self.policy.groups.get(owner).map(|group| &group.temporary);
        let temporary = temporary.into_iter().flatten().map(|(name, _)| set_name(name, version));
        own.into_iter().chain(temporary).filter(|name| self.table.sets.contains_key(name)).collect()
    }

    /// Adds the sets of the peers that a list names without a group: `ssh.from-v4`. The dot distinguishes them from
    /// groups, whose names have none.
    pub(super) fn literal_sets(&mut self, owner: &str, list: &str, what: &str, peers: &Peers) {
        if peers.addresses.is_empty() && peers.interfaces.is_empty() {
            return;
        }
        let comment = self.says(what, Origin::Line(peers.line));
        self.source_sets(&format!("{owner}.{list}"), &peers.addresses, &comment);
        self.interface_set(format!("{owner}.{list}-if"), &peers.interfaces, comment);
    }

    /// Adds the sets of sources that [`alternatives`](Self::alternatives) looks up: `OWNER-v4` and `OWNER-v6` and, if
    /// there are many addresses, `OWNER.hosts-v4` and `OWNER.hosts-v6` for the single ones. Leaves out empty sets.
    fn source_sets(&mut self, owner: &str, addresses: &Addresses, comment: &str) {
        self.sources(owner, Version::V4, addresses.v4.as_slice(), comment);
        self.sources(owner, Version::V6, addresses.v6.as_slice(), comment);
    }

    /// Puts single addresses into a hash: the kernel takes seven times as long to load an interval.
    fn sources<A: Address>(&mut self, owner: &str, version: Version, intervals: &[(A, A)], comment: &str) {
        if intervals.len() < MANY {
            return self.address_set(format!("{owner}-{}", version.suffix()), version, intervals, comment);
        }
        let (hosts, networks): (Vec<_>, Vec<_>) = intervals.iter().copied().partition(|(first, last)| first == last);
        self.address_set(format!("{owner}-{}", version.suffix()), version, &networks, comment);
        if !hosts.is_empty() {
            let mut spec = SetSpec::new(KeyType::address(version), SetFlags::default());
            spec.comment = Some(comment.to_owned());
            spec.size = Some(room(hosts.len()));
            let elements = Elements::of_addresses(&hosts);
            self.set(hosts_name(owner, version), Set { spec, elements });
        }
    }

    /// Adds the sets `PREFIX-v4` and `PREFIX-v6`, unless empty.
    pub(super) fn address_sets(&mut self, prefix: &str, addresses: &Addresses, comment: &str) {
        let name = |version: Version| format!("{prefix}-{}", version.suffix());
        self.address_set(name(Version::V4), Version::V4, addresses.v4.as_slice(), comment);
        self.address_set(name(Version::V6), Version::V6, addresses.v6.as_slice(), comment);
    }

    fn address_set<A: Address>(&mut self, name: String, version: Version, intervals: &[(A, A)], comment: &str) {
        if !intervals.is_empty() {
            let mut spec = SetSpec::new(KeyType::address(version), SetFlags::INTERVAL);
            spec.comment = Some(comment.to_owned());
            self.set(name, Set { spec, elements: Elements::of_addresses(intervals) });
        }
    }

    /// Adds a set of interfaces, unless empty. It is always an interval set, so that the first wildcard adds an
    /// element instead of recreating the set.
    pub(super) fn interface_set(&mut self, name: String, interfaces: &BTreeSet<IfPattern>, comment: String) {
        let elements = interface_elements(interfaces);
        if !elements.is_empty() {
            let spec = SetSpec { comment: Some(comment), ..SetSpec::new(KeyType::IFNAME, SetFlags::INTERVAL) };
            self.set(name, Set { spec, elements: elements.into() });
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
                self.matches(&mut all, name, !group.interfaces.is_empty(), &words, Some(*line));
            }
        }
        let owner = format!("{owner}.{list}");
        self.matches(&mut all, &owner, !peers.interfaces.is_empty(), "from those listed", peers.line);
        all
    }

    /// Adds a match for each existing set of the owner.
    pub(super) fn matches(
        &self,
        all: &mut Alternatives,
        owner: &str,
        interfaces: bool,
        words: &str,
        line: Option<Line>,
    ) {
        if interfaces {
            all.by_interface.push((when().iifname_in(&format!("{owner}-if")), words.to_owned(), line));
        }
        for version in Version::ALL {
            for name in self.source_sets_of(owner, version) {
                all.by_address.push((when().source_in(version, &name), words.to_owned(), line));
            }
        }
    }
}

/// A match on a peer, with its words and its line.
pub(super) type Match = (Statement, String, Option<Line>);

/// The matches of a list of peers.
#[derive(Default)]
pub(super) struct Alternatives {
    /// The match on everyone. If present, the others are empty.
    pub(super) anyone: Option<Match>,
    /// The matches on the incoming interface.
    pub(super) by_interface: Vec<Match>,
    /// The matches on the source address.
    pub(super) by_address: Vec<Match>,
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
