//! Other firewalls: a drop of any table is final, and a flush of the ruleset is everyone's.

use super::{Facts, Finding, error, some, warning};
use crate::explain::owner_of;
use crate::render::{table_command, table_title};
use crate::ruleset::graph::{self, Graph, NamedMaps};
use crate::ruleset::{Expr, Family, Foreign, Hook, Policy, Rule, Table, TableFlags, TableId, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// Other firewalls that come at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enabled {
    /// `/etc/ufw/ufw.conf` says so, and ufw is installed.
    pub ufw: bool,
    /// `firewalld.service` is enabled.
    pub firewalld: bool,
}

/// Whose drops are no finding of their own: those of engines, which keep their networks apart.
const ENGINES: [&str; 5] = ["Docker", "Podman", "libvirt", "Kubernetes", "Calico"];

pub(super) fn examine(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let drops: Vec<Denier<'_>> = facts.rules.tables.iter().flat_map(|(id, table)| drops(id, table)).collect();
    findings.extend(of_a_program(facts.enabled.ufw, &drops, "ufw-active", "ufw", "`ufw disable`"));
    let stop = "`systemctl disable --now firewalld`";
    findings.extend(of_a_program(facts.enabled.firewalld, &drops, "firewalld-active", "firewalld", stop));
    findings.extend(others(&drops));
    findings.extend(flush(facts));
    findings.extend(legacy(facts));
    findings.extend(docker_user(facts));
}

fn of_a_program(enabled: bool, drops: &[Denier<'_>], id: &'static str, name: &str, stop: &str) -> Option<Finding> {
    let loaded = drops.iter().any(|drop| drop.owner == Some(name));
    let is = match (loaded, enabled) {
        (true, _) => "is active, and drops packets that the policy allows",
        (false, true) => "is enabled, and loads rules at boot that drop packets which the policy allows",
        (false, false) => return None,
    };
    Some(warning(
        id,
        format!("{name} {is}: a drop of either firewall is final, and neither sees what the other allows"),
        format!("{stop}, once the policy says what it said"),
    ))
}

/// A way to a drop in `input` or `forward`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Denier<'r> {
    id: &'r TableId,
    hook: Hook,
    /// The base chain.
    base: &'r str,
    /// Whether it is the policy of the base chain; else it is a rule.
    policy: bool,
    owner: Option<&'static str>,
}

/// Who drops what comes in or passes, in one table.
fn drops<'r>(id: &'r TableId, table: &'r Table) -> BTreeSet<Denier<'r>> {
    let mut found = BTreeSet::new();
    if *id == TableId::palisade() || table.flags.contains(TableFlags::DORMANT) {
        return found;
    }
    if !matches!(id.family, Family::Inet | Family::Ip | Family::Ip6) {
        return found;
    }
    for (name, chain) in &table.chains {
        let Some(base) = chain.base.as_ref().filter(|base| matches!(base.hook, Hook::Input | Hook::Forward)) else {
            continue;
        };
        let mut add = |chain: &str, policy| {
            let owner = owner_of(id, chain, Some(table));
            found.insert(Denier { id, hook: base.hook, base: name, policy, owner });
        };
        if base.policy == Policy::Drop {
            add(name, true);
        }
        // What a named map calls is not listed with it.
        let called = Graph::new(table, NamedMaps::Unlisted).reachable([name.as_str()]);
        let drops = |name: &&str| table.chains.get(*name).is_some_and(|chain| chain.rules.iter().any(is_drop));
        called.into_iter().filter(drops).for_each(|name| add(name, false));
    }
    found
}

fn is_drop(rule: &Rule) -> bool {
    rule.exprs.iter().any(|expr| match expr {
        Expr::Reject(_) | Expr::Foreign(Foreign::Reject { .. }) => true,
        Expr::Foreign(Foreign::Target(target)) => target.name == "REJECT",
        expr => graph::verdicts(expr).any(|verdict| *verdict == Verdict::Drop),
    })
}

