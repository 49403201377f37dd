//! libvirt's rules refuse what the policy forwards to its networks.

use crate::doctor::firewalls::drops_of_others;
use crate::doctor::routed::{link_of, names, targets};
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::resolve::Action;
use std::collections::BTreeSet;

pub(super) const FINDING: Kind = Kind {
    id: "libvirt-refuses",
    severity: Severity::Warning,
    what: "the policy forwards to a network of libvirt, whose rules refuse what comes from elsewhere (mode `nat`)",
    why: "what `forward` and `forward_to` let through is refused there, since a refusal of any table is final",
    remedy: "`<forward mode='open'/>` in the network (`virsh net-edit NAME`), and a line of `nat` in the policy",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    if !drops_of_others(facts).iter().any(|drop| drop.owner == Some("libvirt") && drop.hook == "forward") {
        return None;
    }
    let is_libvirt = |name: &str| name.starts_with("virbr");
    let behind = targets(policy).filter_map(|target| Some(link_of(facts, target.address)?.0.name.as_str()));
    let links = facts.host.links.iter().map(|link| link.name.as_str()).filter(|name| is_libvirt(name));
    let allows = |name: &&str| {
        let rules = policy.forward.values().filter(|rule| rule.action == Action::Allow && !rule.to.any);
        rules.into_iter().any(|rule| names(policy, &rule.to, name))
    };
    let refused: BTreeSet<&str> = behind.filter(|name| is_libvirt(name)).chain(links.filter(allows)).collect();
    let name = refused.first()?;
    Some(FINDING.found(
        format!(
            "libvirt's rules refuse what the policy forwards to {}: its network has the mode `nat`",
            some(refused.iter().map(|name| (*name).to_owned()))
        ),
        format!(
            "`virsh net-list` names the network: in `virsh net-edit NAME` write `<forward mode='open'/>`, then `virsh net-destroy \
             NAME && virsh net-start NAME`; in the policy, write in `nat`: `guests: {{ from: {{ interface: {name} }}, to: {{ \
             interface: {} }} }}`",
            facts.host.links.iter().find(|link| link.is_way_out).map_or("eth0", |link| link.name.as_str())
        ),
    ))
}
