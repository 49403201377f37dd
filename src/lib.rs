//! Palisade: the firewall of a Linux server that runs containers.
//!
//! YAML is parsed into a [`policy::Policy`], resolved against [`facts::Facts`] about this machine, and compiled to a
//! [`ruleset::Ruleset`]. The live `Ruleset` is decoded from the kernel. Their difference is a
//! [`transaction::Transaction`], which is committed once, or not at all.

// Unit tests share their generators with the tests outside of the crate, which call it by its name.
#[cfg(test)]
extern crate self as palisade;
#[cfg(test)]
#[path = "../tests/support/arbitrary.rs"]
mod arbitrary;
#[cfg(test)]
#[path = "../tests/support/policies.rs"]
mod policies;

pub mod access;
pub mod apart;
pub mod changes;
pub mod cli;
pub mod commands;
pub mod compile;
pub mod delta;
pub mod doctor;
pub mod enforce;
pub mod error;
pub mod explanation;
pub mod exposure;
pub mod facts;
pub mod guard;
pub mod keeper;
pub mod load;
pub mod loaded;
pub mod lockdown;
pub mod net;
pub mod netlink;
pub mod owners;
pub mod policy;
pub mod ports;
pub mod printable;
pub mod privileges;
pub mod progress;
pub mod render;
pub mod resolve;
pub mod revoke;
pub mod ruleset;
pub mod simulate;
pub mod state;
pub mod transaction;
