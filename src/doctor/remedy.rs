//! Remedies that change the policy are tried before they are given: on the compiled rules, and on the other findings.

use super::{FINDINGS, Facts, Host, PolicyState, cluster};
use crate::access::{AccessChange, access_changes};
use crate::compile::compile;
use crate::net::IfPattern;
use crate::resolve::{Group, Resolved};
use crate::ruleset::{Table, TableId};
use crate::simulate::{Answer, AsListed, Sets};
use std::collections::BTreeSet;

/// Why a remedy is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// It changes access that it is not meant to change: the first such change.
    Access(String),
    /// It brings about another finding.
    Finding(&'static str),
    /// The problem stays.
    NoUse,
    /// Calls within a Kubernetes cluster are denied, or it can't be told whether they are.
    Cluster(String),
}

impl Harm {
    /// The end of a sentence that begins with the remedy.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Access(change) => format!("would change who reaches this machine ({change})"),
            Self::Finding(id) => format!("would bring about the finding {id}"),
            Self::NoUse => "would not mend it".to_owned(),
            Self::Cluster(call) => format!("would leave calls within the cluster without an answer ({call})"),
        }
    }
}

/// Tries another policy: the problem `id` must be gone, no other finding may come, and access may change only as
/// `meant` says.
pub(super) fn try_policy(
    facts: &Facts<'_>,
    id: &str,
    policy: &Resolved,
    changed: &Resolved,
    meant: impl Fn(&AccessChange) -> bool,
) -> Result<(), Harm> {
    let [before, after] = [policy, changed].map(compile);
    let changes = access_changes(&TableId::palisade(), Some(&before), Some(&after));
    if let Some(change) = changes.iter().find(|change| !change.unknown.is_empty() || !meant(change)) {
        return Err(Harm::Access(change.to_string()));
    }
    let host = Host { policy: PolicyState::Valid(Box::new(changed.clone())), ..facts.host.clone() };
    try_host(facts, id, &host)?;
    cluster::calls_are_answered(facts, &before, &after, changed).map_err(Harm::Cluster)
}

/// Tries other facts, such as another value of a sysctl: the problem `id` must be gone, and no other finding may
/// come.
pub(super) fn try_host(facts: &Facts<'_>, id: &str, host: &Host) -> Result<(), Harm> {
    let changed = Facts::new(host, facts.rules, facts.sets, facts.routes);
    for (kind, check) in FINDINGS {
        let wrong = check.is_wrong(&changed);
        if kind.id == id && wrong {
            return Err(Harm::NoUse);
        }
        if wrong && !check.is_wrong(facts) {
            return Err(Harm::Finding(kind.id));
        }
    }
    Ok(())
}

/// The policy with other interfaces of containers, also in the groups that contain all of them.
pub(super) fn with_containers(policy: &Resolved, interfaces: BTreeSet<IfPattern>) -> Resolved {
    let mut changed = policy.clone();
    let before = std::mem::replace(&mut changed.containers.interfaces, interfaces);
    let has_all = |group: &&mut Group| !before.is_empty() && group.interfaces.is_superset(&before);
    for group in changed.groups.values_mut().filter(has_all) {
        group.interfaces.retain(|pattern| !before.contains(pattern));
        group.interfaces.extend(changed.containers.interfaces.iter().cloned());
    }
    changed
}

/// Whether a change of access is about these interfaces alone.
pub(super) fn is_by(change: &AccessChange, interfaces: &[String]) -> bool {
    let by = change.by.as_deref().unwrap_or_default();
    !by.is_empty() && by.split(", ").all(|name| interfaces.iter().any(|interface| interface == name))
}

/// The interfaces of containers as a line of the policy; `None` if the policy can't contain one of the names.
pub(super) fn containers_line(interfaces: &BTreeSet<IfPattern>) -> Option<String> {
    let word = |pattern: &IfPattern| {
        let name = super::interfaces::in_a_policy(&pattern.name)?;
        Some(if pattern.wildcard { format!("\"{}*\"", pattern.name) } else { name })
    };
    let words: Option<Vec<String>> = interfaces.iter().map(word).collect();
    Some(format!("containers: {{ interfaces: [{}] }}", words?.join(", ")))
}

/// The sets of a machine whose palisade table is another one, which was not loaded.
pub(super) struct WithTable<'s> {
    /// The sets of the other tables.
    pub live: &'s dyn Sets,
}

impl Sets for WithTable<'_> {
    fn find(&self, table: &TableId, name: &str, set: &crate::ruleset::Set, key: &[u8]) -> Answer {
        if *table == TableId::palisade() {
            return AsListed.find(table, name, set, key);
        }
        self.live.find(table, name, set, key)
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &crate::ruleset::Set) -> bool {
        if *table == TableId::palisade() {
            return AsListed.is_empty(table, name, set);
        }
        self.live.is_empty(table, name, set)
    }
}

/// All tables, with another one in the place of palisade's.
pub(super) fn with_table<'t>(
    facts: &Facts<'t>,
    id: &'t TableId,
    table: &'t Table,
) -> impl Iterator<Item = (&'t TableId, &'t Table)> + use<'t> {
    let others = facts.rules.tables.iter().filter(|(id, _)| **id != TableId::palisade());
    others.chain([(id, table)])
}
