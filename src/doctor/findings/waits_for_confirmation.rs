//! A change is undone unless it is confirmed.

use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::printable::time_in_words;

pub(super) const FINDING: Kind = Kind {
    id: "waits-for-confirmation",
    severity: Severity::Warning,
    what: "a change is undone unless it is confirmed",
    why: "what is loaded now does not stay",
    remedy: "`palisade confirm` keeps it, `palisade rollback` undoes it now",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let left = time_in_words(facts.host.waits?);
    Some(FINDING.found(
        format!("a change waits for confirmation and is undone in {left}: what is loaded now does not stay"),
        "`palisade confirm` from a new connection keeps it, `palisade rollback` undoes it now",
    ))
}
