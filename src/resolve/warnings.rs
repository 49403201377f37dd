//! Warnings about valid policies that probably don't do what their authors want: lines without effect, and SSH that
//! nobody reaches.

use super::{Action, Group, Peers, Resolved, Service};
use crate::net::{AddressRange, Addresses, IfPattern, Intervals, Transport};
use crate::policy::{self, Diagnostic, Given, Peer, Policy, Text, address_range, quote};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Up to how many services are compared in pairs.
const MAX_COMPARED: usize = 1_000;

/// The warnings of a policy without problems.
pub(super) fn warnings(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let services =
        || typed.services.iter().filter_map(|typed| Some((typed, policy.services.get(&typed.name.value)?)));
    let mut found = unused_groups(typed);
    found.extend(services().filter_map(|(typed, service)| dead(typed, service, policy)));
    found.extend(shadowed(typed, policy));
    found.extend(blocked_groups(typed, policy));
    found.extend(nothing_goes_out(typed, policy));
    found.into_iter().map(Diagnostic::warning).collect()
}

/// The warning that the policy lets nobody reach SSH, which listens on these TCP ports.
#[must_use]
pub fn ssh_is_shut(policy: &Resolved, ports: &BTreeSet<u16>) -> Option<Diagnostic> {
    let has_port = |service: &Service| {
        let tcp = service.ports.iter().filter(|ports| ports.transport == Transport::Tcp);
        tcp.into_iter().any(|range| ports.range(range.first..=range.last).next().is_some())
    };
    let is_open = |service: &Service| {
        let here = service.action == Action::Allow && service.forward_to.is_none();
        here && (service.all || has_port(service)) && nobody(service, policy).is_none()
    };
    let first = ports.first()?;
    if policy.defaults.incoming == Action::Allow || policy.services.values().any(is_open) {
        return None;
    }
    let shown: Vec<String> = ports.iter().map(|port| format!("{port}/tcp")).collect();
    let message = format!("SSH can be reached by nobody: no service allows {}", shown.join(" or "));
    let help = format!(
        "add `ssh: {{ ports: {first}/tcp, from: any }}` to `services`, or your addresses in the place of `any`"
    );
    Some(Diagnostic::general(message).help(help).warning())
}

/// Groups that no other part of the policy names, directly or by another group.
fn unused_groups(typed: &Policy) -> Vec<Diagnostic> {
    let words = |peer: &Peer| if let Peer::Word(text) = peer { Some(text.value.clone()) } else { None };
    let mut used: BTreeSet<String> = typed.users_of_groups().filter_map(words).collect();
    let groups: BTreeMap<&str, &policy::Group> =
        typed.groups.iter().map(|group| (group.name.value.as_str(), group)).collect();
    let mut waiting: Vec<String> = used.iter().cloned().collect();
    while let Some(group) = waiting.pop() {
        let items = groups.get(group.as_str()).and_then(|group| group.peers.here());
        let more = items.into_iter().flat_map(|list| &list.items).filter_map(words);
        waiting.extend(more.filter(|name| used.insert(name.clone())));
    }
    let unused = typed.groups.iter().filter(|group| !used.contains(&group.name.value));
    let warning = |group: &policy::Group| {
        Diagnostic::at(group.name.span, format!("nothing uses the group {}", quote(&group.name.value)))
            .help("name it in the `from` of a service, or in `block`, or remove it")
    };
    unused.map(warning).collect()
}

/// Why nobody can use a service.
enum Nobody {
    /// Nobody is in `from`.
    Empty,
    /// `except` names everyone whom `from` names.
    Excepted,
    /// The sources in `from` come in by other interfaces than those of `on`.
    Elsewhere,
    /// `block` names everyone whom `from` names.
    Blocked,
}

fn nobody(service: &Service, policy: &Resolved) -> Option<Nobody> {
    let from = members(&service.from, policy);
    if !service.from.any && from.addresses.is_empty() && from.interfaces.is_empty() {
        return Some(Nobody::Empty);
    }
    let names_all = |others: &Group| {
        let everyone = everyone();
        let addresses = if service.from.any { &everyone } else { &from.addresses };
        let is_named = |name: &IfPattern| others.interfaces.iter().any(|other| is_covered(name, other));
        // A source behind an interface may have any address.
        is_within(addresses, &others.addresses)
            && (is_within(&everyone, &others.addresses) || from.interfaces.iter().all(is_named))
    };
    if names_all(&members(&service.except, policy)) {
        return Some(Nobody::Excepted);
    }
    if names_all(&Group { interfaces: BTreeSet::new(), ..members(&policy.block, policy) }) {
        return Some(Nobody::Blocked);
    }
    let by_interface = !service.from.any && from.addresses.is_empty() && !service.on.is_empty();
    let meets = |name: &IfPattern| service.on.iter().any(|on| is_covered(name, on) || is_covered(on, name));
    (by_interface && !from.interfaces.iter().any(meets)).then_some(Nobody::Elsewhere)
}

