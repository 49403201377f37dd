//! Finds what on this machine works against the policy. Each finding follows from facts, and says what it means and
//! which command mends it.
//!
//! [`gather`] does all I/O and makes a [`Host`] of it; together with the live rules that is [`Facts`]. Each kind of
//! finding has a file in `findings/`, which reads nothing but the facts; [`FINDINGS`] lists them.

mod cluster;
mod engines;
mod finding;
mod findings;
mod firewalls;
pub mod gather;
mod host;
mod published;
mod remedy;
mod routed;
mod words;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_remedies;
#[cfg(test)]
mod tests_of_routed;

pub use finding::{Check, Finding, Kind, Severity};
pub use findings::FINDINGS;
pub use firewalls::Enabled;

pub use host::{Host, Kernel, Loaded, PolicyState};

use crate::compile::compile;
use crate::machine::Engine;
use crate::preflight::Published;
use crate::ruleset::{Ruleset, Table};
use crate::simulate::{Routes, Sets};
use published::published;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Facts about this machine, and its live rules.
pub struct Facts<'f> {
    /// This machine.
    pub host: &'f Host,
    /// The rules of all tables, including palisade's.
    pub rules: &'f Ruleset,
    /// The contents of their sets.
    pub sets: &'f dyn Sets,
    /// The routing.
    pub routes: &'f dyn Routes,
    /// The ports that the rules of others publish for containers. Each is asked about twice or more.
    published: BTreeSet<Published>,
    /// The table of a valid policy. The checks share it: a policy with large lists takes its time to compile.
    table: OnceCell<Arc<Table>>,
}

impl<'f> Facts<'f> {
    /// This machine, with the rules and routes that it has.
    #[must_use]
    pub fn new(host: &'f Host, rules: &'f Ruleset, sets: &'f dyn Sets, routes: &'f dyn Routes) -> Self {
        Self { host, rules, sets, routes, published: published(host, rules, routes), table: OnceCell::new() }
    }

    /// The same with the table of the host's policy, which was compiled already.
    #[must_use]
    pub fn with_table(self, table: Arc<Table>) -> Self {
        Self { table: table.into(), ..self }
    }

    /// The same rules and routes around another host, which has this table if its policy is valid.
    fn around<'h>(&self, host: &'h Host, table: Option<Arc<Table>>) -> Facts<'h>
    where
        'f: 'h,
    {
        let facts = Facts::new(host, self.rules, self.sets, self.routes);
        match table {
            Some(table) => facts.with_table(table),
            None => facts,
        }
    }

    /// The policy's table; `None` if the policy is not valid.
    fn table(&self) -> Option<Arc<Table>> {
        let policy = self.host.policy.valid()?;
        Some(Arc::clone(self.table.get_or_init(|| Arc::new(compile(policy)))))
    }
}

/// The findings that count, and those that somebody has decided to ignore, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The findings, worst first.
    pub findings: Vec<Finding>,
    /// The ignored ones, with the reason.
    pub ignored: Vec<(Finding, String)>,
}

impl Examined {
    /// Sorts out the findings that the policy ignores, or the command line, by their identifiers.
    #[must_use]
    pub fn new(facts: &Facts<'_>, typed: &[String]) -> Self {
        let mut examined = Self::default();
        for finding in examine(facts) {
            let by_policy = facts.host.policy.valid().and_then(|policy| policy.ignored.get(finding.id).cloned());
            let by_hand = typed.iter().any(|id| id == finding.id).then(|| "--ignore says so".to_owned());
            match by_policy.or(by_hand) {
                Some(because) => examined.ignored.push((finding, because)),
                None => examined.findings.push(finding),
            }
        }
        examined
    }

    /// Whether nothing works against the policy: there may be notes.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

/// All findings, worst first.
#[must_use]
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = FINDINGS.iter().flat_map(|(_, check)| check.run(facts)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}
