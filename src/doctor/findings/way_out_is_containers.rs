//! The interface of the default route counts as a container interface.

use crate::doctor::interfaces::{in_a_policy, is_container};
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::netlink::RoutedLink;

pub(super) const FINDING: Kind = Kind {
    id: "way-out-is-containers",
    severity: Severity::Error,
    what: "the way to the outside counts as an interface of containers (`br-ex`, `br-lan`)",
    why: "everyone out there counts as a container, and gets what the policy allows to containers alone",
    remedy: "say in the policy which interfaces are those of containers: `containers: { interfaces: [docker0] }`",
};

/// Everyone who comes in by a container interface counts as a container.
pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let taken = |link: &&RoutedLink| link.is_way_out && is_container(policy, &link.name);
    let link = facts.host.links.iter().find(taken)?;
    let name = &link.name;
    let others: Vec<String> = facts
        .host
        .links
        .iter()
        .filter(|other| !other.is_way_out && is_container(policy, &other.name))
        .filter_map(|other| in_a_policy(&other.name))
        .collect();
    let list = if others.is_empty() { "docker0".to_owned() } else { others.join(", ") };
    Some(FINDING.found(
        format!(
            "{name} is this machine's way to the outside and one of the interfaces of containers: everyone out there counts \
             as a container, and gets what the policy allows to containers alone"
        ),
        format!(
            "say in the policy which interfaces are those of containers: `containers: {{ interfaces: [{list}] }}`"
        ),
    ))
}
