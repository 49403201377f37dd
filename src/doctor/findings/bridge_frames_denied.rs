//! Frames within a bridge of the local network are forwarded packets, and denied.

use crate::access::{AccessChange, Direction};
use crate::doctor::remedy::try_policy;
use crate::doctor::routed::{behind, names, unused};
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::policy::in_a_policy;
use crate::preflight::is_named;
use crate::resolve::{Action, PolicyRule, Resolved};

pub(super) const FINDING: Kind = Kind {
    id: "bridge-frames-denied",
    severity: Severity::Warning,
    what: "`bridge-nf-call-iptables` is 1, and a bridge of the local network has no rule of `forward` to itself",
    why: "machines on two ports of that bridge don't reach each other: their frames are forwarded packets, and denied",
    remedy: "the rule of `forward` that the finding names, from the bridge to itself; or the sysctl to 0 where Docker does not \
             run",
};

pub(super) fn is_wrong(facts: &Facts<'_>) -> bool {
    facts.host.policy.valid().is_some_and(|policy| denied(facts, policy).next().is_some())
}

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let bridges: Vec<&str> = denied(facts, policy).collect();
    let bridge = bridges.first()?;
    let mut changed = policy.clone();
    let mut lines = Vec::new();
    for bridge in &bridges {
        let name = unused(&changed.forward, "frames");
        let word = in_a_policy(bridge)?;
        lines.push(format!("`{name}: {{ ports: any, from: {{ interface: {word} }}, to: {{ interface: {word} }} }}`"));
        let rule = PolicyRule { all: true, from: behind(bridge), to: behind(bridge), ..PolicyRule::default() };
        changed.forward.insert(name, rule);
    }
    let help = match try_policy(facts, FINDING.id, &changed, |change| opens_within(change, &bridges)) {
        Ok(()) => format!("in the policy, write in `forward`: {}", lines.join(" and ")),
        Err(harm) => format!("{} {}", lines.join(" and "), harm.words()),
    };
    Some(FINDING.found(
        format!(
            "net.bridge.bridge-nf-call-iptables is 1, so that frames between the ports of {bridge} are forwarded packets, and no \
             rule of `forward` lets them pass"
        ),
        help,
    ))
}

/// Whether a change lets pass what goes from one of these bridges to itself.
fn opens_within(change: &AccessChange, bridges: &[&str]) -> bool {
    let within =
        bridges.iter().any(|bridge| [&change.from, &change.to].iter().all(|end| end.as_deref() == Some(*bridge)));
    change.direction == Some(Direction::Through) && within && change.loses.is_empty()
}

/// The bridges that the policy names, with several ports, within which it denies. Those that it does not name are
/// `guests-not-named`.
fn denied<'f>(facts: &Facts<'f>, policy: &'f Resolved) -> impl Iterator<Item = &'f str> {
    let host = facts.host;
    let on = host.sysctls.bridge_calls_iptables == Some(true) && policy.defaults.forward != Action::Allow;
    let has_ports = |name: &str| host.links.iter().filter(|link| link.master.as_deref() == Some(name)).count() > 1;
    let passes = |name: &str| {
        let rules =
            policy.forward.values().filter(|rule| rule.action == Action::Allow && rule.all && rule.on.is_empty());
        rules.into_iter().any(|rule| names(policy, &rule.from, name) && names(policy, &rule.to, name))
    };
    let bridges = host.links.iter().filter(move |link| on && link.kind.as_deref() == Some("bridge"));
    bridges.map(|link| link.name.as_str()).filter(move |name| {
        has_ports(name) && is_named(policy, name) && !policy.containers.covers(name) && !passes(name)
    })
}
