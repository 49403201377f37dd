//! One writer at a time.

use super::files::Folder;
use crate::process::progress::doing;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// How long a writer waits for the one before it. An apply takes at most a second, or ten while others keep changing
/// the ruleset.
pub const PATIENCE: Duration = Duration::from_secs(60);

const LOCK: &str = "lock";

/// The right to write, held until it is dropped or the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file can't be made or opened.
    #[error("can't lock {}, without which two writers could meet: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another writer does not finish.
    #[error("gave up after {seconds} s of waiting for {holder}: nothing was changed")]
    Held {
        /// How long this process waited.
        seconds: u64,
        /// The holder, if the file names it.
        holder: String,
    },
}

impl Lock {
    /// Takes the lock of a folder, waiting for its holder, and writes this process and its command into it.
    ///
    /// # Errors
    /// [`LockError::Held`] after `patience`.
    pub fn take(folder: &Path, command: &str, patience: Duration) -> Result<Self, LockError> {
        let path = folder.join(LOCK);
        let unusable = |source| LockError::Unusable { path: path.clone(), source };
        let folder = Folder::make(folder).map_err(unusable)?;
        let begun = Instant::now();
        loop {
            let file = match Flock::lock(open(&folder).map_err(unusable)?, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                    let holder = holder(&folder);
                    tracing::warn!("waiting for {holder}");
                    let _doing = doing("waiting for another palisade");
                    let left = patience.saturating_sub(begun.elapsed());
                    let held = || LockError::Held { seconds: patience.as_secs(), holder };
                    wait(file, left).map_err(unusable)?.ok_or_else(held)?
                }
                Err((_, errno)) => return Err(unusable(errno.into())),
            };
            // If someone has removed the file, the next writer would lock another one.
            if is_in(&folder, &file) {
                let mut lock = Self { _file: file };
                // The signature only informs people: on a full tmpfs the lock is as good without it.
                let _ = lock.sign(command);
                return Ok(lock);
            }
        }
    }

    fn sign(&mut self, command: &str) -> io::Result<()> {
        let since = humantime::format_rfc3339_seconds(SystemTime::now());
        let mut file: &File = &self._file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}, palisade {command}, since {since}\n", std::process::id()).as_bytes())
    }
}

/// Opens the file for root alone: whoever could open it, even to read, could hold the lock for ever.
fn open(folder: &Folder) -> io::Result<File> {
    folder.file(LOCK, OFlag::O_RDWR | OFlag::O_CREAT)
}

/// Waits for the lock; `None` on timeout. The wait in the kernel has no timeout, so a thread does it, and is left
/// behind when the time is over.
fn wait(file: File, patience: Duration) -> io::Result<Option<Flock<File>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new().spawn(move || {
        let locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno));
        let _ = sender.send(locked);
    })?;
    receiver.recv_timeout(patience).ok().transpose()
}

fn holder(folder: &Folder) -> String {
    let mut text = String::new();
    let file = folder.file(LOCK, OFlag::O_RDONLY);
    let read = file.and_then(|file| file.take(200).read_to_string(&mut text));
    let line = text.lines().next().unwrap_or_default().trim();
    match read {
        Ok(_) if !line.is_empty() && !line.contains(char::is_control) => format!("another palisade ({line})"),
        _ => "another palisade".to_owned(),
    }
}

fn is_in(folder: &Folder, file: &File) -> bool {
    let identity = |found: io::Result<std::fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    let found = folder.file(LOCK, OFlag::O_PATH).and_then(|file| file.metadata());
    identity(file.metadata()).is_some_and(|own| Some(own) == identity(found))
}
