//! The policy is valid, but does not fit this machine.

use super::guests_not_named;
use crate::doctor::words::place;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::lockout::Beside;
use crate::preflight::{Preflight, Weight};
use crate::ruleset::TableId;

pub(super) const FINDING: Kind = Kind {
    id: "not-this-machine",
    severity: Severity::Warning,
    what: "the policy does not fit this machine: an engine's bridge that it does not name, a published port that is shut \
           though it is expected to be open, a network that `forward: deny` cuts off, a gateway, a name server or a network \
           in `block`, an interface by whose name nothing comes in, SSH that nobody reaches",
    why: "what the policy says, or proves, is not so here",
    remedy: "what the finding says; `palisade check` shows the line",
};

/// Networks that are cut off are named here, but those of guests, which `guests-not-named` names.
pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let (Some(policy), Some(table)) = (facts.host.policy.valid(), facts.table()) else { return Vec::new() };
    let id = TableId::palisade();
    let others = facts.rules.tables.iter().filter(|(other, _)| **other != id);
    let beside = Beside { tables: others.chain([(&id, &*table)]).collect(), sets: facts.sets, routes: facts.routes };
    let machine = &facts.host.machine;
    let preflight = Preflight { policy, table: &table, machine, beside: Some(&beside) };
    let remarks = preflight.remarks_but_on_networks_of(&guests_not_named::interfaces(facts));
    let told = remarks.into_iter().filter(|remark| remark.weight < Weight::Note);
    told.map(|remark| {
        let severity = if remark.weight == Weight::Error { Severity::Error } else { Severity::Warning };
        let at = remark.line.map(|line| format!(" ({})", place(facts, policy, line))).unwrap_or_default();
        Finding { severity, ..FINDING.found(format!("{}{at}", remark.message), remark.help) }
    })
    .collect()
}
