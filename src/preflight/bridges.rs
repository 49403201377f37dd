//! Interfaces of containers and of networks that the policy does not name.

use super::{Preflight, Remark, Topic, Weight, some};
use crate::access::{AccessChange, Port, access_changes};
use crate::compile::compile;
use crate::explain::owner_of;
use crate::net::{AddressRange, Addresses, IfPattern, Version, number};
use crate::netlink::RoutedLink;
use crate::policy::{in_a_policy, quote};
use crate::resolve::{Action, Group, Peers, Resolved};
use crate::ruleset::{Table, TableId};
use crate::simulate::Routes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The programs whose rules translate ports to containers, as [`owner_of`] names them.
const ENGINES: [&str; 3] = ["Docker", "Podman", "libvirt"];
/// The ports of this machine that answers to its requests for an address come to.
const DHCP: [Option<Port>; 2] = [Some(Port::One(68)), Some(Port::One(546))];

impl Preflight<'_> {
    /// An error for the bridges of engines that the policy does not name, and a warning for other networks that it
    /// cuts off.
    pub(super) fn bridges(&self, but: &BTreeSet<String>) -> Vec<Remark> {
        let unnamed = self.unnamed_bridges();
        let mut remarks: Vec<Remark> = self.add_them(&unnamed).into_iter().collect();
        remarks.extend(self.cut_off(&unnamed.keys().chain(but).collect()));
        remarks
    }

    /// The bridges of engines that no part of the policy names, each with the owner: `Docker's network web`.
    fn unnamed_bridges(&self) -> BTreeMap<String, String> {
        let mut bridges: BTreeMap<String, String> = BTreeMap::new();
        for engine in &self.machine.engines {
            for network in &engine.networks {
                if let Some(bridge) = network.bridge.as_ref().filter(|bridge| self.link(bridge).is_some()) {
                    let whose = format!("the network {} of {}", network.name, engine.name);
                    bridges.entry(bridge.clone()).or_insert(whose);
                }
            }
        }
        if let Some(beside) = self.beside {
            let of_engines = super::published(beside.tables.iter().copied())
                .into_iter()
                .filter_map(|port| Some((port.owner.filter(|owner| ENGINES.contains(owner))?, port.to.ip())));
            for (owner, target) in of_engines.collect::<BTreeSet<_>>() {
                if let Some(bridge) = self.guests_behind(beside.routes, target) {
                    bridges.entry(bridge).or_insert_with(|| format!("a port that {owner} publishes"));
                }
            }
        }
        bridges.retain(|bridge, _| !is_named(self.policy, bridge));
        bridges
    }

    /// The interface that leads to a container, unless it is the way out.
    fn guests_behind(&self, routes: &dyn Routes, target: IpAddr) -> Option<String> {
        let name = routes.leads(target).ok().flatten()?;
        let link = self.link(&name)?;
        (!link.is_way_out && link.kind.is_some()).then_some(name)
    }

    /// Whether a container engine runs here, as it says itself or as its rules show.
    fn has_engine(&self) -> bool {
        let tables = self.beside.map(|beside| beside.tables.as_slice()).unwrap_or_default();
        let of_engine = |(id, table): &(&TableId, &Table)| {
            let owners = table.chains.keys().filter_map(|chain| owner_of(id, chain, None));
            owners.into_iter().any(|owner| ENGINES.contains(&owner))
        };
        !self.machine.engines.is_empty() || self.machine.docker.is_some() || tables.iter().any(of_engine)
    }

    fn add_them(&self, unnamed: &BTreeMap<String, String>) -> Option<Remark> {
        let (first, whose) = unnamed.first_key_value()?;
        let lines = &self.policy.containers.lines;
        let which = match unnamed.len() {
            1 => format!("{first} (the bridge of {whose})"),
            _ => some(unnamed.iter().map(|(bridge, whose)| format!("{bridge} ({whose})"))),
        };
        let (it, its) = if unnamed.len() == 1 { ("it", "its") } else { ("them", "their") };
        let message = format!(
            "the policy does not name {which}: {its} containers count as anybody with their addresses, so that `from: private` \
             lets them in and `from: containers` does not, and what is forwarded for them is {}",
            match self.policy.defaults.forward {
                Action::Allow => "allowed, whatever `containers` says",
                Action::Deny | Action::Reject => "denied",
            }
        );
        let by_name = unnamed.keys().map(|name| IfPattern { name: name.clone(), wildcard: false });
        let known = self.policy.containers.interfaces.iter().cloned();
        let changed = with_containers(self.policy, known.chain(by_name).collect());
        let help = match containers_line(&changed.containers.interfaces) {
            Some(line) => {
                let lost = self.lost(&changed);
                format!("write `{line}`, or give {it} a name that the policy has{lost}")
            }
            None => format!("no policy can contain {}: give {it} another name", quote(first)),
        };
        Some(Remark::new(Topic::Bridge, Weight::Error, lines.interfaces, message, help))
    }

    /// Who loses access by a change of the policy, as the end of a sentence; empty if nobody does.
    fn lost(&self, changed: &Resolved) -> String {
        let changes = access_changes(&TableId::palisade(), Some(self.table), Some(&compile(changed)));
        // No container answers a request of this machine for an address.
        let is_dhcp = |change: &AccessChange| change.proto == "udp" && DHCP.contains(&change.port);
        let lost = changes.iter().filter(|change| !change.loses.is_empty() && !is_dhcp(change));
        let lost = some(lost.map(|change| format!("`{change}`")));
        if lost.is_empty() {
            return lost;
        }
        format!("; by that line, {lost}: where containers are to reach a service, add `containers` to its `from`")
    }

    /// Networks behind this machine whose packets it would forward, and which the policy keeps from others.
    fn cut_off(&self, but: &BTreeSet<&String>) -> Option<Remark> {
        let policy = self.policy;
        let sysctls = &self.machine.sysctls;
        if policy.defaults.forward == Action::Allow || !sysctls.forward() {
            return None;
        }
        // Its own address alone is no network.
        let is_network = |&(address, prefix): &(IpAddr, u8)| prefix < if address.is_ipv4() { 32 } else { 128 };
        let others = |link: &&RoutedLink| {
            let behind = link.networks.iter().any(is_network) || link.has_network && link.networks.is_empty();
            let apart = !link.is_way_out && link.master.is_none() && link.name != "lo";
            behind && apart && !is_named(policy, &link.name) && !is_routed(policy, link) && !but.contains(&link.name)
        };
        let found: Vec<&RoutedLink> = self.links().iter().filter(others).collect();
        if found.is_empty() {
            return None;
        }
        // Container engines switch forwarding on for their bridges, whatever else the machine has.
        let decided = policy.default_lines.forward.is_some() || self.has_engine();
        let weight = if decided { Weight::Note } else { Weight::Warning };
        let kind = if policy.defaults.forward == Action::Reject { "reject" } else { "deny" };
        let message = format!(
            "this machine forwards, and the policy cuts off what is behind {}: `forward: {kind}` stops what comes from there, and \
             what goes there",
            some(found.iter().map(|link| link.name.clone()))
        );
        let help = self.let_out(&found).into_iter().chain([
            "to let everything pass, write `defaults: { forward: allow }`".to_owned(),
            "if it is to be stopped, say so: `defaults: { forward: deny }`".to_owned(),
        ]);
        let help = help.collect::<Vec<_>>().join("; ");
        Some(Remark::new(Topic::CutOff, weight, policy.default_lines.forward, message, help))
    }

    /// The lines that let networks out: as those of others, or as guests of this machine.
    fn let_out(&self, found: &[&RoutedLink]) -> Vec<String> {
        let names: Option<Vec<String>> = found.iter().map(|link| in_a_policy(&link.name)).collect();
        let way_out = self.way_out().and_then(|link| in_a_policy(&link.name));
        let mut lines = Vec::new();
        if let (Some(names), Some(way_out)) = (names, way_out) {
            let from = names.iter().map(|name| format!("{{ interface: {name} }}")).collect::<Vec<_>>().join(", ");
            let from = if names.len() == 1 { from } else { format!("[{from}]") };
            if let Some(name) = ["out", "networks-out"].iter().find(|name| !self.policy.forward.contains_key(**name))
            {
                lines.push(format!(
                    "to let what comes from there out, write `forward: {{ {name}: {{ ports: any, from: {from}, to: {{ interface: \
                     {way_out} }} }} }}`"
                ));
            }
        }
        let by_name = found.iter().map(|link| IfPattern { name: link.name.clone(), wildcard: false });
        let all = self.policy.containers.interfaces.iter().cloned().chain(by_name).collect();
        lines.extend(
            containers_line(&all)
                .map(|line| format!("if containers or guests of this machine are behind it, write `{line}`")),
        );
        lines
    }
}

