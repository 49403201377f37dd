//! What palisade stores: the rulesets that were good, and a change that waits for confirmation.
//!
//! ```text
//! /var/lib/palisade/                 accessible to root alone, like all that is in it
//!   rulesets/000017.ruleset          the newest five that were loaded and kept, each with its policy
//!   sets/4d3b...                     the large sets of any of these rulesets, named by digest
//!   lists/index, lists/4d3b...       the addresses of the policy's files as they were last applied, and those of
//!                                    the policies of kept rulesets
//!   names.json                       the addresses of host names, and when each was last looked up
//!   last-good                        the number of the ruleset to fall back on, if not the newest
//!   temporary.json                   who is in a group for a time, and how long
//!   textfiles                        the files that `metrics` has written for node_exporter
//!   undone                           undone rulesets, which boot does not load even if the policy says so
//!   pending/change.json              a change that waits for confirmation, with
//!   pending/previous.ruleset         the ruleset before it, and
//!   pending/desired.ruleset          the ruleset that it loads
//!   pending/confirmed.json           the change after confirmation, until desired.ruleset is kept
//! /run/palisade/
//!   lock                             one writer at a time
//!   booted-from                      what was loaded at boot, and why
//!   checked.json                     what the last check of `doctor --journal` has found
//!   in-force                         marks that a palisade table should be loaded
//!   revoking                         marks that rules are being loaded and connections not yet checked
//!   unrefreshed                      marks that the rules may have other addresses of host names than names.json
//!   settled                          the id of a settled change whose file could not be removed
//! ```
//!
//! Each file is replaced as a whole, and written only under the lock.

mod applied;
mod booted;
mod checked;
pub mod clock;
mod files;
mod in_force;
mod kept;
mod large;
mod lists;
mod lock;
mod names;
mod pending;
mod revocation;
mod stored;
mod temporary;
#[cfg(test)]
mod tests;
mod textfiles;

pub use applied::Applied;
pub use booted::{Booted, Source};
pub use checked::Checked;
pub use kept::Entry;
pub use lists::Lists;
pub use lock::{Lock, LockError, PATIENCE};
pub use pending::{Change, Keeper};
pub use stored::{About, Identity, Kept, MAX_STORED, Stored};
pub use temporary::moment;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the state is unless the user says otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/palisade";
/// Where the lock is unless the user says otherwise.
pub const DEFAULT_RUN: &str = "/run/palisade";
/// The maximum size of a small file, in bytes.
const MAX_SMALL: u64 = 64 << 10;

/// Why something can't be stored, or what was stored can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file can't be written.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file can't be read; the text names the file.
    #[error("{0}")]
    Read(String),
    /// A file is not as palisade writes it.
    #[error("{} can't be used: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A ruleset can't be kept, because palisade could not rebuild it.
    #[error("the ruleset can't be kept: {0}")]
    Unstorable(String),
    /// No kept ruleset has that number.
    #[error("no ruleset {0} is kept: see `palisade rollback --list`")]
    NoSuch(u32),
}

/// The stored state, by its two folders.
#[derive(Clone, Debug)]
pub struct State {
    /// Persistent state.
    folder: PathBuf,
    /// State that a reboot clears.
    run: PathBuf,
}

impl State {
    /// The state in these folders, which need not exist.
    #[must_use]
    pub fn new(folder: PathBuf, run: PathBuf) -> Self {
        // The process that undoes a change starts in another working directory.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Self { folder: absolute(folder), run: absolute(run) }
    }

    /// The folder of persistent state.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder that a reboot clears.
    #[must_use]
    pub fn run_folder(&self) -> &Path {
        &self.run
    }

    /// Takes the lock for a command.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self, command: &str) -> Result<Lock, LockError> {
        Lock::take(&self.run, command, PATIENCE)
    }

    /// Takes the lock for a command that works without it as well; waits at most `patience`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock_within(&self, command: &str, patience: Duration) -> Result<Lock, LockError> {
        Lock::take(&self.run, command, patience)
    }

    /// Makes the two folders if they are missing, before this process is confined to them. A failure is reported by
    /// the first write.
    pub fn make_folders(&self) {
        for folder in [&self.folder, &self.run] {
            let made = files::Folder::make(folder);
            let _ = made.inspect_err(|error| tracing::debug!("{} can't be made: {error}", folder.display()));
        }
    }

    /// Makes the folder of persistent state, before files are written to its subfolders.
    fn make_folder(&self) -> Result<(), StateError> {
        files::Folder::make(&self.folder)
            .map(drop)
            .map_err(|source| StateError::Write { path: self.folder.clone(), source })
    }
}

/// Reads a small file of JSON; `None` when there is none.
fn read_json<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, StateError> {
    let Some(bytes) = files::read(&path, MAX_SMALL)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(StateError::Damaged { path, why: "it is not what palisade writes" }),
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StateError> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| StateError::Unstorable(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
