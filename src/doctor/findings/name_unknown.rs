//! A host name of the policy means nobody.

use crate::doctor::words::names_in_trouble;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::names::{Known, Trouble};
use crate::policy::quote;

pub(super) const FINDING: Kind = Kind {
    id: "name-unknown",
    severity: Severity::Warning,
    what: "a host name of the policy has no address: no look-up has given one, or look-ups have failed for seven days",
    why: "the name means nobody: whoever it was written for is denied",
    remedy: "`palisade refresh --now`; if that says that the name does not exist, write another, or addresses",
};

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let unknown = names_in_trouble(facts, |trouble| matches!(trouble, Trouble::Unknown(_) | Trouble::Over(_)));
    let finding = |(name, known): (String, &Known)| {
        let why = known.nobody().unwrap_or_default();
        FINDING.found(
            format!("{} means nobody: {why}; whoever it was written for is denied", quote(&name)),
            format!(
                "`palisade refresh --now`; if that says that it does not exist, write another name in {}, or addresses",
                facts.host.path
            ),
        )
    };
    unknown.into_iter().map(finding).collect()
}
