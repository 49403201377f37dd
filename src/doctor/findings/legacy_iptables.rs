//! iptables-legacy rules, which nf_tables does not show.

use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "legacy-iptables",
    severity: Severity::Warning,
    what: "iptables-legacy tables are loaded",
    why: "no listing of nf_tables shows their rules, and what they drop stays dropped, whatever the policy says",
    remedy: "`update-alternatives --set iptables /usr/sbin/iptables-nft`, and a reboot",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let tables = &facts.host.legacy;
    let which = some(tables.iter().cloned());
    let (noun, are) = if tables.len() == 1 { ("table", "is") } else { ("tables", "are") };
    (!tables.is_empty()).then(|| {
        FINDING.found(
            format!(
                "the iptables-legacy {noun} {which} {are} loaded: rules there show in no listing of nf_tables, and what they \
                 drop stays dropped, whatever the policy says"
            ),
            "put what they do into the policy (`iptables-legacy-save` and `ip6tables-legacy-save` list them), then \
             `update-alternatives --set iptables /usr/sbin/iptables-nft && update-alternatives --set ip6tables \
             /usr/sbin/ip6tables-nft`, and `reboot`",
        )
    })
}
