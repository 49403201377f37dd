//! The policy is one that was undone.

use crate::doctor::words::command;
use crate::doctor::{Facts, Finding, Kind, Loaded, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "policy-undone",
    severity: Severity::Error,
    what: "the policy is one that was undone: nobody confirmed it, or somebody went back to the ruleset before it",
    why: "the ruleset before it is in force, and the boot does not load the policy; whoever could not confirm it may have \
          been locked out by it",
    remedy: "edit it, `palisade diff` shows what it would change, then `palisade apply --confirm 60s`",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    if !facts.host.undone {
        return None;
    }
    let now = if facts.host.loaded == Loaded::Nothing {
        "nothing of palisade's is loaded"
    } else {
        "the ruleset before it is in force"
    };
    let diff = command("palisade --policy ", &facts.host.path, " diff");
    Some(FINDING.found(
        format!(
            "the policy was undone (nobody confirmed it, or somebody went back to the ruleset before it): {now}, and the \
             boot does not load this policy; if it locked you out, it would do so again"
        ),
        format!(
            "edit it first: {} shows what it would change; then `palisade apply --confirm 60s`",
            diff.unwrap_or_else(|| "`palisade diff`".to_owned())
        ),
    ))
}
