//! What on this machine works against the policy: findings computed from facts, each with what it means and the command
//! that mends it.
//!
//! [`gather`] does all I/O and makes a [`Host`] of it. With the live rules that is [`Facts`]. Each kind of finding has a file
//! in `findings/` that looks at nothing else; [`FINDINGS`] lists them.

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

/// What is known of this machine, and its live rules.
#[derive(Clone, Copy)]
pub struct Facts<'f> {
    /// This machine.
    pub host: &'f Host,
    /// The rules of all tables, palisade's own among them.
    pub rules: &'f Ruleset,
    /// What is in their sets.
    pub sets: &'f dyn Sets,
    /// Where packets go.
    pub routes: &'f dyn Routes,
}

/// All findings, the worst first.
#[must_use]
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = FINDINGS.iter().flat_map(|(_, check)| check.run(facts)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}
