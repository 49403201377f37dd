//! What was typed once: the rules of both IP versions, and of all parts of a profile, that came of one command.

use crate::migrate::tuple::{Action, Log, Protocol, Tuple, Way};
use crate::net::{IfPattern, Version};

/// Rules that came of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Of each version, the indices.
    pub(super) four: Vec<usize>,
    pub(super) six: Vec<usize>,
}

impl Unit {
    pub(super) fn of(&self, version: Version) -> &[usize] {
        match version {
            Version::V4 => &self.four,
            Version::V6 => &self.six,
        }
    }

    /// Its rules, with their version.
    pub(super) fn all(&self) -> impl Iterator<Item = (Version, usize)> + '_ {
        Version::ALL.into_iter().flat_map(|version| self.of(version).iter().map(move |at| (version, *at)))
    }
}

/// What the rules of one command have in common.
#[derive(PartialEq, Eq)]
struct Common<'a> {
    way: Way,
    action: Action,
    log: Log,
    protocol: Option<Protocol>,
    ports: Option<[&'a [(u16, u16)]; 2]>,
    from: &'a str,
    to: &'a str,
    profiles: [&'a Option<String>; 2],
    interfaces: [&'a Option<IfPattern>; 2],
    comment: &'a Option<String>,
}

fn common(tuple: &Tuple) -> Common<'_> {
    let has_profile = tuple.profile.is_some() || tuple.sender_profile.is_some();
    Common {
        way: tuple.way,
        action: tuple.action,
        log: tuple.log,
        protocol: (!has_profile).then_some(tuple.protocol),
        ports: (!has_profile).then_some([&tuple.ports, &tuple.sender_ports]),
        from: if tuple.is_any_source() { "any" } else { &tuple.from.text },
        to: if tuple.is_any_destination() { "any" } else { &tuple.to.text },
        profiles: [&tuple.profile, &tuple.sender_profile],
        interfaces: [&tuple.incoming, &tuple.outgoing],
        comment: &tuple.comment,
    }
}

/// Whether two rules, of one version each, came of one command.
pub(super) fn are_one(four: &Tuple, six: &Tuple) -> bool {
    common(four) == common(six)
}

/// Groups the rules of both versions, in the order of the first of each.
pub(super) fn group(four: &[Tuple], six: &[Tuple]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (at, tuple) in four.iter().enumerate() {
        let is_next = |unit: &&mut Unit| {
            let last = unit.four.last().and_then(|last| four.get(*last));
            tuple.profile.is_some() | tuple.sender_profile.is_some()
                && last.is_some_and(|last| common(last) == common(tuple))
        };
        match units.last_mut().filter(is_next) {
            Some(unit) => unit.four.push(at),
            None => units.push(Unit { four: vec![at], six: Vec::new() }),
        }
    }
    let mut previous = None;
    for (at, tuple) in six.iter().enumerate() {
        let own = common(tuple);
        let goes_on = at.checked_sub(1).and_then(|before| six.get(before)).is_some_and(|before| {
            (tuple.profile.is_some() || tuple.sender_profile.is_some()) && common(before) == own
        });
        let fits = |unit: &Unit| {
            unit.six.is_empty()
                && unit.four.first().and_then(|first| four.get(*first)).is_some_and(|first| common(first) == own)
        };
        let place = if goes_on { previous } else { units.iter().position(fits) };
        let place = place.unwrap_or_else(|| {
            units.push(Unit { four: Vec::new(), six: Vec::new() });
            units.len().saturating_sub(1)
        });
        if let Some(unit) = units.get_mut(place) {
            unit.six.push(at);
        }
        previous = Some(place);
    }
    units
}
