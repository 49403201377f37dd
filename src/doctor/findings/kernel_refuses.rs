//! The kernel refuses the policy's rules.

use crate::doctor::{Facts, Finding, Kernel, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "kernel-refuses",
    severity: Severity::Error,
    what: "this kernel lacks something of nf_tables that the policy needs",
    why: "the policy can't be loaded",
    remedy: "`modprobe -a` with the modules that the finding names, and a file for the next boot; Linux 5.13 or newer",
};

/// The modules of nf_tables that a policy can need.
const MODULES: &str =
    "nf_tables nft_ct nft_fib_inet nft_limit nft_log nft_reject_inet nft_chain_nat nft_nat nft_masq";

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let Kernel::Refuses(why) = &facts.host.kernel else { return None };
    Some(FINDING.found(
        format!("this kernel lacks something of nf_tables that the policy needs: {why}"),
        format!(
            "`modprobe -a {MODULES}` loads what it has of them, and for the next boot \
             `echo {MODULES} | tr ' ' '\\n' >/etc/modules-load.d/palisade.conf`; if modules can't be loaded any more, then \
             `reboot`; Linux 5.13 or newer has all of them"
        ),
    ))
}
