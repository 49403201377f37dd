//! Something could not be examined.

use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::machine::Gap;

pub(super) const FINDING: Kind = Kind {
    id: "not-examined",
    severity: Severity::Warning,
    what: "something could not be looked at, and why",
    why: "what was not looked at may work against the policy",
    remedy: "what the finding names, so that it can be looked at",
};

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let finding = |Gap { what, why, help }: &Gap| FINDING.found(format!("{what} could not be examined: {why}"), help);
    facts.host.gaps.iter().map(finding).collect()
}
