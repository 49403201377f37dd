//! Temporary access: who is in a group for a time, and how long.
//!
//! A policy says which groups take addresses for a time, and for how long at most; who is in them, for now, is state.
//! A table made from a policy has an empty set for each such group and IP version. [`with_entries`] fills these sets
//! with whoever is in the groups at a moment, and the kernel takes each element out by itself at its end.
//!
//! An entry counts its time by the clock that nobody can set, as long as the machine runs. After a reboot only the wall
//! clock is left: one that is before the entry's begin is wrong, and the entry waits for a better one, but never for
//! longer than its time. A group that is blocked does not wait: it is blocked for as long as it may be at most.

#[cfg(test)]
mod tests;
mod words;

pub use words::{period_in_words, until};

use crate::net::Version;
use crate::ruleset::{BaseChain, Element, Elements, Expr, Hook, SetRef, Table};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// How many addresses a group takes, and so the size of its sets.
pub const MOST: u32 = 1024;
/// How long an address may be let in for at least, and at most.
pub const SHORTEST: Duration = Duration::from_secs(60);
/// See [`SHORTEST`].
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The groups that take addresses for a time, and for how long at most.
pub type Limits = BTreeMap<String, Duration>;

/// The name of the set for whoever is in a group for a time. The dot distinguishes it from the sets of groups.
#[must_use]
pub fn set_name(group: &str, version: Version) -> String {
    format!("{group}.temporary-{}", version.suffix())
}

/// A moment, by all clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time since 1970 by the wall clock, which may be wrong.
    pub wall: Duration,
    /// The time since this machine was started.
    pub since_start: Duration,
    /// The boot that it was started by.
    pub boot: String,
}

/// An address that is in a group for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The group.
    pub group: String,
    /// The address; an IPv4 address is never in the form of IPv6.
    pub address: IpAddr,
    /// When its time began, in seconds since 1970 by the wall clock.
    pub begin: u64,
    /// When it ends, in the same way.
    pub end: u64,
    /// The boot during which its time began.
    pub boot: String,
    /// When its time began, in milliseconds since that boot.
    pub begin_ms: u64,
    /// The user who let it in; `None` if unknown.
    pub by: Option<String>,
}

/// How much of an entry's time is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// So much, which is not zero.
    Time(Duration),
    /// None.
    Over,
    /// That can't be told: by the wall clock its time has not begun yet. It is so much at most, which is not zero.
    Unknown(Duration),
}

impl Entry {
    /// An entry whose time begins now.
    #[must_use]
    pub fn new(group: &str, address: IpAddr, time: Duration, now: &Moment, by: Option<String>) -> Self {
        let begin = now.wall.as_secs();
        Self {
            group: group.to_owned(),
            address: address.to_canonical(),
            begin,
            end: begin.saturating_add(time.as_secs()),
            boot: now.boot.clone(),
            begin_ms: u64::try_from(now.since_start.as_millis()).unwrap_or(u64::MAX),
            by,
        }
    }

    /// How long its time is.
    const fn time(&self) -> Duration {
        Duration::from_secs(self.end.saturating_sub(self.begin))
    }

    /// How much of its time is left.
    #[must_use]
    pub fn left(&self, now: &Moment) -> Left {
        let by_wall = || now.wall.checked_sub(Duration::from_secs(self.begin));
        let (passed, is_known) = if self.boot == now.boot && !now.boot.is_empty() {
            (now.since_start.saturating_sub(Duration::from_millis(self.begin_ms)), true)
        } else {
            // It began before this boot, whatever the wall clock says.
            let passed = by_wall().unwrap_or_default().max(now.since_start);
            (passed, by_wall().is_some())
        };
        match self.time().checked_sub(passed) {
            Some(left) if !left.is_zero() && is_known => Left::Time(left),
            Some(left) if !left.is_zero() => Left::Unknown(left),
            _ => Left::Over,
        }
    }

    /// The same entry, with at most so much time from its begin.
    fn within(self, most: Duration) -> Self {
        Self { end: self.end.min(self.begin.saturating_add(most.as_secs())), ..self }
    }

    fn is(&self, group: &str, address: IpAddr) -> bool {
        self.group == group && self.address == address
    }
}

/// All entries, sorted by group and address, each address once in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(Vec<Entry>);

impl FromIterator<Entry> for Entries {
    /// Of two entries of one address in one group the later one counts.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut all = Self::default();
        entries.into_iter().for_each(|entry| all.add(entry));
        all
    }
}

