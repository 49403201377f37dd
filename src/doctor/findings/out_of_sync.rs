//! The loaded table differs from the policy.

use crate::doctor::{Facts, Finding, Kind, Loaded, Severity};
use crate::policy::OUT_OF_SYNC;

pub(super) const FINDING: Kind = Kind {
    id: OUT_OF_SYNC,
    severity: Severity::Error,
    what: "the kernel differs from the policy",
    why: "somebody has changed one of them since it was applied, and the kernel does not do what the policy says",
    remedy: "`palisade diff` shows where, `palisade apply` makes the kernel match",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let Loaded::Differs(places) = facts.host.loaded else { return None };
    // A policy that was undone is meant to differ, and has a finding of its own.
    if facts.host.undone {
        return None;
    }
    let places = if places == 1 { "one place".to_owned() } else { format!("{places} places") };
    Some(FINDING.found(
        format!(
            "the kernel differs from the policy in {places}: somebody has changed one of them since it was applied"
        ),
        "`palisade diff` shows where, `palisade apply` makes the kernel match",
    ))
}
