//! What a policy forwards, and where that is: shared by the findings of `forward`, `nat` and `forward_to`.

use super::Facts;
use crate::net::{IfPattern, Version};
use crate::netlink::RoutedLink;
use crate::resolve::{Action, Line, Peers, Resolved};
use std::net::IpAddr;

/// A target of `forward_to`.
pub(super) struct Target<'p> {
    /// The name of its service.
    pub service: &'p str,
    /// The service's line.
    pub line: Line,
    pub address: IpAddr,
}

/// All targets of `forward_to`.
pub(super) fn targets(policy: &Resolved) -> impl Iterator<Item = Target<'_>> {
    policy.services.iter().flat_map(|(service, one)| {
        let over = move |version| one.forward_to.and_then(|target| target.over(version));
        let targets = Version::ALL.into_iter().filter_map(over);
        targets.map(move |(address, _)| Target { service, line: one.line, address })
    })
}

/// Whether the policy has others open something through this machine: by a rule, or by a port forward.
pub(super) fn lets_through(policy: &Resolved) -> bool {
    targets(policy).next().is_some() || policy.forward.values().any(|rule| rule.action == Action::Allow)
}

/// The interface behind which an address is, and the length of the network's prefix that it is in.
pub(super) fn link_of<'f>(facts: &Facts<'f>, address: IpAddr) -> Option<(&'f RoutedLink, u8)> {
    let networks = facts.host.links.iter().flat_map(|link| link.networks.iter().map(move |network| (link, network)));
    let holds = |(link, (first, length)): (&'f RoutedLink, &(IpAddr, u8))| {
        let network = ipnet::IpNet::new(*first, *length).ok()?;
        network.contains(&address).then_some((link, *length))
    };
    networks.filter_map(holds).max_by_key(|(_, length)| *length)
}

/// Whether peers name an interface, or everyone.
pub(super) fn names(policy: &Resolved, peers: &Peers, interface: &str) -> bool {
    let groups = peers.groups.keys().filter_map(|name| policy.groups.get(name));
    peers.any || groups.flat_map(|group| &group.interfaces).chain(&peers.interfaces).any(|one| one.covers(interface))
}

/// Peers that are one interface.
pub(super) fn behind(interface: &str) -> Peers {
    let pattern = IfPattern { name: interface.to_owned(), wildcard: false };
    Peers { interfaces: [pattern].into(), ..Peers::default() }
}

/// A name that no entry has.
pub(super) fn unused<V>(entries: &std::collections::BTreeMap<String, V>, name: &str) -> String {
    let names =
        (1..=entries.len() + 1).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
    names.into_iter().find(|name| !entries.contains_key(name)).unwrap_or_default()
}
