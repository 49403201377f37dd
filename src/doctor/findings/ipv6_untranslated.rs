//! Machines with unique-local addresses alone leave untranslated over IPv6.

use crate::doctor::remedy::try_policy;
use crate::doctor::routed::{names, unused};
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::net::{AddressRange, IfPattern};
use crate::netlink::RoutedLink;
use crate::policy::in_a_policy;
use crate::resolve::{Nat, Peers, Resolved};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

pub(super) const FINDING: Kind = Kind {
    id: "ipv6-untranslated",
    severity: Severity::Warning,
    what: "a line of `nat` names an interface behind which there are unique-local IPv6 addresses alone, and no IPv6 network",
    why: "IPv6 is translated only where the line names it: what those machines send leaves with addresses that nobody answers",
    remedy: "the line of `nat` that the finding names, from the network; or public addresses for them",
};

pub(super) fn is_wrong(facts: &Facts<'_>) -> bool {
    facts.host.policy.valid().is_some_and(|policy| untranslated(facts, policy).next().is_some())
}

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let found: Vec<(&RoutedLink, (Ipv6Addr, u8), String)> = untranslated(facts, policy).collect();
    let (link, (network, length), out) = found.first()?;
    let mut changed = policy.clone();
    let mut lines = Vec::new();
    for (_, (network, length), out) in &found {
        let (name, word) = (unused(&changed.nat, "ipv6"), in_a_policy(out)?);
        lines.push(format!("`{name}: {{ from: \"{network}/{length}\", to: {{ interface: {word} }} }}`"));
        let last = network.to_bits() | u128::MAX.checked_shr(u32::from(*length)).unwrap_or(0);
        let range = AddressRange::V6(*network, Ipv6Addr::from_bits(last));
        let from = Peers { addresses: [range].into_iter().collect(), ..Peers::default() };
        let pattern = IfPattern { name: out.clone(), wildcard: false };
        let to = Peers { interfaces: BTreeSet::from([pattern]), ..Peers::default() };
        changed.nat.insert(name, Nat { from, to, ..Nat::default() });
    }
    let help = match try_policy(facts, FINDING.id, &changed, |_| false) {
        Ok(()) => format!("in the policy, write in `nat`: {}", lines.join(" and ")),
        Err(harm) => format!("{} {}", lines.join(" and "), harm.words()),
    };
    Some(FINDING.found(
        format!(
            "what is sent from {network}/{length} behind {} leaves by {out} untranslated: nobody answers unique-local addresses",
            link.name
        ),
        help,
    ))
}

/// The interfaces that a line names by name, with their unique-local network, and where it leaves.
fn untranslated<'f>(
    facts: &'f Facts<'_>,
    policy: &'f Resolved,
) -> impl Iterator<Item = (&'f RoutedLink, (Ipv6Addr, u8), String)> {
    let host = facts.host;
    let forwards = host.sysctls.forwards_v6 == Some(true);
    let ways_out = host.links.iter().filter(move |link| forwards && link.is_way_out);
    ways_out.flat_map(move |out| {
        let inside = host.links.iter().filter(move |link| {
            let by_name = |nat: &Nat| nat.source.is_none() && !nat.from.any && names(policy, &nat.from, &link.name);
            !link.is_way_out && policy.nat.values().any(|nat| by_name(nat) && names(policy, &nat.to, &out.name))
        });
        inside.filter_map(move |link| {
            let six = |(address, length): &(IpAddr, u8)| match address {
                IpAddr::V6(address) => Some((*address, *length)),
                IpAddr::V4(_) => None,
            };
            let networks: Vec<(Ipv6Addr, u8)> = link.networks.iter().filter_map(six).collect();
            let network = *networks.first().filter(|_| networks.iter().all(|(one, _)| one.is_unique_local()))?;
            let named = |nat: &Nat| {
                let groups = nat.from.groups.keys().filter_map(|name| policy.groups.get(name));
                let lists = groups.map(|group| &group.addresses).chain([&nat.from.addresses]);
                names(policy, &nat.to, &out.name) && lists.into_iter().any(|list| list.contains(network.0.into()))
            };
            (!policy.nat.values().any(named)).then(|| (link, network, out.name.clone()))
        })
    })
}
