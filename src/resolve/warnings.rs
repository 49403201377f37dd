//! Warnings about valid policies that probably don't do what their authors want: lines without effect, and SSH that
//! nobody reaches.

mod shadows;

use super::{Action, Group, Peers, PolicyRule, Resolved, Service};
use crate::net::{AddressRange, Addresses, IfPattern, Intervals, Ports, Transport};
use crate::policy::{self, Diagnostic, Given, Peer, Policy, Text, address_range, quote};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Up to how many services are compared in pairs.
const MAX_COMPARED: usize = 1_000;

/// The warnings of a policy without problems.
pub(super) fn warnings(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let services =
        || typed.services.iter().filter_map(|typed| Some((typed, policy.services.get(&typed.name.value)?)));
    let blocked = policy.members(&policy.block).addresses;
    let mut found = unused_groups(typed);
    found.extend(services().filter_map(|(typed, service)| dead(typed, service, policy, &blocked)));
    found.extend(shadowed(typed, policy));
    found.extend(shadows::of_rules(typed, policy));
    found.extend(blocked_groups(typed, &blocked));
    found.extend(nothing_goes_out(typed, policy));
    found.into_iter().map(Diagnostic::warning).collect()
}

/// The warning that the policy lets nobody reach SSH, which listens on these TCP ports.
#[must_use]
pub fn ssh_is_shut(policy: &Resolved, ports: &BTreeSet<u16>) -> Option<Diagnostic> {
    let blocked = policy.members(&policy.block).addresses;
    let has_port = |service: &Service| {
        let tcp = service.ports.iter().filter(|ports| ports.transport == Transport::Tcp);
        tcp.into_iter().any(|range| ports.range(range.first..=range.last).next().is_some())
    };
    let is_open = |service: &Service| {
        let here = service.action == Action::Allow && service.forward_to.is_none();
        // Nobody is let in for a time who can't log in before, and nobody knows yet who has a name that was never looked up.
        let is_somebody = service.from.any || has_members(&service.from, policy);
        here && (service.all || has_port(service)) && is_somebody && nobody(service, policy, &blocked).is_none()
    };
    let first = ports.first()?;
    if policy.defaults.incoming == Action::Allow || policy.services.values().any(is_open) {
        return None;
    }
    let shown: Vec<String> = ports.iter().map(|port| format!("{port}/tcp")).collect();
    let message = format!("SSH can be reached by nobody: no service allows {}", shown.join(" or "));
    Some(Diagnostic::general(message).help(admit_ssh(policy, *first)).warning())
}

/// The line that lets everybody in by SSH at a port, under a name that the policy does not have.
#[must_use]
pub fn admit_ssh(policy: &Resolved, port: u16) -> String {
    let numbered = (2..).map(|number| format!("ssh-{number}"));
    let mut names = std::iter::once("ssh".to_owned()).chain(numbered);
    let name = names.find(|name| !policy.services.contains_key(name)).unwrap_or_default();
    format!(
        "add `services: {{ {name}: {{ ports: {port}/tcp, from: any }} }}`, with your addresses in the place of `any` if they stay \
         the same"
    )
}

/// Groups that no other part of the policy names, directly or by another group.
fn unused_groups(typed: &Policy) -> Vec<Diagnostic> {
    let groups: BTreeMap<&str, &policy::Group> =
        typed.groups.iter().map(|group| (group.name.value.as_str(), group)).collect();
    let is_group = |name: &&str| groups.contains_key(name);
    let mut used: BTreeSet<&str> = typed.users_of_groups().filter_map(word).filter(is_group).collect();
    let mut waiting: Vec<&str> = used.iter().copied().collect();
    while let Some(group) = waiting.pop() {
        let items = groups.get(group).and_then(|group| group.peers.here());
        let more = items.into_iter().flat_map(|list| &list.items).filter_map(word).filter(is_group);
        waiting.extend(more.filter(|name| used.insert(name)));
    }
    // What an included file defines, others may use.
    let own = typed.groups.iter().filter(|group| group.name.span.source == 0);
    let unused = own.filter(|group| !used.contains(group.name.value.as_str()));
    let warning = |group: &policy::Group| {
        Diagnostic::at(group.name.span, format!("nothing uses the group {}", quote(&group.name.value)))
            .help("remove it, or name it in the `from` of a service, in a rule or in `block`")
    };
    unused.map(warning).collect()
}

