//! The interface of the default route counts as a container interface.

use crate::doctor::remedy::{is_by, try_policy};
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::net::IfPattern;
use crate::netlink::RoutedLink;
use crate::preflight::{containers_line, with_containers};
use crate::resolve::Resolved;

pub(super) const FINDING: Kind = Kind {
    id: "way-out-is-containers",
    severity: Severity::Error,
    what: "the way to the outside counts as an interface of containers (`br-ex`, `br-lan`)",
    why: "everyone out there counts as a container, and gets what the policy allows to containers alone",
    remedy: "the line that the finding names: `containers: { interfaces: [...] }` with all the others",
};

pub(super) fn is_wrong(facts: &Facts<'_>) -> bool {
    facts.host.policy.valid().is_some_and(|policy| taken(facts, policy).is_some())
}

/// Everyone who comes in by a container interface counts as a container.
pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let name = &taken(facts, policy)?.name;
    Some(FINDING.found(
        format!(
            "{name} is this machine's way to the outside and one of the interfaces of containers: everyone out there counts \
             as a container, and gets what the policy allows to containers alone"
        ),
        help(facts, policy),
    ))
}

fn taken<'f>(facts: &Facts<'f>, policy: &Resolved) -> Option<&'f RoutedLink> {
    facts.host.links.iter().find(|link| link.is_way_out && policy.containers.covers(&link.name))
}

/// All that the policy takes for interfaces of containers, but the ways out. A pattern that covers one is replaced by
/// the interfaces that it covers now.
fn help(facts: &Facts<'_>, policy: &Resolved) -> String {
    let is_way_out = |pattern: &IfPattern| facts.host.links.iter().any(|l| l.is_way_out && pattern.covers(&l.name));
    let known = &policy.containers.interfaces;
    let (dropped, kept): (Vec<&IfPattern>, Vec<&IfPattern>) = known.iter().partition(|pattern| is_way_out(pattern));
    let covered = facts.host.links.iter().filter(|link| {
        !link.is_way_out && link.master.is_none() && dropped.iter().any(|pattern| pattern.covers(&link.name))
    });
    let by_name = covered.map(|link| IfPattern { name: link.name.clone(), wildcard: false });
    let changed = with_containers(policy, kept.into_iter().cloned().chain(by_name).collect());
    let dropped: Vec<String> = dropped.iter().map(ToString::to_string).collect();
    let rename = "give the way out a name that is not one of containers'";
    let Some(line) = containers_line(&changed.containers.interfaces) else { return rename.to_owned() };
    // Whoever comes in by it is no container any more: that is meant.
    match try_policy(facts, FINDING.id, &changed, |change| is_by(change, &dropped)) {
        Ok(()) => format!("in the policy, write `{line}`; add each bridge of an engine that is made later"),
        Err(harm) => format!("{rename}: `{line}` {}", harm.words()),
    }
}
