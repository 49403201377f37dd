//! What a valid policy says that may surprise its author: nothing is wrong with it.

use super::warnings::{is_covered, is_within};
use super::{Action, Group, Nat, Peers, PolicyRule, Resolved, Service};
use crate::names::Known;
use crate::net::{IfPattern, Ports};
use crate::policy::{self, Diagnostic, Given, Peer, Policy, Span, Text, host_name, quote};
use std::collections::{BTreeMap, BTreeSet};

/// Up to how many rules of a section each is compared with each other one.
const MAX_COMPARED: usize = 1_000;

/// The notes of a policy without problems.
pub(super) fn notes(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = containers_send(typed, policy).into_iter().collect();
    found.extend(nat_lines(typed, policy));
    found.extend(swallowed(typed, policy));
    found.extend(nobody_by_name(typed, policy));
    found.into_iter().map(Diagnostic::as_note).collect()
}

/// `outgoing` denies, and containers send freely because nobody has said anything of them.
fn containers_send(typed: &Policy, policy: &Resolved) -> Option<Diagnostic> {
    let containers = &policy.containers;
    let is_silent = typed.containers.outgoing == Given::Absent && containers.outgoing == Action::Allow;
    let has_denials = policy.outgoing.values().any(|rule| !policy.members(&rule.from).interfaces.is_empty());
    if policy.defaults.outgoing == Action::Allow || containers.interfaces.is_empty() || !is_silent || has_denials {
        return None;
    }
    let message = "this is about this machine alone: its containers open everything";
    let help = "write `containers: { outgoing: deny }` to restrict them, or `allow` to say that it is meant";
    Some(Diagnostic::at(typed.defaults.outgoing.here()?.span, message).help(help))
}

/// Lines of `nat` whose packets nothing lets through.
fn nat_lines(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let lines = typed.nat.iter().filter_map(|line| Some((line, policy.nat.get(&line.name.value)?)));
    let useless = lines.filter(|(_, line)| !may_pass(line, policy));
    useless
        .map(|(line, _)| {
            let message = format!("nothing lets through what {} translates", quote(&line.name.value));
            let help = "`nat` allows nothing: write in `forward` who may open what, or in `outgoing` for containers";
            Diagnostic::at(line.name.span, message).help(help)
        })
        .collect()
}

/// Host names that mean nobody, once for each that is written.
fn nobody_by_name(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for peer in typed.peers() {
        let Peer::Dns(text) = peer else { continue };
        let known = host_name(&text.value).ok().and_then(|name| policy.names.get(&name));
        let Some(why) = known.and_then(Known::nobody) else { continue };
        let message = format!("{} means nobody: {why}", quote(&text.value));
        found.push(Diagnostic::at(text.span, message).help("`palisade refresh --now` looks it up"));
    }
    found
}

fn may_pass(line: &Nat, policy: &Resolved) -> bool {
    let containers = || Group { interfaces: policy.containers.interfaces.clone(), ..Group::default() };
    let of = |peers: &Peers| (peers.any, policy.members(peers));
    let (from, to) = (of(&line.from), of(&line.to));
    let allows = |rules: &BTreeMap<String, PolicyRule>| {
        let mut allowing = rules.values().filter(|rule| rule.action == Action::Allow);
        allowing.any(|rule| may_meet(&from, &of(&rule.from)) && may_meet(&to, &of(&rule.to)))
    };
    let sent_by_containers = may_meet(&from, &(false, containers()));
    policy.defaults.forward == Action::Allow
        || sent_by_containers && policy.containers.outgoing == Action::Allow
        || allows(&policy.outgoing)
        || allows(&policy.forward)
        // The port forward is what it is for.
        || policy.services.values().any(|service| service.forward_to.is_some())
}

/// Whether both lists may mean one packet: where one names addresses and the other interfaces, nobody knows.
fn may_meet((any, one): &(bool, Group), (any_other, other): &(bool, Group)) -> bool {
    let named = |group: &Group| !group.addresses.is_empty() || !group.interfaces.is_empty();
    let mixed = |a: &Group, b: &Group| !a.addresses.is_empty() && !b.interfaces.is_empty();
    let (any, any_other) = (*any, *any_other);
    any && (any_other || named(other))
        || any_other && named(one)
        || mixed(one, other)
        || mixed(other, one)
        || one.addresses.meets(&other.addresses)
        || one.interfaces.iter().any(|a| other.interfaces.iter().any(|b| a.meets(b)))
}

/// What a rule or a service is about.
struct About<'a> {
    name: &'a Text,
    denies: bool,
    all: bool,
    ping: bool,
    ports: &'a BTreeSet<Ports>,
    protocols: &'a BTreeSet<u8>,
    from: &'a Peers,
    to: To<'a>,
    except: &'a Peers,
    on: &'a BTreeSet<IfPattern>,
}

