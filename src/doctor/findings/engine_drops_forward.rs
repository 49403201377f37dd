//! Docker's rules drop what the policy has others open through this machine.

use crate::doctor::firewalls::drops_of_others;
use crate::doctor::routed::lets_through;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::ruleset::Family;

pub(super) const FINDING: Kind = Kind {
    id: "engine-drops-forward",
    severity: Severity::Warning,
    what: "the chain FORWARD of iptables has the policy DROP, as Docker sets it, and the policy forwards",
    why: "what `forward` and `forward_to` let through is dropped there, since a drop of any table is final",
    remedy: "`iptables -P FORWARD ACCEPT`, and `\"ip-forward-no-drop\": true` in daemon.json for the next start of Docker",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    facts.host.policy.valid().filter(|policy| lets_through(policy))?;
    let drops = drops_of_others(facts);
    let of_docker = |family: Family| {
        drops.iter().any(|drop| {
            drop.policy && drop.base == "FORWARD" && drop.owner == Some("Docker") && drop.id.family == family
        })
    };
    let tools: Vec<&str> = [(Family::Ip, "iptables"), (Family::Ip6, "ip6tables")]
        .into_iter()
        .filter_map(|(family, tool)| of_docker(family).then_some(tool))
        .collect();
    let commands: Vec<String> = tools.iter().map(|tool| format!("`{tool} -P FORWARD ACCEPT`")).collect();
    (!tools.is_empty()).then(|| {
        FINDING.found(
            format!(
                "FORWARD of {} has the policy DROP: what the policy lets through (`forward`, `forward_to`) is dropped there \
                 unless an engine's rule accepts it",
                tools.join(" and ")
            ),
            format!(
                "{}, and in /etc/docker/daemon.json `\"ip-forward-no-drop\": true` for the next start of Docker: palisade \
                 denies what `forward` does not name",
                commands.join(" and ")
            ),
        )
    })
}
