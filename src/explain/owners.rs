//! Whose rules these are: programs are known by how they name their chains and tables.

use crate::ruleset::{Chain, Expr, Table, TableId, Verdict};

/// How the chains, or the tables, of programs begin that are known for what they load.
const OWNERS: [(&str, &str); 12] = [
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
    ("cali-", "Calico"),
];

/// Which program a chain is of, as far as names tell. iptables' own chains are whose chains they call.
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
        let called = chain.rules.iter().filter_map(|rule| match rule.exprs.last()? {
            Expr::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => named(chain),
            _ => None,
        });
        // ufw says what the policies are wherever it is; an engine sets one of them where nobody else did.
        let called: Vec<_> = called.collect();
        called.iter().find(|owner| **owner == "ufw").or(called.first()).copied()
    })
}
