//! Other firewalls: a drop in any table is final.

use super::{Facts, Finding, Kind};
use crate::explain::owner_of;
use crate::net::Version;
use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::registers::{Field, Registers};
use crate::ruleset::{
    Cmp, Expr, Family, Foreign, Hook, PayloadBase, Policy, Rule, Table, TableFlags, TableId, graph,
};
use std::collections::BTreeSet;

/// Other firewalls that are started at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enabled {
    /// `/etc/ufw/ufw.conf` says so, and ufw is installed.
    pub ufw: bool,
    /// `firewalld.service` is enabled.
    pub firewalld: bool,
}

/// The finding for a program whose rules drop packets, or will once the boot starts it.
pub(super) fn of_a_program(facts: &Facts<'_>, kind: &Kind, name: &str, enabled: bool, stop: &str) -> Option<Finding> {
    let loaded = drops_of_others(facts).iter().any(|drop| drop.owner == Some(name));
    let is = match (loaded, enabled) {
        (true, _) => "is active, and drops packets that the policy allows",
        (false, true) => "is enabled, and loads rules at boot that drop packets which the policy allows",
        (false, false) => return None,
    };
    Some(kind.found(
        format!("{name} {is}: a drop of either firewall is final, and neither sees what the other allows"),
        format!("{stop}, once the policy says what it said"),
    ))
}

/// The drops in all tables of others, where packets come in, are passed on, or ask for their neighbours.
pub(super) fn drops_of_others<'r>(facts: &Facts<'r>) -> Vec<Denier<'r>> {
    facts.rules.tables.iter().flat_map(|(id, table)| drops(id, table)).collect()
}

/// A way to a drop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Denier<'r> {
    pub id: &'r TableId,
    /// The hook's name.
    pub hook: &'static str,
    /// The base chain.
    pub base: &'r str,
    /// Whether it is the policy of the base chain; else it is a rule.
    pub policy: bool,
    pub owner: Option<&'static str>,
    /// The chain that drops.
    pub chain: &'r str,
}

impl Denier<'_> {
    /// `in input by a rule of fail2ban (chain INPUT)`
    pub(super) fn way(&self) -> String {
        let how = if self.policy { "by its policy" } else { "by a rule" };
        let owner = self.owner.map(|owner| format!(" of {owner}")).unwrap_or_default();
        format!("in {} {how}{owner} (chain {})", self.hook, self.base)
    }
}

/// Programs that drop some sources and decide about nobody else: those that ban, and daemons of VPNs, which let
/// addresses of their network come in by its interface alone.
pub(super) const BANNING: [&str; 3] = ["fail2ban", "CrowdSec", "sshguard"];
/// See [`BANNING`].
pub(super) const OF_VPNS: [&str; 2] = ["Tailscale", "wg-quick"];

/// Whether a drop is one of these programs', by its name and by what its rules do: each drop of the chain is of
/// sources that the rule names, and the chain's policy is to accept.
pub(super) fn is_of_known_program(facts: &Facts<'_>, drop: &Denier<'_>) -> bool {
    let known = drop.owner.is_some_and(|owner| BANNING.contains(&owner) || OF_VPNS.contains(&owner));
    let Some(table) = facts.rules.tables.get(drop.id).filter(|_| known && !drop.policy) else { return false };
    let rules = table.chains.get(drop.chain).map_or(&[][..], |chain| &chain.rules);
    rules.iter().filter(|rule| graph::denies(rule)).all(|rule| names_sources(table, rule))
}

/// Whether a rule matches only sources that it names, or that a set contains.
fn names_sources(table: &Table, rule: &Rule) -> bool {
    let mut registers = Registers::new(&table.sets);
    for expr in &rule.exprs {
        let sreg = match expr {
            Expr::Cmp { op: Cmp::Eq, sreg, .. } | Expr::Lookup { sreg, inverted: false, .. } => Some(*sreg),
            Expr::Foreign(Foreign::Range { inverted: false, sreg, .. }) => Some(*sreg),
            // `-m set --match-set NAME src`: a set of ipset, which no table shows.
            Expr::Foreign(Foreign::Match(extension)) if extension.name == "set" => return true,
            _ => None,
        };
        let parts = sreg.map(|sreg| registers.read(sreg, 1)).unwrap_or_default();
        if parts.iter().flat_map(|part| part.content.fields()).any(is_source) {
            return true;
        }
        registers.run(expr);
    }
    false
}

fn is_source(field: &Field) -> bool {
    let Field::Payload { base: PayloadBase::Network, offset, len } = *field else { return false };
    Version::ALL.into_iter().any(|version| version.source().begins(offset, len))
}

/// The hooks at which a drop holds up what the policy allows: `input` and `forward`, those of interfaces, and those of
/// ARP, without which no neighbour is found.
fn name_of_hook(family: Family, hook: Hook) -> Option<&'static str> {
    // The numbers of hooks in the families `arp` and `netdev` are those of other hooks elsewhere.
    match (family, hook.number()) {
        (Family::Inet | Family::Ip | Family::Ip6, 1) => Some("input"),
        (Family::Inet | Family::Ip | Family::Ip6, 2) => Some("forward"),
        (Family::Inet, 5) | (Family::Netdev, 0) => Some("ingress"),
        (Family::Netdev, 1) => Some("egress"),
        (Family::Arp, 0) => Some("input of ARP"),
        (Family::Arp, 1) => Some("output of ARP"),
        _ => None,
    }
}

/// The drops in one table.
fn drops<'r>(id: &'r TableId, table: &'r Table) -> BTreeSet<Denier<'r>> {
    let mut found = BTreeSet::new();
    if *id == TableId::palisade() || table.flags.contains(TableFlags::DORMANT) {
        return found;
    }
    for (name, chain) in &table.chains {
        let Some(base) = chain.base.as_ref() else { continue };
        let Some(hook) = name_of_hook(id.family, base.hook) else { continue };
        let mut add = |chain: &'r str, policy| {
            let owner = owner_of(id, chain, Some(table));
            found.insert(Denier { id, hook, base: name, policy, owner, chain });
        };
        if base.policy == Policy::Drop {
            add(name, true);
        }
        // Leaves out chains that only named maps call: their elements are not listed.
        let called = Graph::new(table, NamedMaps::Unlisted).reachable([name.as_str()]);
        let drops = |name: &&str| table.chains.get(*name).is_some_and(|chain| chain.rules.iter().any(graph::denies));
        called.into_iter().filter(drops).for_each(|name| add(name, false));
    }
    found
}
