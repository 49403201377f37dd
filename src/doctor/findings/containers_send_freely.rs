//! What this machine opens is denied, and what its containers open is not.

use crate::access::{AccessChange, Direction};
use crate::doctor::remedy::try_policy;
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::resolve::{Action, Line, Resolved};

pub(super) const FINDING: Kind = Kind {
    id: "containers-send-freely",
    severity: Severity::Note,
    what: "`defaults.outgoing` denies, `containers.outgoing` is not set, and containers are here",
    why: "what this machine may not open its containers open all the same",
    remedy: "`containers: { outgoing: deny }` in the policy, with rules of `outgoing` for what they need; or `allow`, if it is \
             meant",
};

pub(super) fn is_wrong(facts: &Facts<'_>) -> bool {
    facts.host.policy.valid().is_some_and(|policy| !bridges(facts, policy).is_empty())
}

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let bridges = bridges(facts, policy);
    if bridges.is_empty() {
        return None;
    }
    let mut changed = policy.clone();
    changed.containers.outgoing = Action::Deny;
    changed.containers.lines.outgoing = Some(Line::default());
    let deny = match try_policy(facts, FINDING.id, &changed, closes_containers) {
        Ok(()) => {
            "in the policy, write `containers: { outgoing: deny }`, and in `outgoing` what they need".to_owned()
        }
        Err(harm) => format!("`containers: {{ outgoing: deny }}` {}", harm.words()),
    };
    Some(FINDING.found(
        format!(
            "`outgoing` denies what this machine opens, and what containers behind {} open is allowed",
            some(bridges.into_iter())
        ),
        format!("{deny}; if it is meant, say so: `containers: {{ outgoing: allow }}`"),
    ))
}

/// Whether a change takes from containers what they open to elsewhere.
fn closes_containers(change: &AccessChange) -> bool {
    let by_this_machine = change.from.as_deref().is_some_and(|from| from == "host" || from.starts_with("user "));
    change.direction == Some(Direction::Out) && !by_this_machine && change.gains.is_empty()
}

fn bridges(facts: &Facts<'_>, policy: &Resolved) -> Vec<String> {
    let is_silent = policy.containers.outgoing == Action::Allow && policy.containers.lines.outgoing.is_none();
    if policy.defaults.outgoing == Action::Allow || !is_silent {
        return Vec::new();
    }
    facts.host.links.iter().map(|link| link.name.clone()).filter(|name| policy.containers.covers(name)).collect()
}
