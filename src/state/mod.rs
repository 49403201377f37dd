//! What palisade keeps: the rulesets that were good, and a change that waits for confirmation.
//!
//! ```text
//! /var/lib/palisade/                 root's alone, like all that is in it
//!   rulesets/000017.ruleset          the newest five that were loaded and kept
//!   sets/4d3b...                     the large sets of any of these rulesets, by their digests
//!   last-good                        the number of the one to fall back on, where it is not the newest
//!   undone                           which rulesets were undone, and are not loaded at boot though the policy says so
//!   pending/change.json              a change that waits for confirmation, with
//!   pending/previous.ruleset         what was there before, and
//!   pending/desired.ruleset          what it loads
//!   pending/confirmed.json           the change once it is confirmed, until desired.ruleset is among those kept
//! /run/palisade/
//!   lock                             one writer at a time
//!   booted-from                      what was loaded at boot, and why
//!   in-force                         a table of palisade's is meant to be loaded
//!   revoking                         rules are being loaded whose connections have not been looked at yet
//!   settled                          a change that was undone on a disk that takes nothing
//! ```
//!
//! Each file is replaced as a whole. Everything is written under the lock.

mod booted;
pub mod clock;
mod files;
mod in_force;
mod kept;
mod large;
mod lock;
mod pending;
mod revocation;
mod stored;
#[cfg(test)]
mod tests;

pub use booted::{Booted, Source};
pub use kept::Entry;
pub use lock::{Lock, LockError, PATIENCE};
pub use pending::{Change, Keeper};
pub use stored::{About, Identity, Kept, MAX_STORED, Stored};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the state is unless the user says otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/palisade";
/// Where the lock is unless the user says otherwise.
pub const DEFAULT_RUN: &str = "/run/palisade";
/// How many bytes the small files may have.
const MAX_SMALL: u64 = 64 << 10;

/// Why something can't be kept, or what was kept can't be had.
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
    /// A file can't be read, in words that name it.
    #[error("{0}")]
    Read(String),
    /// A file is not as palisade wrote it.
    #[error("{} can't be used: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A ruleset can't be kept, since palisade could not make it again.
    #[error("the ruleset can't be kept: {0}")]
    Unstorable(String),
    /// No ruleset of that number is kept.
    #[error("no ruleset {0} is kept: see `palisade rollback --list`")]
    NoSuch(u32),
}

/// What palisade keeps, by the folders that it keeps it in.
#[derive(Clone, Debug)]
pub struct State {
    /// What outlives a reboot.
    folder: PathBuf,
    /// What does not.
    run: PathBuf,
}

impl State {
    /// The state in these folders, which need not be there.
    #[must_use]
    pub fn new(folder: PathBuf, run: PathBuf) -> Self {
        // Whoever undoes a change begins in another folder.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Self { folder: absolute(folder), run: absolute(run) }
    }

    /// The folder of what outlives a reboot.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of what does not.
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

    /// Takes the lock for a command that can do without, and has no more time than that to wait for it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock_within(&self, command: &str, patience: Duration) -> Result<Lock, LockError> {
        Lock::take(&self.run, command, patience)
    }

    /// Makes the two folders where they are missing, before this process can write nowhere but in them. What can't be made
    /// is told by whoever writes to it.
    pub fn make_folders(&self) {
        for folder in [&self.folder, &self.run] {
            let made = files::Folder::make(folder);
            let _ = made.inspect_err(|error| tracing::debug!("{} can't be made: {error}", folder.display()));
        }
    }

    /// Makes the folder of all that outlives a reboot, which files in folders below are written to.
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
