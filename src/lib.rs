//! Palisade: the firewall of a Linux server that runs containers.
//!
//! YAML is parsed into a [`policy::Policy`], resolved against [`facts::Facts`] about this machine, and compiled to a
//! [`ruleset::Ruleset`]. The live `Ruleset` is decoded from the kernel. Their difference is a
//! [`ruleset::Transaction`], which is committed once, or not at all.

// Unit tests share their generators with the integration tests, which refer to the crate by name.
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
pub mod cli;
pub mod commands;
pub mod compile;
pub mod confirm;
pub mod delta;
pub mod denied;
pub mod desired;
pub mod doctor;
pub mod enforce;
pub mod error;
pub mod explain;
pub mod export;
pub mod exposure;
pub mod facts;
pub mod files;
pub mod lockout;
pub mod machine;
pub mod metrics;
pub mod migrate;
pub mod names;
pub mod net;
pub mod netlink;
pub mod picture;
pub mod plan;
pub mod policy;
pub mod preflight;
pub mod printable;
pub mod process;
pub mod render;
pub mod resolve;
pub mod ruleset;
pub mod simulate;
pub mod state;
pub mod temporary;
