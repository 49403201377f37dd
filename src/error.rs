//! Errors that end a command early.

use crate::enforce::EnforceError;
use crate::enforce::temporary::TemporaryError;
use crate::lockout::Lockouts;
use crate::netlink::NetlinkError;
use crate::policy::Problems;
use crate::printable;
use crate::process::privileges::NoNetAdmin;
use crate::state::{LockError, StateError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy has problems; each carries its place in the policy.
    #[error("the policy is not valid")]
    Policy(Problems),
    /// The policy is valid, and something about this machine stands against it.
    #[error("this policy does not fit this machine: nothing was changed, the old rules are in force")]
    Misfit(Problems),
    /// The kernel could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel answered, but does not hold the desired table.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    /// An SSH session could not reconnect under the new rules.
    #[error(transparent)]
    Lockout(#[from] Lockouts),
    /// The command lacks the right to read or change the firewall.
    #[error(transparent)]
    Privilege(#[from] NoNetAdmin),
    /// A file could not be written, or a prompt could not be shown.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another writer holds the lock for too long, or the lock can't be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Who is in a group for a time could not be changed.
    #[error(transparent)]
    Temporary(#[from] TemporaryError),
    /// An expectation of the policy would not be met.
    #[error("{what}: nothing was changed")]
    Unexpected {
        /// What was asked for, and why it is refused.
        what: String,
        /// The expectations.
        problems: Problems,
    },
    /// State that the command needs can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another change waits for confirmation; holds the time left.
    #[error("a change waits for confirmation for another {0}: `palisade confirm` or `palisade rollback` first")]
    Waiting(String),
    /// The user declined at the prompt, or the request can't be granted.
    #[error("{0}")]
    Declined(String),
}

impl Error {
    /// The error and its causes as a user reads them, of one or more lines without the last line break.
    #[must_use]
    pub fn in_full(&self, color: bool) -> String {
        match self {
            Self::Policy(problems) => problems.render(color).trim_end().to_owned(),
            Self::Unexpected { problems, .. } => format!("{}\nerror: {self}", problems.render(color)),
            Self::Misfit(problems) => {
                format!("{}\nerror: {self}\nTo load it all the same: palisade apply --force", problems.render(color))
            }
            error => {
                let mut line = format!("error: {error}");
                let mut cause = std::error::Error::source(error);
                while let Some(inner) = cause {
                    let inner_text = inner.to_string();
                    if !line.contains(&inner_text) {
                        line.push_str(": ");
                        line.push_str(&inner_text);
                    }
                    cause = inner.source();
                }
                printable::lines(&line).into_owned()
            }
        }
    }
}
