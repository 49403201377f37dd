//! Finds what on this machine works against the policy. Each finding follows from facts, and says what it means and
//! which command mends it.
//!
//! [`gather`] does all I/O and makes a [`Host`] of it; together with the live rules that is [`Facts`]. Each kind of
//! finding has a file in `findings/`, which reads nothing but the facts; [`FINDINGS`] lists them.

mod engines;
mod finding;
mod findings;
mod firewalls;
pub mod gather;
mod host;
mod interfaces;
mod published;
mod words;

#[cfg(test)]
mod tests;

pub use finding::{Check, Finding, Kind, Severity};
pub use findings::FINDINGS;
pub use firewalls::Enabled;

pub use host::{Host, Kernel, Loaded, PolicyState, Sysctls};

use crate::machine::Engine;
use crate::ruleset::Ruleset;
use crate::simulate::{Routes, Sets};
use published::{Published, published};
use std::collections::BTreeSet;

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
}

impl<'f> Facts<'f> {
    /// This machine, with the rules and routes that it has.
    #[must_use]
    pub fn new(host: &'f Host, rules: &'f Ruleset, sets: &'f dyn Sets, routes: &'f dyn Routes) -> Self {
        Self { host, rules, sets, routes, published: published(host, rules, routes) }
    }
}

/// All findings, worst first.
#[must_use]
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = FINDINGS.iter().flat_map(|(_, check)| check.run(facts)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}
