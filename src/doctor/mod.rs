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
mod interfaces;
mod published;
mod remedy;
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

/// Facts about this machine, and its live rules.
#[derive(Clone, Copy)]
pub struct Facts<'f> {
    /// This machine.
    pub host: &'f Host,
    /// The rules of all tables, including palisade's.
    pub rules: &'f Ruleset,
    /// The contents of their sets.
    pub sets: &'f dyn Sets,
    /// The routing.
    pub routes: &'f dyn Routes,
}

/// All findings, worst first.
#[must_use]
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = FINDINGS.iter().flat_map(|(_, check)| check.run(facts)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}
