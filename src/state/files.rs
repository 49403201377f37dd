//! Files that are either whole or absent, in folders that only root can have written.
//!
//! A folder's path is opened step by step and checked, like a policy's, and all operations use the open folder:
//! whoever owns another folder of the path, or puts a link into it, can't redirect a write or a removal elsewhere.

use super::StateError;
use crate::files::{Refusal, open_trusted_folder, read_trusted};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// An open folder that only root and the effective user can change.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder; `None` if it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        if is_missing(path) {
            return Ok(None);
        }
        match open_trusted_folder(path) {
            Ok(fd) => Ok(Some(Self { fd, path: path.to_owned() })),
            Err(_) if is_missing(path) => Ok(None),
            Err(Refusal { message, .. }) => Err(io::Error::other(message)),
        }
    }

    /// Opens the folder, creating it for its owner alone if it is missing; missing parents are created for everyone.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        Self::make_with(path, Mode::S_IRWXU)
    }

    fn make_with(path: &Path, mode: Mode) -> io::Result<Self> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::NotFound.into());
        };
        let everyone = Mode::S_IRWXU | Mode::S_IRGRP | Mode::S_IXGRP | Mode::S_IROTH | Mode::S_IXOTH;
        match mkdirat(&Self::make_with(above, everyone)?.fd, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => Self::open(path)?.ok_or_else(|| ErrorKind::NotFound.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a file in the folder; refuses a link.
    pub(super) fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
    }

    /// The names of its entries.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut folder = Dir::openat(&self.fd, ".", flags, Mode::empty())?;
        let name = |entry: nix::dir::Entry| entry.file_name().to_string_lossy().into_owned();
        Ok(folder.iter().map(|entry| entry.map(name)).collect::<Result<_, _>>()?)
    }

    /// Whether it has a file of that name; a link does not count.
    fn holds(&self, name: &str) -> bool {
        self.file(name, OFlag::O_PATH).and_then(|file| file.metadata()).is_ok_and(|found| found.is_file())
    }

    /// Writes a file: readers find the old file or the new one, even after a crash.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // One temporary name for all attempts: a killed writer leaves at most one such file, and the next one reuses
        // it.
        let draft = format!(".{name}.new");
        let written = self.write_draft(&draft, bytes).and_then(|()| self.give(&draft, self, name));
        if written.is_err() {
            // On a full disk a partial file only takes space.
            let _ = unlinkat(&self.fd, draft.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    fn write_draft(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Renames a file, in this folder or into another; works on a full disk.
    fn give(&self, name: &str, to: &Self, as_name: &str) -> io::Result<()> {
        renameat(&self.fd, name, &to.fd, as_name)?;
        to.sync()
    }

    /// Copies the file and removes the original, which takes space on the disk: at any instant one of the two is
    /// whole.
    fn copy(&self, name: &str, to: &Self, as_name: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.file(name, OFlag::O_RDONLY)?.read_to_end(&mut bytes)?;
        to.write(as_name, &bytes)?;
        self.remove(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => self.sync(),
            Err(Errno::ENOENT) => Ok(()),
            // A read-only disk refuses to remove even a missing file.
            Err(_) if is_missing(&self.path.join(name)) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes new names in the folder survive a crash.
    fn sync(&self) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        File::from(openat(&self.fd, ".", flags, Mode::empty())?).sync_all()
    }
}

/// Writes a file: readers find the old file or the new one, even after a crash.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let written = Folder::make(folder).and_then(|folder| folder.write(name, bytes));
    written.map_err(|source| StateError::Write { path: folder.join(name), source })
}

/// Reads a file; `None` if it does not exist.
pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, StateError> {
    // Check first: most of these files are rarely present, and opening one opens each step of its path.
    if is_missing(path) {
        return Ok(None);
    }
    match read_trusted(path, max_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) if is_missing(path) => Ok(None),
        Err(Refusal { message, .. }) => Err(StateError::Read(message)),
    }
}

/// Whether the file exists, in a folder that can be trusted.
pub(super) fn exists(folder: &Path, name: &str) -> bool {
    Folder::open(folder).ok().flatten().is_some_and(|folder| folder.holds(name))
}

/// The names in a folder; empty if the folder is missing. The error is in words.
pub(super) fn all_names(folder: &Path) -> Result<Vec<String>, StateError> {
    let names =
        Folder::open(folder).and_then(|folder| folder.map_or_else(|| Ok(Vec::new()), |folder| folder.names()));
    names.map_err(|error| StateError::Read(error.to_string()))
}

/// The same; empty, too, if the folder can't be trusted or read, which is said.
pub(super) fn names(folder: &Path) -> Vec<String> {
    all_names(folder).unwrap_or_else(|error| {
        tracing::warn!("{} is passed over: {error}", folder.display());
        Vec::new()
    })
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Removes a file; a missing one is no error.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), StateError> {
    let path = folder.join(name);
    if is_missing(&path) {
        return Ok(());
    }
    let removed = Folder::open(folder).and_then(|folder| folder.map_or(Ok(()), |folder| folder.remove(name)));
    removed.map_err(|source| StateError::Write { path, source })
}

/// Renames a file within its folder.
pub(super) fn rename(folder: &Path, from: &str, to: &str) -> Result<(), StateError> {
    move_to(folder, from, folder, to)
}

/// Moves a file to another folder by rename, so that it works on a full disk.
pub(super) fn move_to(from: &Path, name: &str, folder: &Path, as_name: &str) -> Result<(), StateError> {
    let moved = Folder::open(from).and_then(|from| {
        let (from, to) = (from.ok_or(ErrorKind::NotFound)?, Folder::make(folder)?);
        match from.give(name, &to, as_name) {
            // Landlock lets a confined process rename into another folder only since 5.19.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => from.copy(name, &to, as_name),
            given => given,
        }
    });
    moved.map_err(|source| StateError::Write { path: folder.join(as_name), source })
}
