//! What lets a session in again: changes of the policy, which are tried on the compiled rules before they are given.
//!
//! The line of a service is tried as it is printed: read, resolved, compiled with the policy, and asked. A change that
//! is not needed is not given, and what the changes do beside letting the session in is said.

use super::{Candidate, Dropped, Next, next};
use crate::access::{AccessChange, access_changes};
use crate::compile::{compile, leads_to_containers};
use crate::facts::Facts;
use crate::machine::Session;
use crate::net::{Addresses, IfName, Ports, Transport};
use crate::policy::{in_a_policy, parse};
use crate::printable::printable;
use crate::resolve::{Action, Group, Peers, Resolved, ReversePath, Service, forwards_contradict, resolve};
use crate::ruleset::Table;
use crate::simulate::AsListed;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// How many lines of what else changes are printed.
const MOST_LINES: usize = 5;
/// The group of all containers.
const CONTAINERS: &str = "containers";

/// What lets a session in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// These changes of the policy together.
    Changes {
        /// Each of them is needed.
        changes: Vec<Change>,
        /// Whether `services` has to be added to the policy.
        no_services: bool,
        /// What else they change in who has access, a line each.
        beside: Vec<String>,
        /// Which rules of others keep the session out even then.
        still: Option<Dropped>,
    },
    /// None that was tried.
    NoneFound,
    /// Nothing in the policy: the rules of another program have to change, in these words.
    Elsewhere(String),
    /// The policy is not known, or the session is another's.
    NotAsked,
}

/// One change of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another service, as a line of `services`.
    Service(String),
    /// The client, or the interface that it comes in by, is taken out of `block`.
    Unblock(String),
    /// The client is excepted from a service that denies.
    Except {
        /// The client, as an item of `except`.
        item: String,
        /// The service.
        service: String,
        /// The line of its name, in words.
        line: String,
    },
    /// A service does not forward that port.
    Answer {
        /// The TCP port.
        port: u16,
        /// The service.
        service: String,
        /// The line of its name, in words.
        line: String,
    },
    /// Sources are not required to route back by the interface that they come in by.
    AnyPath,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(line) => f.write_str(line),
            Self::Unblock(item) => write!(f, "take {item}, or what it is a part of, out of `block`"),
            Self::Except { item, service, line } => {
                write!(f, "add {item} to `except` of the service {service} ({line})")
            }
            Self::Answer { port, service, line } => {
                write!(f, "take {port}/tcp out of the service {service}, which forwards it ({line})")
            }
            Self::AnyPath => f.write_str("set `reverse_path: off` in `defaults`"),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (changes, no_services, beside, still) = match self {
            Self::Changes { changes, no_services, beside, still } => (changes, *no_services, beside, still),
            Self::NoneFound => return f.write_str("No change of the policy that was tried lets it in.\n"),
            Self::Elsewhere(words) => return writeln!(f, "{}", elsewhere(words)),
            Self::NotAsked => return Ok(()),
        };
        let is_line = |change: &&Change| matches!(change, Change::Service(_));
        let mut sentences: Vec<String> =
            changes.iter().filter(|change| !is_line(change)).map(ToString::to_string).collect();
        let line = changes.iter().find(is_line);
        let place = if no_services { "add to the policy" } else { "add to `services` in the policy" };
        sentences.extend(line.map(|_| place.to_owned()));
        write!(f, "To let it in, {}", printable(&sentences.join(", and ")))?;
        match line {
            Some(line) if no_services => write!(f, ":\n\n  services:\n    {line}\n")?,
            Some(line) => write!(f, ":\n\n    {line}\n")?,
            None => f.write_str(".\n")?,
        }
        if !beside.is_empty() {
            writeln!(f, "\nThat changes more than the session's own access:")?;
            beside.iter().take(MOST_LINES).try_for_each(|line| writeln!(f, "  {}", printable(line)))?;
        }
        if beside.len() > MOST_LINES {
            writeln!(f, "  and {} more", beside.len() - MOST_LINES)?;
        }
        still.iter().try_for_each(|Dropped { by, remedy }| {
            let by = printable(by);
            writeln!(f, "\nEven with that it could not connect again.\nDenied by: {by}\n{}", elsewhere(remedy))
        })
    }
}

fn elsewhere(remedy: &str) -> String {
    format!("No line of the policy would let it in: {remedy}.")
}

