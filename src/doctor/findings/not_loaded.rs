//! Palisade's table is not loaded.

use crate::doctor::{Facts, Finding, Kind, Loaded, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "not-loaded",
    severity: Severity::Error,
    what: "nothing of palisade's is loaded",
    why: "this machine is as open as its other firewalls leave it",
    remedy: "`palisade apply`; `palisade boot` for the last good ruleset, if the policy was undone",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    (facts.host.loaded == Loaded::Nothing).then(|| {
        FINDING.found(
            "nothing of palisade's is loaded: this machine is as open as its other firewalls leave it",
            // That policy may have locked its operator out.
            if facts.host.undone { "`palisade boot` loads the last good ruleset" } else { "`palisade apply`" },
        )
    })
}