fn dead(typed: &policy::Service, service: &Service, policy: &Resolved) -> Option<Diagnostic> {
    let name = quote(&typed.name.value);
    let place = |list: &Given<policy::List<Peer>>| list.here().map_or(typed.name.span, |list| list.span);
    let (span, why, help) = match nobody(service, policy)? {
        Nobody::Empty => (
            place(&typed.from),
            "nobody is in its `from`",
            "write who may reach it, or remove the service: what no service allows is denied",
        ),
        Nobody::Excepted => (
            place(&typed.except),
            "its `except` names everyone whom its `from` names",
            "name fewer in `except`, or remove the service",
        ),
        Nobody::Blocked => (
            place(&typed.from),
            "`block` names everyone whom its `from` names",
            "take them out of `block`, or remove the service",
        ),
        Nobody::Elsewhere => (
            place(&typed.on),
            "whom its `from` names comes in by none of these interfaces",
            "leave `on` out: an interface in `from` says by which one they come in",
        ),
    };
    Some(Diagnostic::at(span, format!("nobody can reach the service {name}: {why}")).help(help))
}

/// Services that allow nothing that another one does not allow, too.
fn shadowed(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    if typed.services.len() > MAX_COMPARED {
        return Vec::new();
    }
    let all: Vec<(&Text, &Service)> = typed
        .services
        .iter()
        .filter_map(|typed| Some((&typed.name, policy.services.get(&typed.name.value)?)))
        .collect();
    let shadow = |(name, service): &(&Text, &Service)| {
        let other = all.iter().find(|(other, by)| {
            // Of two that are equal, the one that stands first counts.
            let comes_first = other.span < name.span || !allows_all_of(service, by);
            other.value != name.value && comes_first && allows_all_of(by, service)
        });
        let (other, _) = other.filter(|_| !service.log)?;
        let (span, name, others) = (name.span, quote(&name.value), quote(&other.value));
        Some(
            Diagnostic::at(span, format!("the service {name} allows nothing that {others} does not allow anyway"))
                .note(other.span, "this one")
                .help(format!("narrow {others}, or remove {name}: what one service allows no other one takes back")),
        )
    };
    all.iter().filter_map(shadow).collect()
}

/// Whether the service `by` allows all that `service` allows, unlimited.
fn allows_all_of(by: &Service, service: &Service) -> bool {
    let within = |wide: &Peers, narrow: &Peers| {
        wide.any
            || !narrow.any
                && narrow.groups.keys().all(|group| wide.groups.contains_key(group))
                && narrow.interfaces.iter().all(|name| wide.interfaces.iter().any(|other| is_covered(name, other)))
                && is_within(&narrow.addresses, &wide.addresses)
    };
    let has = |ports: &crate::net::Ports| {
        by.ports
            .iter()
            .any(|wide| wide.transport == ports.transport && wide.first <= ports.first && ports.last <= wide.last)
    };
    // A service that denies or forwards has an effect even if another one allows the same.
    let plain = |one: &Service| one.action == Action::Allow && one.forward_to.is_none() && !one.all && !one.ping;
    plain(by)
        && plain(service)
        && by.limit.is_none()
        && by.except.is_empty()
        && (by.to.is_empty() || by.to == service.to)
        && (by.on.is_empty() || by.on == service.on)
        && service.ports.iter().all(has)
        && service.protocols.is_subset(&by.protocols)
        && within(&by.from, &service.from)
}

/// Groups with addresses that a service admits and `block` drops.
fn blocked_groups(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let blocked = members(&policy.block, policy).addresses;
    let mut seen = BTreeSet::new();
    let named = typed.services.iter().filter_map(|service| Some((service, service.from.here()?)));
    let items = named.flat_map(|(service, from)| from.items.iter().map(move |peer| (service, peer)));
    let mut found = Vec::new();
    for (service, peer) in items {
        let Peer::Word(word) = peer else { continue };
        let Some(range) = blocked_item(typed, &word.value, &blocked, 0) else { continue };
        if !seen.insert(&word.value) {
            continue;
        }
        let (name, service) = (quote(&word.value), quote(&service.name.value));
        let message = format!("{} is in the group {name} and in `block`: {service} does not admit it", shown(range));
        let mut warning = Diagnostic::at(word.span, message);
        if let Some(list) = typed.block.here() {
            warning = warning.note(list.span, "`block` comes first");
        }
        found.push(warning.help("take it out of one of the two"));
    }
    found
}