fn word(peer: &Peer) -> Option<&str> {
    if let Peer::Word(text) = peer { Some(&text.value) } else { None }
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

/// Whether anything is known of whom a list names.
fn has_members(peers: &Peers, policy: &Resolved) -> bool {
    let of_group = |group: &Group| !group.addresses.is_empty() || !group.interfaces.is_empty();
    let mut groups = peers.groups.keys().filter_map(|name| policy.groups.get(name));
    !peers.addresses.is_empty() || !peers.interfaces.is_empty() || groups.any(of_group)
}

fn nobody(service: &Service, policy: &Resolved, blocked: &Addresses) -> Option<Nobody> {
    if !service.from.any && !has_members(&service.from, policy) {
        // Whoever is added for a time is not known yet. That nobody is known by a name, a note says.
        let from = policy.members(&service.from);
        return (from.temporary.is_empty() && from.names.is_empty()).then_some(Nobody::Empty);
    }
    if service.except.is_empty() && blocked.is_empty() && service.on.is_empty() {
        return None;
    }
    let from = policy.members(&service.from);
    let names_all = |others: &Addresses, behind: &BTreeSet<IfPattern>| {
        let everyone = everyone();
        let addresses = if service.from.any { &everyone } else { &from.addresses };
        let is_named = |name: &IfPattern| behind.iter().any(|other| is_covered(name, other));
        // A source behind an interface may have any address, and so may whoever is added for a time.
        from.temporary.is_empty()
            && is_within(addresses, others)
            && (is_within(&everyone, others) || from.interfaces.iter().all(is_named))
    };
    let excepted = policy.members(&service.except);
    if names_all(&excepted.addresses, &excepted.interfaces) {
        return Some(Nobody::Excepted);
    }
    if names_all(blocked, &BTreeSet::new()) {
        return Some(Nobody::Blocked);
    }
    let by_interface = !service.from.any && from.addresses.is_empty() && !service.on.is_empty();
    let meets = |name: &IfPattern| service.on.iter().any(|on| is_covered(name, on) || is_covered(on, name));
    (by_interface && !from.interfaces.iter().any(meets)).then_some(Nobody::Elsewhere)
}

fn dead(typed: &policy::Service, service: &Service, policy: &Resolved, blocked: &Addresses) -> Option<Diagnostic> {
    let name = quote(&typed.name.value);
    let place = |list: &Given<policy::List<Peer>>| list.here().map_or(typed.name.span, |list| list.span);
    let (span, why, help) = match nobody(service, policy, blocked)? {
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
                .help(format!("remove {name}, or narrow {others}: what one service allows no other one takes back")),
        )
    };
    all.iter().filter_map(shadow).collect()
}

/// Whether the service `by` allows all that `service` allows, unlimited.
fn allows_all_of(by: &Service, service: &Service) -> bool {
    // A service that denies or forwards has an effect even if another one allows the same.
    let plain = |one: &Service| one.action == Action::Allow && one.forward_to.is_none();
    let wide = Asked { ports: &by.ports, protocols: &by.protocols, ping: by.ping, all: by.all };
    let narrow = Asked { ports: &service.ports, protocols: &service.protocols, ping: service.ping, all: service.all };
    plain(by)
        && plain(service)
        && by.limit.is_none()
        && by.except.is_empty()
        && (by.to.is_empty() || by.to == service.to)
        && (by.on.is_empty() || by.on == service.on)
        && wide.has_all_of(&narrow)
        && names_all_of(&by.from, &service.from)
}

/// What a service or a rule is about.
struct Asked<'a> {
    ports: &'a BTreeSet<Ports>,
    protocols: &'a BTreeSet<u8>,
    ping: bool,
    all: bool,
}

