//! The policy names a bridge that Docker has named by the network's number.

use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::net::IfPattern;
use crate::resolve::Resolved;
use std::collections::BTreeSet;

pub(super) const FINDING: Kind = Kind {
    id: "container-network-unstable",
    severity: Severity::Warning,
    what: "a rule names a bridge that Docker has named itself: `br-` and twelve digits",
    why: "the network has another name once it is made anew (`docker compose down`), and the rule holds for nobody then",
    remedy: "give the bridge a name that stays, in compose.yaml: `driver_opts: { com.docker.network.bridge.name: br-app }`",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let named: BTreeSet<&str> =
        interfaces(policy).filter(|one| is_by_number(one)).map(|one| one.name.as_str()).collect();
    if named.is_empty() {
        return None;
    }
    let names = some(named.iter().map(|name| (*name).to_owned()));
    Some(FINDING.found(
        format!("the policy names {names}, as Docker calls a network by its number: made anew, it has another name"),
        "in compose.yaml, write `networks: { app: { driver_opts: { com.docker.network.bridge.name: br-app } } }`, make the \
         network anew (`docker compose down && docker compose up -d`), and name `br-app` in the policy",
    ))
}

/// All interfaces that the policy names.
fn interfaces(policy: &Resolved) -> impl Iterator<Item = &IfPattern> {
    let rules = || policy.outgoing.values().chain(policy.forward.values());
    let services = policy.services.values();
    let peers = services.clone().flat_map(|one| [&one.from, &one.except]);
    let peers = peers.chain(rules().flat_map(|rule| [&rule.from, &rule.to, &rule.except]));
    let peers = peers.chain(policy.nat.values().flat_map(|nat| [&nat.from, &nat.to])).chain([&policy.block]);
    let on = services.flat_map(|one| &one.on).chain(rules().flat_map(|rule| &rule.on));
    let groups = policy.groups.values().flat_map(|group| &group.interfaces);
    peers.flat_map(|peers| &peers.interfaces).chain(on).chain(groups).chain(&policy.containers.interfaces)
}

fn is_by_number(interface: &IfPattern) -> bool {
    let digits = interface.name.strip_prefix("br-").filter(|_| !interface.wildcard);
    digits.is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
