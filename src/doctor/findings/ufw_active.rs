//! ufw is active, or will be after the next boot.

use crate::doctor::firewalls::of_a_program;
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "ufw-active",
    severity: Severity::Warning,
    what: "ufw is loaded, or will be at the next boot",
    why: "a drop of either firewall is final, and neither sees what the other allows",
    remedy: "`ufw disable`, once the policy says what it said",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    of_a_program(facts, &FINDING, "ufw", facts.host.enabled.ufw, "`ufw disable`")
}
