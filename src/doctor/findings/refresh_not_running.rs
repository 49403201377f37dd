//! Nothing looks up the host names of the policy, or ends the connections of those whose time is over.

use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::machine::UnitState;
use crate::names::Known;
use crate::printable::time_in_words;
use std::time::Duration;

pub(super) const FINDING: Kind = Kind {
    id: "refresh-not-running",
    severity: Severity::Warning,
    what: "the policy has host names, or takes addresses for a time, and `palisade-refresh.timer` is not enabled, is masked, \
           or is not there (not asked where systemd does not run); or no name was looked up for an hour",
    why: "names keep the addresses that they have in the rules, whoever has them then, and connections of those whose time \
          is over go on",
    remedy: "`systemctl enable --now palisade-refresh.timer`",
};

/// How old a look-up of a name may be, in seconds.
const MOST: u64 = 60 * 60;

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let is_needed = policy.names.iter().next().is_some() || !policy.temporary().is_empty();
    if !is_needed {
        return None;
    }
    let so =
        "names keep the addresses that they have in the rules, and connections of those whose time is over go on";
    let (message, help) = match facts.host.refresh {
        Some(UnitState::Enabled) => return not_for_long(facts, "`systemctl status palisade-refresh` says why"),
        None => return not_for_long(facts, "have something run `palisade refresh` each minute"),
        Some(UnitState::Disabled) => (
            format!("palisade-refresh.timer is not enabled: {so}"),
            "`systemctl enable --now palisade-refresh.timer`",
        ),
        Some(UnitState::Masked) => (
            format!("palisade-refresh.timer is masked: {so}"),
            "`systemctl unmask palisade-refresh.timer && systemctl enable --now palisade-refresh.timer`",
        ),
        Some(UnitState::Missing) => (
            format!("there is no palisade-refresh.timer: {so}"),
            "install the package, which has it, then `systemctl enable --now palisade-refresh.timer`",
        ),
    };
    Some(FINDING.found(message, help))
}

/// The finding of names that were looked up, and not lately.
fn not_for_long(facts: &Facts<'_>, help: &str) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let latest = policy.names.iter().filter_map(|(_, known)| Known::asked(known)).min().filter(|age| *age >= MOST)?;
    let ago = time_in_words(Duration::from_secs(latest));
    Some(FINDING.found(format!("the host names of the policy were looked up {ago} ago, and not since"), help))
}
