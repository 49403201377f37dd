//! What the last check of `palisade doctor --journal` found, for `metrics` to tell until the machine restarts.

use super::{State, StateError, files, read_json, to_json};
use serde::{Deserialize, Serialize};

/// In the folder that a reboot empties: what was found before it may have gone with it.
const CHECKED: &str = "checked.json";

/// What was found, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// When, in seconds since 1970 by the wall clock.
    pub at: u64,
    /// How many errors.
    pub errors: u64,
    /// How many warnings.
    pub warnings: u64,
    /// How many notes.
    pub notes: u64,
    /// How many findings that the policy, or the command line, ignores.
    pub ignored: u64,
}

impl Checked {
    /// The numbers with the names of the severities.
    #[must_use]
    pub const fn counts(self) -> [(&'static str, u64); 4] {
        let Self { errors, warnings, notes, ignored, .. } = self;
        [("error", errors), ("warning", warnings), ("note", notes), ("ignored", ignored)]
    }
}

impl State {
    /// Keeps what was found.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn note_checked(&self, checked: &Checked) -> Result<(), StateError> {
        files::write(&self.run, CHECKED, &to_json(checked)?)
    }

    /// What was found last since this machine was started; `None` if nothing was checked.
    ///
    /// # Errors
    /// The file can't be read, or is not what palisade writes.
    pub fn checked(&self) -> Result<Option<Checked>, StateError> {
        read_json(self.run.join(CHECKED))
    }
}