/// The interfaces of this machine that count as containers', by name.
#[must_use]
pub fn containers_here<'l>(policy: &Resolved, links: &'l [RoutedLink]) -> Vec<&'l str> {
    let names = links.iter().map(|link| link.name.as_str());
    names.filter(|name| policy.containers.covers(name)).collect()
}

/// The policy with other interfaces of containers, also in the groups that contain all of them.
#[must_use]
pub fn with_containers(policy: &Resolved, interfaces: BTreeSet<IfPattern>) -> Resolved {
    let mut changed = policy.clone();
    let before = std::mem::replace(&mut changed.containers.interfaces, interfaces);
    let has_all = |group: &&mut Group| !before.is_empty() && group.interfaces.is_superset(&before);
    for group in changed.groups.values_mut().filter(has_all) {
        group.interfaces.retain(|pattern| !before.contains(pattern));
        group.interfaces.extend(changed.containers.interfaces.iter().cloned());
    }
    changed
}

/// The interfaces of containers as a line of the policy; `None` if the policy can't contain one of the names.
#[must_use]
pub fn containers_line(interfaces: &BTreeSet<IfPattern>) -> Option<String> {
    let word = |pattern: &IfPattern| {
        let name = in_a_policy(&pattern.name)?;
        Some(if pattern.wildcard { format!("\"{}*\"", pattern.name) } else { name })
    };
    let words: Option<Vec<String>> = interfaces.iter().map(word).collect();
    Some(format!("containers: {{ interfaces: [{}] }}", words?.join(", ")))
}