/// Where connections go: of services, an empty list is every address of this machine.
enum To<'a> {
    Peers(&'a Peers),
    Own(&'a crate::net::Addresses),
}

impl<'a> About<'a> {
    fn service(typed: &'a policy::Service, service: &'a Service) -> Self {
        Self {
            name: &typed.name,
            denies: service.action != Action::Allow,
            all: service.all,
            ping: service.ping,
            ports: &service.ports,
            protocols: &service.protocols,
            from: &service.from,
            to: To::Own(&service.to),
            except: &service.except,
            on: &service.on,
        }
    }

    fn rule(typed: &'a policy::PolicyRule, rule: &'a PolicyRule) -> Self {
        Self {
            name: &typed.name,
            denies: rule.action != Action::Allow,
            all: rule.all,
            ping: rule.ping,
            ports: &rule.ports,
            protocols: &rule.protocols,
            from: &rule.from,
            to: To::Peers(&rule.to),
            except: &rule.except,
            on: &rule.on,
        }
    }

    /// Whether this denial is about everything that the allowance is about.
    fn swallows(&self, other: &Self, policy: &Resolved) -> bool {
        let has = |ports: &Ports| {
            let within = |wide: &Ports| wide.first <= ports.first && ports.last <= wide.last;
            self.ports.iter().any(|wide| wide.transport == ports.transport && within(wide))
        };
        let what = self.all
            || !other.all
                && (self.ping || !other.ping)
                && other.protocols.is_subset(self.protocols)
                && other.ports.iter().all(has);
        let to = match (&self.to, &other.to) {
            (To::Own(wide), To::Own(narrow)) => wide.is_empty() || !narrow.is_empty() && is_within(narrow, wide),
            (To::Peers(wide), To::Peers(narrow)) => covers(wide, narrow, policy),
            _ => false,
        };
        let on = self.on.is_empty()
            || !other.on.is_empty() && other.on.iter().all(|one| self.on.iter().any(|wide| is_covered(one, wide)));
        what && to && on && self.except.is_empty() && covers(self.from, other.from, policy)
    }
}

/// Whether one list certainly names everyone whom the other names.
fn covers(wide: &Peers, narrow: &Peers, policy: &Resolved) -> bool {
    if wide.any || narrow.any {
        return wide.any;
    }
    let (all, some) = (policy.members(wide), policy.members(narrow));
    let is_named = |name: &IfPattern| all.interfaces.iter().any(|other| is_covered(name, other));
    let users = |peers: &Peers| -> BTreeSet<u32> {
        let groups = peers.groups.keys().filter_map(|name| policy.groups.get(name));
        groups.flat_map(|group| &group.users).chain(&peers.users).copied().collect()
    };
    // Tomorrow a name may have other addresses.
    some.names.is_subset(&all.names)
        && (wide.host || !narrow.host && users(narrow).is_subset(&users(wide)))
        && some.interfaces.iter().all(is_named)
        && is_within(&some.addresses, &all.addresses)
}

/// Allowances that a denial of their section swallows whole.
fn swallowed(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let services = typed.services.iter();
    let services = services.filter_map(|one| Some(About::service(one, policy.services.get(&one.name.value)?)));
    let of = |typed: &'_ [policy::PolicyRule], rules: &BTreeMap<String, PolicyRule>| {
        pairs(typed.iter().filter_map(|one| Some(About::rule(one, rules.get(&one.name.value)?))).collect(), policy)
    };
    let mut found = pairs(services.collect(), policy);
    found.extend(of(&typed.outgoing, &policy.outgoing));
    found.extend(of(&typed.forward, &policy.forward));
    found
        .into_iter()
        .map(|(allowing, denying)| {
            let message = format!("{} allows nothing: {} denies all of it", quote(&allowing.1), quote(&denying.1));
            Diagnostic::at(allowing.0, message)
                .note(denying.0, "a denial beats every allowance")
                .help("name in its `except` for whom the denial does not hold, or remove one of the two")
        })
        .collect()
}

/// A rule's place and name.
type Named = (Span, String);

fn pairs(all: Vec<About<'_>>, policy: &Resolved) -> Vec<(Named, Named)> {
    if all.len() > MAX_COMPARED {
        return Vec::new();
    }
    let (denying, allowing): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.denies);
    let named = |one: &About<'_>| (one.name.span, one.name.value.clone());
    let swallowed = allowing.iter().filter_map(|one| {
        let by = denying.iter().find(|denial| denial.swallows(one, policy))?;
        Some((named(one), named(by)))
    });
    swallowed.collect()
}
