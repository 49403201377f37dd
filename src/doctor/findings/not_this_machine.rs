//! The policy is valid, but does not fit this machine.

use super::guests_not_named;
use crate::compile::compile;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::lockout::Beside;
use crate::preflight::{Preflight, Remark, Topic, Weight};
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

/// Networks that are cut off are left to `guests-not-named` where guests are among them.
pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let Some(policy) = facts.host.policy.valid() else { return Vec::new() };
    let (id, table) = (TableId::palisade(), compile(policy));
    let others = facts.rules.tables.iter().filter(|(other, _)| **other != id);
    let beside = Beside { tables: others.chain([(&id, &table)]).collect(), sets: facts.sets, routes: facts.routes };
    let machine = &facts.host.machine;
    let remarks = Preflight { policy, table: &table, machine, beside: Some(&beside) }.remarks();
    let guests = guests_not_named::is_wrong(facts);
    let is_told = |remark: &Remark| remark.weight < Weight::Note && !(guests && remark.topic == Topic::CutOff);
    let told = remarks.into_iter().filter(is_told);
    told.map(|remark| {
        let severity = if remark.weight == Weight::Error { Severity::Error } else { Severity::Warning };
        let at = remark.line.map(|line| format!(" ({}:{line})", facts.host.path)).unwrap_or_default();
        Finding { severity, ..FINDING.found(format!("{}{at}", remark.message), remark.help) }
    })
    .collect()
}
