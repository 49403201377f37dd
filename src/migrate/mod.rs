//! Translates the rules of other firewalls to a policy.
//!
//! Texts of files in, the text of a policy and a report out: whoever calls this reads the files, and has the policy
//! proved before anybody sees it.
//!
//! ```text
//! files of a firewall ─► tuples, of which the first that matches decides
//!                     ─ cut ─► what is left of each behind the earlier ones ─ service ─► write ─► the policy
//!                     ─ expect ─► what has to be true of it
//! ```

mod cut;
pub mod docker_user;
pub mod firewalld;
mod names;
mod published;
mod questions;
mod report;
mod service;
mod spans;
pub mod tables;
mod tuple;
pub mod ufw;
mod write;

pub use report::{Entry, Fate, Note, Report};

use crate::facts::ProtocolNames;
use crate::machine::PublishedPort;
use std::net::IpAddr;

/// What is known of containers where the machine itself is asked.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// What they publish.
    pub published: Vec<PublishedPort>,
    /// The bridges that they are behind: the name, and the address and the prefix length of a network.
    pub bridges: Vec<(String, IpAddr, u8)>,
}

/// A policy, and what became of each rule.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The policy's text.
    pub policy: String,
    /// The report.
    pub report: Report,
}

/// The names of protocols that a policy may have which was written here.
#[must_use]
pub fn protocol_names() -> ProtocolNames {
    tuple::PORTLESS.into_iter().collect()
}
