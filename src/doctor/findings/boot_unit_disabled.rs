//! Nothing loads the policy at boot.

use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::machine::UnitState;

pub(super) const FINDING: Kind = Kind {
    id: "boot-unit-disabled",
    severity: Severity::Error,
    what: "`palisade.service` is not enabled, is masked, or is not there; not asked where systemd does not run",
    why: "nothing loads the policy at boot, and the machine is open after the next one",
    remedy: "`systemctl enable palisade`",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let open = "and the machine is open after the next boot";
    let (message, help) = match facts.host.boot? {
        UnitState::Enabled => return None,
        UnitState::Disabled => (
            format!("palisade.service is not enabled: nothing loads the policy at boot, {open}"),
            "`systemctl enable palisade`",
        ),
        UnitState::Masked => (
            format!("palisade.service is masked: systemd never starts it, {open}"),
            "`systemctl unmask palisade && systemctl enable palisade`",
        ),
        UnitState::Missing => (
            format!("there is no palisade.service: nothing loads the policy at boot, {open}"),
            "install the package, which has it, then `systemctl enable palisade`",
        ),
    };
    Some(FINDING.found(message, help))
}