/// Finds what lets a session in, and what that does beside.
pub(super) fn find(candidate: &Candidate<'_>, policy: &Resolved, session: &Session) -> Remedy {
    let Some((changes, table)) = changes(candidate, policy, session) else { return Remedy::NoneFound };
    let own = session.client.to_string();
    let of_session = |change: &AccessChange| {
        change.loses.is_empty() && change.unknown.is_empty() && change.gains.iter().all(|gains| *gains == own)
    };
    let access = access_changes(candidate.id, Some(candidate.table), Some(&table));
    let beside = access.iter().filter(|change| !of_session(change)).map(ToString::to_string).collect();
    let still = candidate.beside.and_then(|others| others.with(candidate.id, &table).drops(session));
    Remedy::Changes { changes, no_services: policy.services.is_empty(), beside, still }
}

/// The changes of a policy that let a session in, and the table of the changed policy: first all that may be needed,
/// then without those that are not. `None` if not even all of them do.
pub(super) fn changes(
    candidate: &Candidate<'_>,
    policy: &Resolved,
    session: &Session,
) -> Option<(Vec<Change>, Table)> {
    let found: Vec<(Vec<Change>, Table)> =
        Given::all(candidate, policy, session).iter().filter_map(|given| tried(candidate, policy, given)).collect();
    let forwards = |(changes, _): &(Vec<Change>, Table)| changes.iter().any(|c| matches!(c, Change::Answer { .. }));
    let best = found.iter().position(|changes| !forwards(changes)).unwrap_or_default();
    found.into_iter().nth(best)
}

/// The changes that are needed with one line for the session.
fn tried(candidate: &Candidate<'_>, policy: &Resolved, given: &Given<'_>) -> Option<(Vec<Change>, Table)> {
    let mut changes = given.changes(policy);
    let lets_in = |changes: &[Change]| {
        let changed = given.changed(policy, changes);
        if forwards_contradict(&changed.services) {
            return None;
        }
        let table = compile(&changed);
        let lets_in = match next(candidate.id, &table, given.session) {
            Next::LetIn => true,
            // By some interfaces it does, and which one it is, is not known.
            Next::Untold(_) => given.session.interface.is_none(),
            Next::Denied(_) | Next::Led(..) => false,
        };
        lets_in.then_some(table)
    };
    let mut table = lets_in(&changes)?;
    for change in changes.clone() {
        let fewer: Vec<Change> = changes.iter().filter(|other| **other != change).cloned().collect();
        if let Some(again) = lets_in(&fewer) {
            (changes, table) = (fewer, again);
        }
    }
    Some((changes, table))
}

/// A session as a policy speaks of it.
struct Given<'a> {
    session: &'a Session,
    /// The client as an item of a list of peers.
    item: String,
    /// The line of a service that admits it.
    line: String,
    /// What the line says, and its name.
    service: (String, Service),
}

impl<'a> Given<'a> {
    /// One for each line that may let the session in, the shortest first; none if no policy can name the interface.
    fn all(candidate: &Candidate<'_>, policy: &Resolved, session: &'a Session) -> Vec<Self> {
        let item = match session.client {
            // A service from an address does not match the container that has the address.
            _ if is_container(candidate, session) => CONTAINERS.to_owned(),
            address => in_a_list(address),
        };
        let port = session.asked_for().port();
        // A link-local address is another machine's on another link. A forwarded port may be answered here elsewhere.
        let forwarded = policy.services.values().any(|service| service.forward_to.is_some() && names(service, port));
        let link_local = matches!(session.client, IpAddr::V6(client) if client.is_unicast_link_local());
        let on = session.interface.as_ref().filter(|_| link_local || forwarded).and_then(|name| in_a_policy(name));
        let on = on.map(|on| format!(", on: {on}")).unwrap_or_default();
        let mut ends = vec![on.clone()];
        if forwarded {
            let own = BTreeSet::from([session.asked_for().ip(), session.server.ip()]);
            ends.extend(own.into_iter().map(|own| format!("{on}, to: {}", in_a_list(own))));
        }
        let read = |end: &String| Self::read(policy, session, item.clone(), end);
        ends.iter().filter_map(read).collect()
    }

    /// With `end` behind the sources of the line. `None` if the line can't be read.
    fn read(policy: &Resolved, session: &'a Session, item: String, end: &str) -> Option<Self> {
        let name = (1..=policy.services.len() + 1).map(|number| match number {
            1 => "ssh".to_owned(),
            number => format!("ssh-{number}"),
        });
        let name = name.into_iter().find(|name| !policy.services.contains_key(name))?;
        let port = session.asked_for().port();
        let line = format!("{name}: {{ ports: {port}/tcp, from: {item}{end} }}");
        let read = parse(&format!("version: 1\nservices:\n  {line}\n"), "").policy?;
        let service = resolve(&read, &Facts::default()).ok()?.services.remove(&name)?;
        Some(Self { session, item, line, service: (name, service) })
    }

