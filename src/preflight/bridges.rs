//! Interfaces of containers and of networks that the policy does not name.

use super::{Preflight, Remark, Topic, Weight, in_a_policy, some};
use crate::explain::owner_of;
use crate::net::IfPattern;
use crate::netlink::RoutedLink;
use crate::policy::quote;
use crate::resolve::{Action, Peers, Resolved};
use crate::ruleset::{Table, TableId};
use crate::simulate::Routes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The programs whose rules translate ports to containers, as [`owner_of`] names them.
const ENGINES: [&str; 3] = ["Docker", "Podman", "libvirt"];

impl Preflight<'_> {
    /// An error for the bridges of engines that the policy does not name, and a warning for other networks that it
    /// cuts off.
    pub(super) fn bridges(&self) -> Vec<Remark> {
        let unnamed = self.unnamed_bridges();
        let mut remarks: Vec<Remark> = self.add_them(&unnamed).into_iter().collect();
        remarks.extend(self.cut_off(&unnamed));
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
        let all = containers_with(self.policy, unnamed.keys());
        let help = match all {
            Some(all) => {
                format!("write `containers: {{ interfaces: {all} }}`, or give {it} a name that the policy has")
            }
            None => format!("no policy can contain {}: give {it} another name", quote(first)),
        };
        Some(Remark::new(Topic::Bridge, Weight::Error, lines.interfaces, message, help))
    }

    /// Networks behind this machine whose packets it would forward, and which the policy keeps from others.
    fn cut_off(&self, engines: &BTreeMap<String, String>) -> Option<Remark> {
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
            behind && apart && !is_named(policy, &link.name) && !engines.contains_key(&link.name)
        };
        let found: Vec<&RoutedLink> = self.links().iter().filter(others).collect();
        let first = in_a_policy(&found.first()?.name).unwrap_or_else(|| "NAME".to_owned());
        // Container engines switch forwarding on for their bridges, whatever else the machine has.
        let decided = policy.default_lines.forward.is_some() || self.has_engine();
        let weight = if decided { Weight::Note } else { Weight::Warning };
        let kind = if policy.defaults.forward == Action::Reject { "reject" } else { "deny" };
        let message = format!(
            "this machine forwards, and the policy cuts off what is behind {}: `forward: {kind}` stops what comes from there, and \
             what goes there",
            some(found.iter().map(|link| link.name.clone()))
        );
        let help = format!(
            "to let it pass, write `defaults: {{ forward: allow }}`; if these are guests of this machine, add {first} to \
             `containers: {{ interfaces: [...] }}`; if it is to be stopped, say so: `defaults: {{ forward: deny }}`"
        );
        Some(Remark::new(Topic::CutOff, weight, policy.default_lines.forward, message, help))
    }
}

/// The interfaces of this machine that count as containers', by name.
#[must_use]
pub fn containers_here<'l>(policy: &Resolved, links: &'l [RoutedLink]) -> Vec<&'l str> {
    let names = links.iter().map(|link| link.name.as_str());
    names.filter(|name| policy.containers.covers(name)).collect()
}

/// The list of `containers: interfaces` as it has to stand in a policy with these names; `None` if no policy can
/// contain one of them.
fn containers_with<'n>(policy: &Resolved, names: impl Iterator<Item = &'n String>) -> Option<String> {
    let known =
        policy.containers.interfaces.iter().map(|pattern| {
            if pattern.wildcard { Some(format!("\"{pattern}\"")) } else { in_a_policy(&pattern.name) }
        });
    let all: Option<Vec<String>> = known.chain(names.map(|name| in_a_policy(name))).collect();
    Some(format!("[{}]", all?.join(", ")))
}

/// Whether any part of the policy names an interface.
#[must_use]
pub fn is_named(policy: &Resolved, name: &str) -> bool {
    let of_peers = |peers: &Peers| covers(&peers.interfaces, name);
    let of_services = policy
        .services
        .values()
        .any(|service| covers(&service.on, name) || of_peers(&service.from) || of_peers(&service.except));
    policy.containers.covers(name)
        || of_services
        || of_peers(&policy.block)
        || policy.groups.values().any(|group| covers(&group.interfaces, name))
}

fn covers<'i>(interfaces: impl IntoIterator<Item = &'i IfPattern>, name: &str) -> bool {
    interfaces.into_iter().any(|interface| interface.covers(name))
}
