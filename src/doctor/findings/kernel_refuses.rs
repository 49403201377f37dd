//! The kernel refuses the policy's rules.

use crate::doctor::{Facts, Finding, Kernel, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "kernel-refuses",
    severity: Severity::Error,
    what: "this kernel lacks something of nf_tables that the policy needs",
    why: "the policy can't be loaded",
    remedy: "Linux 5.13 or newer, with the modules of nf_tables",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let Kernel::Refuses(why) = &facts.host.kernel else { return None };
    Some(FINDING.found(
        format!("this kernel lacks something of nf_tables that the policy needs: {why}"),
        "Linux 5.13 or newer with the modules of nf_tables; where they can't be loaded any more, name them in \
         /etc/modules-load.d/ and reboot",
    ))
}
