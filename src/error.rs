//! What can end a command early.

use crate::enforce::EnforceError;
use crate::lockout::Lockouts;
use crate::netlink::NetlinkError;
use crate::policy::Problems;
use crate::process::privileges::NoNetAdmin;
use crate::state::{LockError, StateError};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy has problems, each of which knows its place.
    #[error("the policy is not valid")]
    Policy(Problems),
    /// The kernel could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel could be asked, and does not hold what it should.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    /// An SSH session could not connect again.
    #[error(transparent)]
    Lockout(#[from] Lockouts),
    /// A command without the right to look or to change.
    #[error(transparent)]
    Privilege(#[from] NoNetAdmin),
    /// A file could not be written, or a terminal not be asked.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another writer does not end, or nobody can be kept out.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What palisade keeps can't be written or read, where it can't do without.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another change waits for confirmation; with how long it still does.
    #[error("a change waits for confirmation for another {0}: `palisade confirm` or `palisade rollback` first")]
    Waiting(String),
    /// The user was asked and did not agree, or what was asked for is not to be had.
    #[error("{0}")]
    Declined(String),
}
