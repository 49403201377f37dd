//! Clients in the network of a port forward's target get no answer by the public address.

use crate::doctor::remedy::try_policy;
use crate::doctor::routed::{behind, link_of, names, targets, unused};
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::policy::in_a_policy;
use crate::resolve::{Nat, Resolved};
use std::collections::BTreeSet;

pub(super) const FINDING: Kind = Kind {
    id: "hairpin-missing",
    severity: Severity::Note,
    what: "a service is forwarded to a machine of a local network, and no line of `nat` translates what stays within it",
    why: "clients of that network get no answer by the public address: the target answers them directly",
    remedy: "the line of `nat` that the finding names, from the network's interface to itself",
};

pub(super) fn is_wrong(facts: &Facts<'_>) -> bool {
    facts.host.policy.valid().is_some_and(|policy| !missing(facts, policy).is_empty())
}

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let links = missing(facts, policy);
    if links.is_empty() {
        return None;
    }
    let mut changed = policy.clone();
    let mut lines = Vec::new();
    for link in &links {
        let (name, word) = (unused(&changed.nat, "hairpin"), in_a_policy(link)?);
        lines.push(format!("`{name}: {{ from: {{ interface: {word} }}, to: {{ interface: {word} }} }}`"));
        changed.nat.insert(name, Nat { from: behind(link), to: behind(link), ..Nat::default() });
    }
    let help = match try_policy(facts, FINDING.id, &changed, |_| false) {
        Ok(()) => format!("if they are to, write in `nat` of the policy: {}", lines.join(" and ")),
        Err(harm) => format!("{} {}", lines.join(" and "), harm.words()),
    };
    Some(FINDING.found(
        format!(
            "clients behind {} get no answer from the services that are forwarded there, if they ask by this machine's address",
            some(links.iter().map(|link| (*link).to_owned()))
        ),
        help,
    ))
}

/// The interfaces of local networks with IPv4 targets, without such a line.
fn missing<'f>(facts: &Facts<'f>, policy: &Resolved) -> BTreeSet<&'f str> {
    let of_v4 = targets(policy).filter(|target| target.address.is_ipv4());
    let links = of_v4.filter_map(|target| Some(link_of(facts, target.address)?.0)).filter(|link| !link.is_way_out);
    let names_both = |nat: &Nat, name: &str| {
        // Of addresses it is taken that they are those of the network.
        (names(policy, &nat.from, name) || !nat.from.addresses.is_empty()) && names(policy, &nat.to, name)
    };
    let is_missing = |name: &&str| !policy.nat.values().any(|nat| names_both(nat, name));
    links.map(|link| link.name.as_str()).filter(is_missing).collect()
}
