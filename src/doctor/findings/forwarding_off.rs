//! The machine does not forward, and an engine needs it to.

use crate::doctor::engines::engines_here;
use crate::doctor::routed::{lets_through, targets};
use crate::doctor::words::set_sysctl;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::net::Version;
use crate::resolve::{Peers, Resolved};

pub(super) const FINDING: Kind = Kind {
    id: "forwarding-off",
    severity: Severity::Warning,
    what: "an engine has rules, or the policy forwards, and the machine does not forward",
    why: "containers don't reach the outside, nor does anyone their published ports, nor passes what the policy forwards",
    remedy: "`sysctl -w net.ipv4.ip_forward=1`, and the same for the next boot",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let engines = engines_here(facts);
    let v4 = !engines.is_empty() && facts.host.sysctls.forwards_v4 == Some(false);
    let policy = facts.host.policy.valid();
    let by_policy = |version| policy.is_some_and(|policy| forwards(policy, version));
    let by_policy = [Version::V4, Version::V6].map(by_policy);
    let v4 = v4 || by_policy[0] && facts.host.sysctls.forwards_v4 == Some(false);
    let v6 = by_policy[1] && facts.host.sysctls.forwards_v6 == Some(false)
        || facts.host.sysctls.forwards_v6 == Some(false) && facts.published.iter().any(|one| one.to.is_ipv6());
    let sysctls: Vec<&str> = [(v4, "net.ipv4.ip_forward"), (v6, "net.ipv6.conf.all.forwarding")]
        .into_iter()
        .filter_map(|(off, name)| off.then_some(name))
        .collect();
    (!sysctls.is_empty()).then(|| {
        let engines: Vec<&str> = engines.into_iter().collect();
        let who = match engines.as_slice() {
            [] => "the policy needs it to be 1: what `forward`, `nat` and `forward_to` are about does not pass".to_owned(),
            engines => format!(
                "{} needs it to be 1: containers don't reach the outside, nor does anyone their published ports unless \
                 docker-proxy stands in",
                engines.join(" and ")
            ),
        };
        FINDING.found(
            format!("{} is 0, and {who}", sysctls.join(" and ")),
            sysctls
                .iter()
                .map(|name| set_sysctl(name, 1))
                .collect::<Vec<_>>()
                .join("; "),
        )
    })
}

/// Whether the policy lets something of that version through. Interfaces are taken to bring IPv4 alone, unless the
/// policy names IPv6 networks somewhere in what passes.
fn forwards(policy: &Resolved, version: Version) -> bool {
    let names_v6 = |peers: &Peers| {
        let groups = peers.groups.keys().filter(|name| *name != "private").filter_map(|name| policy.groups.get(name));
        groups.map(|group| &group.addresses).chain([&peers.addresses]).any(|addresses| !addresses.v6.is_empty())
    };
    let to_targets = targets(policy).any(|target| Version::of(target.address) == version);
    let by_rules = match version {
        Version::V4 => policy.forward.values().any(|rule| rule.action == crate::resolve::Action::Allow),
        Version::V6 => {
            let rules = policy.forward.values().flat_map(|rule| [&rule.from, &rule.to]);
            rules.chain(policy.nat.values().map(|nat| &nat.from)).any(names_v6)
        }
    };
    lets_through(policy) && (to_targets || by_rules)
}