fn nothing_goes_out(typed: &Policy, policy: &Resolved) -> Option<Diagnostic> {
    let text = typed
        .defaults
        .outgoing
        .here()
        .filter(|_| policy.defaults.outgoing != Action::Allow && policy.outgoing.is_empty())?;
    let message = "this machine may open no connection: it can't look up names, fetch updates or tell the time";
    Some(Diagnostic::at(text.span, message).help("say `outgoing: allow` if that is not meant"))
}

/// The members of peers, with those of the groups they name.
fn members(peers: &Peers, policy: &Resolved) -> Group {
    let groups: Vec<&Group> = peers.groups.keys().filter_map(|name| policy.groups.get(name)).collect();
    let parts: Vec<&Addresses> = groups
        .iter()
        .map(|group| &group.addresses)
        .chain([&peers.addresses])
        .filter(|part| !part.is_empty())
        .collect();
    let interfaces = groups.iter().flat_map(|group| &group.interfaces).chain(&peers.interfaces).cloned().collect();
    Group { addresses: Addresses::union(&parts), interfaces, ..Group::default() }
}

fn everyone() -> Addresses {
    let v4 = AddressRange::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let v6 = AddressRange::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX));
    [v4, v6].into_iter().collect()
}

/// Whether all of a pattern's names are among those of another.
fn is_covered(name: &IfPattern, other: &IfPattern) -> bool {
    name == other || other.wildcard && name.name.starts_with(&other.name)
}

/// Whether all addresses are among others.
fn is_within(addresses: &Addresses, others: &Addresses) -> bool {
    runs_within(&addresses.v4, &others.v4, |address| address.to_bits().checked_add(1).map(Ipv4Addr::from_bits))
        && runs_within(&addresses.v6, &others.v6, |address| address.to_bits().checked_add(1).map(Ipv6Addr::from_bits))
}

/// Whether each interval is covered by the others, of which adjacent ones are not merged.
fn runs_within<T: Copy + Ord>(runs: &Intervals<T>, others: &Intervals<T>, next: impl Fn(T) -> Option<T>) -> bool {
    let others = others.as_slice();
    runs.as_slice().iter().all(|&(first, last)| {
        let at = others.partition_point(|&(_, end)| end < first);
        let mut needed = first;
        for &(begin, end) in others.get(at..).unwrap_or_default() {
            if begin > needed {
                return false;
            }
            if end >= last {
                return true;
            }
            let Some(behind) = next(end) else { return true };
            needed = behind;
        }
        false
    })
}

/// How deeply groups are looked into.
const MAX_GROUPS: usize = 16;

/// The first item of a group that is blocked as a whole. A few addresses of a network that are blocked are an
/// exception, and meant.
fn blocked_item(typed: &Policy, group: &str, blocked: &Addresses, depth: usize) -> Option<AddressRange> {
    let group = typed.groups.iter().find(|one| one.name.value == group).filter(|_| depth < MAX_GROUPS)?;
    group.peers.here()?.items.iter().find_map(|peer| {
        let Peer::Word(word) = peer else { return None };
        match address_range(&word.value) {
            Ok(range) => is_among(range, blocked).then_some(range),
            Err(_) => blocked_item(typed, &word.value, blocked, depth + 1),
        }
    })
}

fn is_among(range: AddressRange, others: &Addresses) -> bool {
    fn of<T: Copy + Ord>((first, last): (T, T), others: &Intervals<T>) -> bool {
        let others = others.as_slice();
        let at = others.partition_point(|&(_, end)| end < first);
        others.get(at).is_some_and(|&(begin, end)| begin <= first && last <= end)
    }
    match range {
        AddressRange::V4(first, last) => of((first, last), &others.v4),
        AddressRange::V6(first, last) => of((first, last), &others.v6),
    }
}

fn shown(range: AddressRange) -> String {
    let of = |first: String, last: String| if first == last { first } else { format!("{first}-{last}") };
    match range {
        AddressRange::V4(first, last) => of(first.to_string(), last.to_string()),
        AddressRange::V6(first, last) => of(first.to_string(), last.to_string()),
    }
}
