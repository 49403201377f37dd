//! The reason of a denial in full: whom the service admits, and that the address is not among them.

use super::why::written;
use super::{Reason, Refused, Why};
use crate::compile::Denial;
use crate::net::Version;
use crate::net::{AddressRange, Addresses, number};
use crate::resolve::{Peers, Resolved};
use std::net::IpAddr;

/// How many peers are named one by one.
const SHOWN: usize = 6;

/// The reason as a sentence for whoever asks about that one address, without the line.
#[must_use]
pub fn in_full(policy: &Resolved, refused: &Refused, why: &Why) -> String {
    let source = refused.source;
    let named = why.name.as_deref().and_then(|name| written(policy, refused.towards, name));
    let by = |peers: &Peers| {
        group_with(policy, peers, source).map_or_else(String::new, |group| format!(" by the group {group}"))
    };
    match (why.reason, named) {
        (Reason::Blocked, _) => format!("{source} is in `block`{}", by(&policy.block)),
        (Reason::Default, _) => match refused.towards {
            Denial::Incoming => format!("no service has {}", refused.what),
            Denial::Forward => format!("no rule of `forward` has {}", refused.what),
        },
        (Reason::NotInFrom, Some(rule)) if rule.from.is_empty() => format!("{} admits nobody", rule.name),
        (Reason::NotInFrom, Some(rule)) => {
            format!("{} admits {}; {source} is not among them", rule.name, peers_in_words(policy, rule.from))
        }
        (Reason::Except, Some(rule)) => format!("{source} is in `except` of {}{}", rule.name, by(rule.except)),
        (Reason::Denies, Some(rule)) => format!("{} denies {source} on purpose{}", rule.name, by(rule.from)),
        (Reason::NotInFrom | Reason::Except | Reason::Denies, None)
        | (Reason::Elsewhere | Reason::LetsIn | Reason::Limit, _) => why.words.clone(),
    }
}

/// The group of peers that has an address, by which name the policy means it.
pub(super) fn group_with<'a>(policy: &Resolved, peers: &'a Peers, source: IpAddr) -> Option<&'a str> {
    let mut names = peers.groups.keys();
    names
        .find(|name| policy.groups.get(*name).is_some_and(|group| group.addresses.contains(source)))
        .map(String::as_str)
}

/// `trusted (3 addresses), 192.0.2.7, eth1`
pub(crate) fn peers_in_words(policy: &Resolved, peers: &Peers) -> String {
    if peers.any {
        return "anyone".to_owned();
    }
    let group = |name: &String| match policy.groups.get(name).and_then(|group| count_in_words(&group.addresses)) {
        Some(count) => format!("{name} ({count})"),
        None => name.clone(),
    };
    let groups = peers.groups.keys().map(group);
    let interfaces = peers.interfaces.iter().map(|one| format!("whoever comes in by {one}"));
    let words: Vec<String> = groups.chain(interfaces).chain(peers.addresses.ranges().map(words)).collect();
    match words.get(..SHOWN).filter(|_| words.len() > SHOWN + 1) {
        Some(shown) => format!("{} and {} more", shown.join(", "), words.len() - SHOWN),
        None => words.join(", "),
    }
}

/// `3 addresses`; `None` if there are none.
pub(crate) fn count_in_words(addresses: &Addresses) -> Option<String> {
    let count = addresses.ranges().count();
    let is_one = |range: AddressRange| match range {
        AddressRange::V4(first, last) => first == last,
        AddressRange::V6(first, last) => first == last,
    };
    match (count, addresses.ranges().all(is_one)) {
        (0, _) => None,
        (1, true) => Some("1 address".to_owned()),
        (1, false) => Some("1 network".to_owned()),
        (_, true) => Some(format!("{count} addresses")),
        (_, false) => Some(format!("{count} networks and addresses")),
    }
}

/// An address, a network or a range, as policies write it.
pub(crate) fn words(range: AddressRange) -> String {
    let (version, first, last): (Version, IpAddr, IpAddr) = match range {
        AddressRange::V4(first, last) => (Version::V4, first.into(), last.into()),
        AddressRange::V6(first, last) => (Version::V6, first.into(), last.into()),
    };
    version.words(number(first), number(last))
}
