//! Who is in a group for a time.

use super::clock::{boot_id, since_start};
use super::{State, StateError, files};
use crate::temporary::{Entries, Limits, Moment};
use std::time::SystemTime;

const TEMPORARY: &str = "temporary.json";
/// The maximum size of the file, in bytes: some 50,000 entries.
const MAX_BYTES: u64 = 16 << 20;

/// This moment, by all clocks. The wall clock counts only where nothing else is left: after a reboot.
#[must_use]
pub fn moment() -> Moment {
    // A clock that is set before 1970 is wrong.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment { wall, since_start: since_start(), boot: boot_id() }
}

impl State {
    /// Who is in a group for a time, those whose time is over included.
    ///
    /// # Errors
    /// The file can't be read or used.
    pub fn temporary(&self) -> Result<Entries, StateError> {
        let path = self.folder.join(TEMPORARY);
        let Some(bytes) = files::read(&path, MAX_BYTES)? else { return Ok(Entries::default()) };
        Entries::from_json(&bytes).ok_or(StateError::Damaged { path, why: "it is not what palisade writes" })
    }

    /// Writes who is in a group for a time. Writes nothing that is there.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn keep_temporary(&self, entries: &Entries) -> Result<(), StateError> {
        if entries.is_empty() {
            return files::remove(&self.folder, TEMPORARY);
        }
        if self.temporary().is_ok_and(|before| before == *entries) {
            return Ok(());
        }
        let bytes = entries.to_json().map_err(|error| StateError::Unstorable(error.to_string()))?;
        self.make_folder()?;
        files::write(&self.folder, TEMPORARY, &bytes)
    }

    /// For how long at most groups take addresses, by the policy of the last good ruleset; `None` if that is not known.
    #[must_use]
    pub fn temporary_limits(&self) -> Option<Limits> {
        self.last_good_policy().map(|applied| applied.limits())
    }
}
