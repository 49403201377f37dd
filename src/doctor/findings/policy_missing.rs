//! There is no policy.

use crate::doctor::{Facts, Finding, Kind, PolicyState, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "policy-missing",
    severity: Severity::Error,
    what: "there is no policy",
    why: "the next boot loads the last good ruleset, or a lockdown",
    remedy: "write one, then `palisade check`",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let PolicyState::Missing { help } = &facts.host.policy else { return None };
    let path = &facts.host.path;
    Some(FINDING.found(
        format!(
            "there is no policy: {path} does not exist, and the next boot loads the last good ruleset, or a lockdown"
        ),
        help.clone().unwrap_or_else(|| format!("write {path}, then `palisade check`")),
    ))
}