impl Entries {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of an address in a group.
    #[must_use]
    pub fn get(&self, group: &str, address: IpAddr) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is(group, address))
    }

    /// Adds an entry, in the place of one of the same address in the same group.
    pub fn add(&mut self, entry: Entry) {
        match self.0.binary_search_by(|other| (&other.group, other.address).cmp(&(&entry.group, entry.address))) {
            Ok(at) => {
                if let Some(other) = self.0.get_mut(at) {
                    *other = entry;
                }
            }
            Err(at) => self.0.insert(at, entry),
        }
    }

    /// Takes out those for which this holds.
    pub fn take(&mut self, mut is_taken: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|entry| is_taken(entry));
        self.0 = rest;
        taken
    }

    /// Whether a group has room for one more address of that version.
    #[must_use]
    pub fn has_room(&self, group: &str, version: Version) -> bool {
        let of_it = |entry: &&Entry| entry.group == group && Version::of(entry.address) == version;
        self.0.iter().filter(of_it).count() < usize::try_from(MOST).unwrap_or(usize::MAX)
    }

    /// Those that a policy with these limits still takes, each for as long as it takes them.
    #[must_use]
    pub fn under(&self, limits: &Limits) -> Self {
        let kept = self.0.iter().filter_map(|entry| Some(entry.clone().within(*limits.get(&entry.group)?)));
        Self(kept.collect())
    }

    /// The entries as JSON.
    ///
    /// # Errors
    /// None that can happen: every field is a number or a text.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(&self.0)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the output of [`Self::to_json`]; `None` if it is something else.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        let entries: Vec<Entry> = serde_json::from_slice(bytes).ok()?;
        let is_sound = |entry: &Entry| entry.begin <= entry.end && entry.address == entry.address.to_canonical();
        entries.iter().all(is_sound).then(|| entries.into_iter().collect())
    }
}

/// A table with everybody who is in its groups at this moment, and nobody else, in the sets for whoever is in them for a
/// time.
#[must_use]
pub fn with_entries(table: &Table, entries: &Entries, now: &Moment) -> Table {
    let mut table = table.without_timed();
    let mut elements: BTreeMap<String, Vec<Element>> = BTreeMap::new();
    let blocked = blocked(&table);
    // Sorted, as the entries are.
    for entry in entries.iter() {
        let left = match entry.left(now) {
            Left::Time(left) => left,
            Left::Unknown(most) if blocked.contains(&set_name(&entry.group, Version::of(entry.address))) => most,
            Left::Unknown(_) | Left::Over => continue,
        };
        let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let set = set_name(&entry.group, Version::of(entry.address));
        elements.entry(set).or_default().push(Element::expiring(&key_of(entry), milliseconds));
    }
    for (name, elements) in elements {
        if let Some(set) = table.sets.get_mut(&name).filter(|set| set.spec.is_timed()) {
            set.elements = elements.into();
        }
    }
    table
}

/// Whether an entry is in force while no clock can tell how much of its time is left: the table blocks its group.
#[must_use]
pub fn holds(table: &Table, entry: &Entry) -> bool {
    blocked(table).contains(&set_name(&entry.group, Version::of(entry.address)))
}

/// The sets that a table asks for whom to drop: before connections are tracked.
fn blocked(table: &Table) -> BTreeSet<String> {
    let is_early = |base: &BaseChain| base.kind == "filter" && base.hook == Hook::Prerouting;
    let early = table.chains.values().filter(|chain| chain.base.as_ref().is_some_and(is_early));
    let exprs = early.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs);
    let named = exprs.filter_map(|expr| match expr {
        Expr::Lookup { set: SetRef::Named(name), .. } => Some(name.clone()),
        _ => None,
    });
    named.collect()
}

/// A table with those in its groups for a time who are in them in another one.
#[must_use]
pub fn with_those_of(table: &Table, other: &Table) -> Table {
    let mut table = table.clone();
    for (name, set) in table.sets.iter_mut().filter(|(_, set)| set.spec.is_timed()) {
        let there = other.sets.get(name).filter(|other| other.spec.is_timed() && other.spec.key == set.spec.key);
        set.elements = there.map_or_else(Elements::none, |other| other.elements.clone());
    }
    table
}

/// A table in which these are in their groups as well, although their time is over.
#[must_use]
pub fn with_those_of_before(table: &Table, entries: &[Entry]) -> Table {
    let mut table = table.clone();
    for entry in entries {
        let set = table.sets.get_mut(&set_name(&entry.group, Version::of(entry.address)));
        let Some(set) = set.filter(|set| set.spec.is_timed()) else { continue };
        let element = Element::expiring(&key_of(entry), 1);
        let mut elements = std::mem::take(&mut set.elements).into_list();
        if let Err(at) = elements.binary_search_by(|other| other.key.cmp(&element.key)) {
            elements.insert(at, element);
        }
        set.elements = elements.into();
    }
    table
}

fn key_of(entry: &Entry) -> Vec<u8> {
    match entry.address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