impl Asked<'_> {
    fn has_all_of(&self, other: &Self) -> bool {
        let has = |ports: &Ports| {
            self.ports
                .iter()
                .any(|wide| wide.transport == ports.transport && wide.first <= ports.first && ports.last <= wide.last)
        };
        self.all
            || !other.all
                && (self.ping || !other.ping)
                && other.ports.iter().all(has)
                && other.protocols.is_subset(self.protocols)
    }
}

/// Whether whoever is named by `narrow` is named by `wide`, too.
fn names_all_of(wide: &Peers, narrow: &Peers) -> bool {
    wide.any
        || !narrow.any
            && (wide.host || !narrow.host)
            && (wide.host || narrow.users.is_subset(&wide.users))
            && narrow.groups.keys().all(|group| wide.groups.contains_key(group))
            && narrow.interfaces.iter().all(|name| wide.interfaces.iter().any(|other| is_covered(name, other)))
            // Tomorrow a name may have other addresses.
            && narrow.names.is_subset(&wide.names)
            && is_within(&narrow.addresses, &wide.addresses)
}

/// Groups with addresses that a service admits and `block` drops.
fn blocked_groups(typed: &Policy, blocked: &Addresses) -> Vec<Diagnostic> {
    if blocked.is_empty() {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let named = typed.services.iter().filter_map(|service| Some((service, service.from.here()?)));
    let items = named.flat_map(|(service, from)| from.items.iter().map(move |peer| (service, peer)));
    let mut found = Vec::new();
    for (service, peer) in items {
        let Peer::Word(word) = peer else { continue };
        let Some(range) = blocked_item(typed, &word.value, blocked, 0) else { continue };
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

/// A machine that may open nothing, or that no rule lets ask a name server.
fn nothing_goes_out(typed: &Policy, policy: &Resolved) -> Option<Diagnostic> {
    let denies = policy.defaults.outgoing != Action::Allow;
    let text = typed.defaults.outgoing.here().filter(|_| denies)?;
    let sends = |rule: &&PolicyRule| rule.action == Action::Allow && is_of_this_machine(&rule.from, policy);
    let rules: Vec<&PolicyRule> = policy.outgoing.values().filter(sends).collect();
    if rules.iter().any(|rule| rule.all || rule.ports.iter().any(asks_for_names)) {
        return None;
    }
    let names = "`outgoing: { names: { ports: [53/udp, 53/tcp], from: host, to: any } }`";
    let (message, help) = if rules.is_empty() {
        (
            "this machine may open no connection: it can't look up names, fetch updates or tell the time",
            "write `defaults: { outgoing: allow }` if that is not meant".to_owned(),
        )
    } else {
        (
            "this machine can't look up names: no rule of `outgoing` lets it ask port 53 or 853",
            format!("write {names}, with your name servers in the place of `any` if they stay the same"),
        )
    };
    Some(Diagnostic::at(text.span, message).help(help))
}

/// Whether this machine, or one of its users, is among peers.
fn is_of_this_machine(from: &Peers, policy: &Resolved) -> bool {
    let groups = || from.groups.keys().filter_map(|name| policy.groups.get(name));
    from.any || from.host || !from.users.is_empty() || groups().any(|group| !group.users.is_empty())
}

/// Whether name servers are among what listens on these ports: DNS, or DNS over TLS.
fn asks_for_names(ports: &Ports) -> bool {
    let has = |port| (ports.first..=ports.last).contains(&port);
    has(53) && ports.transport != Transport::Sctp || has(853) && ports.transport == Transport::Tcp
}

fn everyone() -> Addresses {
    let v4 = AddressRange::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let v6 = AddressRange::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX));
    [v4, v6].into_iter().collect()
}

/// Whether all of a pattern's names are among those of another.
pub(super) fn is_covered(name: &IfPattern, other: &IfPattern) -> bool {
    name == other || other.wildcard && name.name.starts_with(&other.name)
}

/// Whether all addresses are among others.
pub(super) fn is_within(addresses: &Addresses, others: &Addresses) -> bool {
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