/// A finding for each table that drops and is nobody's that is spoken of elsewhere.
fn others(drops: &[Denier<'_>]) -> Vec<Finding> {
    let mut by_table: BTreeMap<&TableId, Vec<&Denier<'_>>> = BTreeMap::new();
    for drop in drops {
        let spoken_of = |owner| ENGINES.contains(&owner) || ["ufw", "firewalld"].contains(&owner);
        if !drop.owner.is_some_and(spoken_of) {
            by_table.entry(drop.id).or_default().push(drop);
        }
    }
    let finding = |(id, drops): (&TableId, Vec<&Denier<'_>>)| {
        let ways = drops.iter().map(|drop| {
            let how = if drop.policy { "by its policy" } else { "by a rule" };
            let owner = drop.owner.map(|owner| format!(" of {owner}")).unwrap_or_default();
            format!("in {} {how}{owner} (chain {})", drop.hook, drop.base)
        });
        let of_iptables = matches!(id.family, Family::Ip | Family::Ip6) && id.name == "filter";
        let tool = if id.family == Family::Ip6 { "ip6tables" } else { "iptables" };
        let (title, help) = match of_iptables {
            true => (
                format!("{tool} ({})", table_title(id)),
                format!(
                    "put what these rules do into the policy, then take them out: `{tool} -S` lists them, `{tool} -D` \
                     deletes one, `{tool} -P INPUT ACCEPT` lifts a policy"
                ),
            ),
            false => (
                table_title(id),
                format!(
                    "put what it does into the policy, then {} and take it out of what loads it at boot",
                    table_command("delete", id)
                ),
            ),
        };
        let dropped = "what the policy allows is dropped there all the same, since a drop of any table is final";
        warning("other-firewall-drops", format!("{title} drops {}: {dropped}", some(ways)), help)
    };
    by_table.into_iter().map(finding).collect()
}

fn flush(facts: &Facts<'_>) -> Option<Finding> {
    let flush = facts.flush.as_ref()?;
    let (file, line) = (flush.file.display(), flush.line);
    let flushes =
        format!("nftables.service is enabled, and {file}:{line} flushes the rules of everyone: whenever it starts");
    let help = format!(
        "`systemctl disable nftables` (without --now: stopping it flushes, too), or take `flush ruleset` out of {file}"
    );
    Some(match facts.flush_is_mended {
        true => warning(
            "nftables-service-flushes",
            format!(
                "{flushes}, palisade's rules are gone until its drop-in has loaded them again, a moment later, and those of \
                 container engines are gone"
            ),
            help,
        ),
        false => error(
            "nftables-service-flushes",
            format!("{flushes}, palisade's rules and those of container engines are gone"),
            help,
        ),
    })
}

fn legacy(facts: &Facts<'_>) -> Option<Finding> {
    let tables = &facts.legacy;
    let which = some(tables.iter().cloned());
    let (noun, are) = if tables.len() == 1 { ("the table", "is") } else { ("tables", "are") };
    (!tables.is_empty()).then(|| {
        warning(
            "legacy-iptables",
            format!(
                "{noun} {which} of the older iptables {are} loaded: rules there show in no listing of nf_tables, and what they \
                 drop stays dropped, whatever the policy says"
            ),
            "`iptables-legacy-save` and `ip6tables-legacy-save` list them; `update-alternatives --set iptables \
             /usr/sbin/iptables-nft` (and ip6tables), then reboot",
        )
    })
}

/// What people put into Docker's chain for the rules of users, in the place of a firewall that sees published ports.
fn docker_user(facts: &Facts<'_>) -> Option<Finding> {
    let harmless = |rule: &Rule| {
        let mut deciding = rule.exprs.iter().filter(|expr| !matches!(expr, Expr::Counter { .. }));
        matches!(deciding.next(), None | Some(Expr::Verdict(Verdict::Return))) && deciding.next().is_none()
    };
    let mut counts = Vec::new();
    for (id, table) in &facts.rules.tables {
        let rules = table.chains.get("DOCKER-USER").map_or(&[][..], |chain| &chain.rules);
        let left = rules.iter().filter(|rule| !harmless(rule)).count();
        if left > 0 {
            let tool = if id.family == Family::Ip6 { "ip6tables" } else { "iptables" };
            counts.push((tool, left));
        }
    }
    let said = some(counts.iter().map(|(tool, left)| match left {
        1 => format!("a rule of {tool}"),
        left => format!("{left} rules of {tool}"),
    }));
    let mend = counts.iter().map(|(tool, _)| format!("{tool} -F DOCKER-USER && {tool} -A DOCKER-USER -j RETURN"));
    (!counts.is_empty()).then(|| {
        warning(
            "docker-user-rules",
            format!("{said} in the chain DOCKER-USER: what they drop of published ports stays dropped, although the policy allows it"),
            format!(
                "put what they do into the policy, then `{}`, and take them out of what loads them at boot",
                mend.collect::<Vec<_>>().join(" && ")
            ),
        )
    })
}