/// Whether any part of the policy names an interface.
#[must_use]
pub fn is_named(policy: &Resolved, name: &str) -> bool {
    let of_peers = |peers: &Peers| covers(&peers.interfaces, name);
    let of_services = policy
        .services
        .values()
        .any(|service| covers(&service.on, name) || of_peers(&service.from) || of_peers(&service.except));
    let mut rules = policy.outgoing.values().chain(policy.forward.values());
    let of_rules =
        rules.any(|rule| covers(&rule.on, name) || [&rule.from, &rule.to, &rule.except].into_iter().any(of_peers));
    let of_nat = policy.nat.values().any(|nat| of_peers(&nat.from) || of_peers(&nat.to));
    policy.containers.covers(name)
        || of_services
        || of_rules
        || of_nat
        || of_peers(&policy.block)
        || policy.groups.values().any(|group| covers(&group.interfaces, name))
}

/// Whether a rule of `forward` lets something pass from a network or to it without naming its interface.
fn is_routed(policy: &Resolved, link: &RoutedLink) -> bool {
    let groups =
        |peers: &Peers| -> Vec<&Group> { peers.groups.keys().filter_map(|name| policy.groups.get(name)).collect() };
    let has = |addresses: &Addresses| link.networks.iter().any(|network| meets(addresses, *network));
    let names = |peers: &Peers| {
        peers.any || has(&peers.addresses) || groups(peers).into_iter().any(|group| has(&group.addresses))
    };
    let rules = policy.forward.values().filter(|rule| rule.action == Action::Allow);
    rules.into_iter().any(|rule| names(&rule.from) || names(&rule.to))
}

/// Whether some address of a network is among these.
fn meets(addresses: &Addresses, (network, prefix): (IpAddr, u8)) -> bool {
    let version = Version::of(network);
    let rest = u128::MAX.checked_shr(u32::from(prefix) + 128 - u32::from(version.address_bits())).unwrap_or_default();
    let (first, last) = (number(network), number(network) | rest);
    addresses.ranges().any(|range| {
        let (from, to): (IpAddr, IpAddr) = match range {
            AddressRange::V4(from, to) => (from.into(), to.into()),
            AddressRange::V6(from, to) => (from.into(), to.into()),
        };
        Version::of(from) == version && number(from) <= last && first <= number(to)
    })
}

fn covers<'i>(interfaces: impl IntoIterator<Item = &'i IfPattern>, name: &str) -> bool {
    interfaces.into_iter().any(|interface| interface.covers(name))
}
