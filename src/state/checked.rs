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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_as_it_was_kept_and_what_palisade_did_not_write_is_never_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = State::new(folder.path().join("state"), folder.path().join("run"));
        assert_eq!(state.checked().expect("there is none"), None);
        let checked = Checked { at: 1_780_000_000, errors: 1, warnings: 2, notes: 3, ignored: 4 };

        state.note_checked(&checked).expect("it can be written");

        assert_eq!(state.checked().expect("it can be read"), Some(checked));
        assert_eq!(checked.counts(), [("error", 1), ("warning", 2), ("note", 3), ("ignored", 4)]);
        for text in ["", "{}", r#"{"at":1,"errors":0,"warnings":0,"notes":0,"ignored":0,"more":1}"#] {
            std::fs::write(folder.path().join("run").join(CHECKED), text).expect("it can be written");
            let error = state.checked().expect_err(text).to_string();
            assert!(error.ends_with("checked.json can't be used: it is not what palisade writes"), "{error}");
        }
    }
}
