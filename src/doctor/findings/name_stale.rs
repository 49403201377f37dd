//! Look-ups of a host name of the policy fail.

use crate::doctor::words::names_in_trouble;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::names::{Known, Trouble};
use crate::policy::quote;
use crate::printable::time_in_words;
use std::time::Duration;

pub(super) const FINDING: Kind = Kind {
    id: "name-stale",
    severity: Severity::Warning,
    what: "look-ups of a host name of the policy have failed for more than an hour",
    why: "the rules have the addresses from before: whoever has a new one is denied, and whoever has an old one now gets \
          in; after seven days the name means nobody",
    remedy: "`getent ahosts NAME` says what this machine's resolver makes of it; then `palisade refresh --now`",
};

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let stale = names_in_trouble(facts, |trouble| matches!(trouble, Trouble::Stale(..)));
    let finding = |(name, known): (String, &Known)| {
        let Some(Trouble::Stale(failure, since)) = known.trouble() else { return None };
        let since = time_in_words(Duration::from_secs(since));
        let message = format!(
            "{} has the addresses of {since} ago, because {failure}: whoever has a new one is denied, and after seven days \
             the name means nobody",
            quote(&name)
        );
        Some(FINDING.found(
            message,
            format!(
                "`getent ahosts {name}` says what this machine's resolver makes of it; then `palisade refresh --now`"
            ),
        ))
    };
    stale.into_iter().filter_map(finding).collect()
}
