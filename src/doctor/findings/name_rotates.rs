//! Every answer for a host name of the policy names other addresses.

use crate::doctor::words::names_in_trouble;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::names::{Known, Trouble};
use crate::policy::quote;

pub(super) const FINDING: Kind = Kind {
    id: "name-rotates",
    severity: Severity::Warning,
    what: "each answer for a host name of the policy has named an address that was not known, for an hour",
    why: "others are told addresses that the rules do not have: connections are denied now and then",
    remedy: "name the networks of the service, or let a proxy that knows names open these connections",
};

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let rotating = names_in_trouble(facts, |trouble| matches!(trouble, Trouble::Rotates));
    let finding = |(name, _): (String, &Known)| {
        FINDING.found(
            format!(
                "every answer for {} names another address: connections to those that this machine was not told are denied",
                quote(&name)
            ),
            format!(
                "name the networks of the service in {}, or let a proxy that knows names open these connections",
                facts.host.path
            ),
        )
    };
    rotating.into_iter().map(finding).collect()
}
