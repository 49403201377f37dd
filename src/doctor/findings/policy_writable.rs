//! Someone other than root could have written the policy.

use crate::doctor::{Facts, Finding, Kind, PolicyState, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "policy-writable",
    severity: Severity::Error,
    what: "someone else than root can write the policy or a folder above it",
    why: "palisade refuses such a policy, and the next boot does not load it",
    remedy: "the `chmod` or `chown` that the finding names",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let PolicyState::Writable { message, help } = &facts.host.policy else { return None };
    Some(FINDING.found(
        format!("{message}; palisade refuses such a policy, and the next boot does not load it"),
        help.clone().unwrap_or_default(),
    ))
}
