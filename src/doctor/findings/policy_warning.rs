//! The policy is valid, but probably does not do what its author wants.

use crate::doctor::words::command;
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "policy-warning",
    severity: Severity::Warning,
    what: "`check` warns of a line of the policy",
    why: "the line does not do what it seems to say",
    remedy: "what the warning says; `palisade check` shows the line",
};

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let check = command("palisade --policy ", &facts.host.path, " check");
    let check = check.unwrap_or_else(|| "`palisade check`".to_owned());
    let found = facts.host.warnings.iter().map(|warning| {
        let at = warning.line.map(|line| format!(" ({}:{line})", warning.file)).unwrap_or_default();
        let help = warning.help.clone().unwrap_or_else(|| format!("{check} shows the line"));
        FINDING.found(format!("{}{at}", warning.message), help)
    });
    found.collect()
}
