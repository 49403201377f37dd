//! Who owns a rule: programs are recognised by the names of their chains and tables.

use crate::ruleset::graph::verdicts;
use crate::ruleset::{Chain, Table, TableId, Verdict};

/// Prefixes of the chains or tables of programs, and the program.
const OWNERS: [(&str, &str); 19] = [
    ("ufw6-", "ufw"),
    ("ufw-", "ufw"),
    ("DOCKER", "Docker"),
    ("docker-bridges", "Docker"),
    ("firewalld", "firewalld"),
    ("NETAVARK", "Podman"),
    ("netavark", "Podman"),
    ("CNI-", "Podman"),
    ("LIBVIRT", "libvirt"),
    ("KUBE-", "Kubernetes"),
    ("f2b-", "fail2ban"),
    ("crowdsec", "CrowdSec"),
    ("CROWDSEC", "CrowdSec"),
    ("sshguard", "sshguard"),
    ("ts-input", "Tailscale"),
    ("ts-forward", "Tailscale"),
    ("ts-postrouting", "Tailscale"),
    ("wg-quick-", "wg-quick"),
    ("cali-", "Calico"),
];

/// Which program a chain belongs to, as far as names tell. A built-in chain of iptables belongs to the owner of the
/// chains that it calls.
#[must_use]
pub fn owner_of(id: &TableId, chain: &str, table: Option<&Table>) -> Option<&'static str> {
    if *id == TableId::palisade() {
        return Some("palisade");
    }
    let named = |name: &str| OWNERS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, owner)| *owner);
    let of_name = named(chain).or_else(|| named(&id.name));
    of_name.or_else(|| {
        let builtin = ["INPUT", "FORWARD", "OUTPUT"].contains(&chain);
        let chain: &Chain = table.filter(|_| builtin)?.chains.get(chain)?;
        let verdicts = chain.rules.iter().filter_map(|rule| rule.exprs.last()).flat_map(verdicts);
        let called = verdicts.filter_map(Verdict::target).filter_map(named);
        // ufw sets the policies wherever it is in use; a container engine sets one of them if nobody else did.
        let called: Vec<_> = called.collect();
        called.iter().find(|owner| **owner == "ufw").or(called.first()).copied()
    })
}
