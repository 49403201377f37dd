//! What was loaded at boot, for `status` to tell until something else is loaded.

use super::{State, StateError, files, read_json, to_json};
use serde::{Deserialize, Serialize};

const BOOTED_FROM: &str = "booted-from";

/// What `boot` loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booted {
    /// Where it came from.
    pub from: Source,
    /// Why `boot` did not load the policy, or not all of it; `None` if it did.
    pub why: Option<String>,
}

/// The sources of `boot`, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The policy.
    Policy,
    /// The ruleset from before a change that nobody confirmed.
    Previous,
    /// The change that waits for confirmation; its table had been flushed.
    Waiting,
    /// A kept ruleset.
    LastGood,
    /// Nothing was loaded: the table was already in the kernel.
    Live,
    /// Everything denied but SSH.
    Lockdown,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Policy => "the policy",
            Self::Previous => "the ruleset that was in force before a change that nobody confirmed",
            Self::Waiting => "the change that waits for confirmation",
            Self::LastGood => "the last good ruleset",
            Self::Live => "what was loaded already",
            Self::Lockdown => "a lockdown: all that comes in is denied but SSH",
        })
    }
}

impl Source {
    /// Its name with the reason why it is not all that the policy says.
    #[must_use]
    pub fn with(self, why: &str) -> String {
        match self {
            Self::Policy => format!("{self}, but {why}"),
            _ => format!("{self}, since {why}"),
        }
    }
}

impl State {
    /// Notes what was loaded at boot.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn note_boot(&self, booted: &Booted) -> Result<(), StateError> {
        files::write(&self.run, BOOTED_FROM, &to_json(booted)?)
    }

    /// What was loaded at boot, unless something else was loaded since.
    #[must_use]
    pub fn booted(&self) -> Option<Booted> {
        read_json(self.run.join(BOOTED_FROM)).ok().flatten()
    }

    /// Notes that the loaded ruleset is no longer the one from boot.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn forget_boot(&self) -> Result<(), StateError> {
        files::remove(&self.run, BOOTED_FROM)
    }
}
