//! What was loaded at boot, for `status` to tell until something else is loaded.

use super::{State, StateError, files, read_json, to_json};
use serde::{Deserialize, Serialize};

const BOOTED_FROM: &str = "booted-from";

/// What `boot` has loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booted {
    /// What it was.
    pub from: Source,
    /// Why it was not the policy; `None` when it was.
    pub why: Option<String>,
}

/// What `boot` loads, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The policy.
    Policy,
    /// What was loaded before a change that nobody confirmed.
    Previous,
    /// What waits for confirmation, and had been flushed.
    Waiting,
    /// A ruleset that was kept.
    LastGood,
    /// Nothing: the table was there.
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

impl State {
    /// Notes what was loaded at boot.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn note_boot(&self, booted: &Booted) -> Result<(), StateError> {
        files::write(&self.run, BOOTED_FROM, &to_json(booted)?)
    }

    /// What was loaded at boot, if nothing else was loaded since.
    #[must_use]
    pub fn booted(&self) -> Option<Booted> {
        read_json(self.run.join(BOOTED_FROM)).ok().flatten()
    }

    /// Says that what is loaded is not from boot any more.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn forget_boot(&self) -> Result<(), StateError> {
        files::remove(&self.run, BOOTED_FROM)
    }
}
