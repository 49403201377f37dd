//! Another program's table drops packets.

use crate::doctor::firewalls::{BANNING, Denier, OF_VPNS, drops_of_others, is_of_known_program};
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::printable::command_word;
use crate::render::{table_command, table_title};
use crate::ruleset::graph;
use crate::ruleset::{Family, TableId};
use std::collections::BTreeMap;

pub(super) const FINDING: Kind = Kind {
    id: "other-firewall-drops",
    severity: Severity::Warning,
    what: "a table of anybody else but an engine drops in *input* or *forward*, at an interface, or what neighbours ask \
           by ARP",
    why: "what the policy allows is dropped there all the same, since a drop of any table is final",
    remedy: "put what it does into the policy, then delete the table and take it out of what loads it at boot",
};

/// Engines, whose drops are no finding: they keep their networks apart.
const ENGINES: [&str; 5] = ["Docker", "Podman", "libvirt", "Kubernetes", "Calico"];

/// One finding for each table that drops and whose owner has no finding of its own.
pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let drops = drops_of_others(facts);
    let mut by_table: BTreeMap<&TableId, Vec<&Denier<'_>>> = BTreeMap::new();
    for drop in &drops {
        let spoken_of = |owner| ENGINES.contains(&owner) || ["ufw", "firewalld"].contains(&owner);
        if !drop.owner.is_some_and(spoken_of) && !is_of_known_program(facts, drop) {
            by_table.entry(drop.id).or_default().push(drop);
        }
    }
    let finding = |(id, drops): (&TableId, Vec<&Denier<'_>>)| {
        let mut ways: Vec<String> = drops.iter().map(|drop| drop.way()).collect();
        ways.dedup();
        let of_known = |owner: &&str| BANNING.contains(owner) || OF_VPNS.contains(owner);
        let known = drops.iter().find_map(|drop| drop.owner.filter(of_known));
        let of_iptables = matches!(id.family, Family::Ip | Family::Ip6) && id.name == "filter";
        let tool = if id.family == Family::Ip6 { "ip6tables" } else { "iptables" };
        let (title, help) = if of_iptables {
            let take_out = take_out(facts, id, tool, drops.as_slice());
            let take_out = take_out.map(|commands| format!("`{commands}` ")).unwrap_or_default();
            (
                format!("{tool} ({})", table_title(id)),
                format!(
                    "put what these rules do into the policy, then take them out: {take_out}(`{tool} -S` lists all)"
                ),
            )
        } else if let Some(program) = known {
            // The program would load it again, and its bans would be gone until then.
            let help = format!(
                "leave the table to {program}, and take what drops more than banned sources out of its configuration: {} \
                 shows the rules",
                table_command("list", id)
            );
            (table_title(id), help)
        } else {
            (
                table_title(id),
                format!(
                    "put what it does into the policy, then {} and take it out of what loads it at boot",
                    table_command("delete", id)
                ),
            )
        };
        let dropped = "what the policy allows is dropped there all the same, since a drop of any table is final";
        FINDING.found(format!("{title} drops {}: {dropped}", some(ways)), help)
    };
    by_table.into_iter().map(finding).collect()
}

/// The commands that take drops out of a table of iptables: each rule by its place, from the end of its chain. `None`
/// if the name of a chain can't be copied safely.
fn take_out(facts: &Facts<'_>, id: &TableId, tool: &str, drops: &[&Denier<'_>]) -> Option<String> {
    let rules = |chain: &str| {
        facts.rules.tables.get(id).and_then(|table| table.chains.get(chain)).map_or(&[][..], |chain| &chain.rules)
    };
    let mut commands: Vec<String> = Vec::new();
    for drop in drops {
        let chain = command_word(drop.chain)?;
        let of_drop: Vec<String> = if drop.policy {
            vec![format!("{tool} -P {chain} ACCEPT")]
        } else {
            let places = rules(drop.chain).iter().enumerate().filter(|(_, rule)| graph::denies(rule));
            places.rev().map(|(place, _)| format!("{tool} -D {chain} {}", place + 1)).collect()
        };
        for command in of_drop {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    Some(commands.join(" && "))
}
