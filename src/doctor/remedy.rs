//! Remedies that change the policy are tried before they are given: on the compiled rules, and on the other findings.

use super::{FINDINGS, Facts, Host, PolicyState, cluster};
use crate::access::{AccessChange, access_changes};
use crate::compile::compile;
use crate::resolve::Resolved;
use crate::ruleset::TableId;
use std::sync::Arc;

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
    changed: &Resolved,
    meant: impl Fn(&AccessChange) -> bool,
) -> Result<(), Harm> {
    let Some(before) = facts.table() else { return Err(Harm::NoUse) };
    let after = Arc::new(compile(changed));
    let changes = access_changes(&TableId::palisade(), Some(&before), Some(&after));
    if let Some(change) = changes.iter().find(|change| !change.unknown.is_empty() || !meant(change)) {
        return Err(Harm::Access(change.to_string()));
    }
    let host = Host { policy: PolicyState::Valid(Box::new(changed.clone())), ..facts.host.clone() };
    try_facts(facts, id, &facts.around(&host, Some(Arc::clone(&after))))?;
    cluster::calls_are_answered(facts, &before, &after, changed).map_err(Harm::Cluster)
}

/// Tries another host with the same policy, such as one with another value of a sysctl: the problem `id` must be gone,
/// and no other finding may come.
pub(super) fn try_host(facts: &Facts<'_>, id: &str, host: &Host) -> Result<(), Harm> {
    try_facts(facts, id, &facts.around(host, facts.table()))
}

fn try_facts(facts: &Facts<'_>, id: &str, changed: &Facts<'_>) -> Result<(), Harm> {
    for (kind, check) in FINDINGS {
        let wrong = check.is_wrong(changed);
        if kind.id == id && wrong {
            return Err(Harm::NoUse);
        }
        if wrong && !check.is_wrong(facts) {
            return Err(Harm::Finding(kind.id));
        }
    }
    Ok(())
}

/// Whether a change of access is about these interfaces alone.
pub(super) fn is_by(change: &AccessChange, interfaces: &[String]) -> bool {
    let by = change.by.as_deref().unwrap_or_default();
    !by.is_empty() && by.split(", ").all(|name| interfaces.iter().any(|interface| interface == name))
}