    /// All changes that may be needed, those that change most first.
    fn changes(&self, policy: &Resolved) -> Vec<Change> {
        let port = self.session.asked_for().port();
        let mut changes = Vec::new();
        changes.extend((policy.defaults.reverse_path == ReversePath::Strict).then_some(Change::AnyPath));
        for (name, service) in policy.services.iter().filter(|(_, service)| names(service, port)) {
            let (line, forwards) = (policy.line_in_words(service.line), service.forward_to.is_some() && !service.all);
            let denies = service.action != Action::Allow;
            changes.extend(forwards.then(|| Change::Answer { port, service: name.clone(), line: line.clone() }));
            changes.extend(denies.then(|| Change::Except { item: self.item.clone(), service: name.clone(), line }));
        }
        if policy.block != without(policy, self.session) {
            let named = |group: &Group| group.addresses.contains(self.session.client);
            let groups = policy.block.groups.keys().filter_map(|name| policy.groups.get(name));
            let by_address = policy.block.addresses.contains(self.session.client) || groups.into_iter().any(named);
            let interface = self.session.interface.clone().filter(|_| !by_address);
            changes.push(Change::Unblock(interface.unwrap_or_else(|| self.session.client.to_string())));
        }
        changes.push(Change::Service(self.line.clone()));
        changes
    }

    /// The policy with these changes.
    fn changed(&self, policy: &Resolved, changes: &[Change]) -> Resolved {
        let mut changed = policy.clone();
        for change in changes {
            match change {
                Change::Service(_) => {
                    self.name_containers(&mut changed);
                    changed.services.insert(self.service.0.clone(), self.service.1.clone());
                }
                Change::Unblock(_) => changed.block = without(policy, self.session),
                Change::Except { service, .. } => {
                    self.name_containers(&mut changed);
                    if let Some(service) = changed.services.get_mut(service) {
                        let Peers { groups, addresses, .. } = &self.service.1.from;
                        service.except.groups.extend(groups.iter().map(|(name, line)| (name.clone(), *line)));
                        service.except.addresses = Addresses::union(&[&service.except.addresses, addresses]);
                    }
                }
                Change::Answer { port, service, .. } => {
                    if let Some(service) = changed.services.get_mut(service) {
                        service.ports.retain(|ports| {
                            ports.transport != Transport::Tcp || !(ports.first..=ports.last).contains(port)
                        });
                    }
                }
                Change::AnyPath => changed.defaults.reverse_path = ReversePath::Off,
            }
        }
        changed
    }

    /// Adds the group of containers, which this policy may not have named yet.
    fn name_containers(&self, policy: &mut Resolved) {
        if self.item == CONTAINERS {
            let interfaces = policy.containers.interfaces.clone();
            let group = Group { interfaces, ..Group::default() };
            policy.groups.entry(CONTAINERS.to_owned()).or_insert(group);
        }
    }
}

/// An address as an item of a list of peers.
fn in_a_list(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"{address}\""),
    }
}

/// Whether a service speaks of a TCP port.
fn names(service: &Service, port: u16) -> bool {
    let tcp = |ports: &Ports| ports.transport == Transport::Tcp && (ports.first..=ports.last).contains(&port);
    service.all || service.ports.iter().any(tcp)
}

fn is_container(candidate: &Candidate<'_>, session: &Session) -> bool {
    let interface = session.interface.as_ref().map(|name| IfName::new(name));
    interface.is_some_and(|interface| leads_to_containers(candidate.table, &AsListed, &interface) == Some(true))
}

/// What `block` names, without a session's client and the interface that it comes in by.
fn without(policy: &Resolved, session: &Session) -> Peers {
    let by = session.interface.as_deref();
    let mut block = policy.block.clone();
    let named = std::mem::take(&mut block.groups);
    let mut addresses = vec![block.addresses.without(session.client)];
    for (name, line) in named {
        let group = policy.groups.get(&name);
        let by_interface = |group: &Group| by.is_some_and(|by| group.interfaces.iter().any(|on| on.covers(by)));
        match group.filter(|group| group.addresses.contains(session.client) || by_interface(group)) {
            Some(group) => {
                addresses.push(group.addresses.without(session.client));
                block.interfaces.extend(group.interfaces.iter().cloned());
            }
            None => {
                block.groups.insert(name, line);
            }
        }
    }
    block.interfaces.retain(|on| !by.is_some_and(|by| on.covers(by)));
    block.addresses = Addresses::union(&addresses.iter().collect::<Vec<_>>());
    block
}
