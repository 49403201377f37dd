//! The machine does not forward, and an engine needs it to.

use crate::doctor::engines::engines_here;
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "forwarding-off",
    severity: Severity::Warning,
    what: "an engine has rules, and the machine does not forward",
    why: "containers don't reach the outside, nor does anyone their published ports",
    remedy: "`sysctl -w net.ipv4.ip_forward=1`, and the same for the next boot",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let engines = engines_here(facts);
    let v4 = !engines.is_empty() && facts.host.sysctls.forwards_v4 == Some(false);
    let v6 = facts.host.sysctls.forwards_v6 == Some(false) && facts.published.iter().any(|one| one.to.is_ipv6());
    let sysctls: Vec<&str> = [(v4, "net.ipv4.ip_forward"), (v6, "net.ipv6.conf.all.forwarding")]
        .into_iter()
        .filter_map(|(off, name)| off.then_some(name))
        .collect();
    (!sysctls.is_empty()).then(|| {
        let engines: Vec<&str> = engines.into_iter().collect();
        FINDING.found(
            format!(
                "{} is 0, and {} needs it to be 1: containers don't reach the outside, nor does anyone their published ports \
                 unless docker-proxy stands in",
                sysctls.join(" and "),
                engines.join(" and ")
            ),
            sysctls
                .iter()
                .map(|name| format!("`sysctl -w {name}=1`"))
                .chain(["and the same in a file of /etc/sysctl.d for the next boot".to_owned()])
                .collect::<Vec<_>>()
                .join(", "),
        )
    })
}
