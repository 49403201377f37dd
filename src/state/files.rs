//! Files that are whole or not there, in folders that nobody but root has written.
//!
//! A folder is opened step by step and checked on the way, as a policy's are, and what is done in it is done to the open
//! folder: whoever owns another folder of the path, or puts a link into it, gets nothing written or removed elsewhere.

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

/// An open folder that nobody but root and the effective user can change.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens it; `None` when there is none.
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

    /// Opens it, and makes it where there is none, for its owner alone; those above it that are missing for everyone.
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

    /// Opens a file in it, which is no link.
    pub(super) fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
    }

    /// The names of what is in it.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut folder = Dir::openat(&self.fd, ".", flags, Mode::empty())?;
        let name = |entry: nix::dir::Entry| entry.file_name().to_string_lossy().into_owned();
        Ok(folder.iter().map(|entry| entry.map(name)).collect::<Result<_, _>>()?)
    }

    /// Whether there is a file of that name, which a link is not.
    fn holds(&self, name: &str) -> bool {
        self.file(name, OFlag::O_PATH).and_then(|file| file.metadata()).is_ok_and(|found| found.is_file())
    }

    /// Writes a file: whoever reads it finds the old one or the new one, after a crash too.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // One name for all attempts: a writer that was killed leaves one such file at most, and the next one takes it.
        let draft = format!(".{name}.new");
        let written = self.write_draft(&draft, bytes).and_then(|()| self.give(&draft, self, name));
        if written.is_err() {
            // On a full disk half a file is in the way.
            let _ = unlinkat(&self.fd, draft.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    fn write_draft(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives a file another name, in this folder or in another, which takes no room on the disk.
    fn give(&self, name: &str, to: &Self, as_name: &str) -> io::Result<()> {
        renameat(&self.fd, name, &to.fd, as_name)?;
        to.sync()
    }

    /// The same where that takes room: at any instant one of the two is whole.
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
            // A read-only disk refuses to remove even what is not there.
            Err(_) if is_missing(&self.path.join(name)) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Has the folder's names survive a crash.
    fn sync(&self) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        File::from(openat(&self.fd, ".", flags, Mode::empty())?).sync_all()
    }
}

/// Writes a file: whoever reads it finds the old one or the new one, after a crash too.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let written = Folder::make(folder).and_then(|folder| folder.write(name, bytes));
    written.map_err(|source| StateError::Write { path: folder.join(name), source })
}

/// Reads a file; `None` when there is none.
pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, StateError> {
    // Asked for first: most of these files are seldom there, and each step on the way to one would be opened.
    if is_missing(path) {
        return Ok(None);
    }
    match read_trusted(path, max_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) if is_missing(path) => Ok(None),
        Err(Refusal { message, .. }) => Err(StateError::Read(message)),
    }
}

/// Whether there is a file, in a folder that can be believed.
pub(super) fn exists(folder: &Path, name: &str) -> bool {
    Folder::open(folder).ok().flatten().is_some_and(|folder| folder.holds(name))
}

/// The names of what is in a folder; none where there is no folder, or one that can't be believed.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let names =
        Folder::open(folder).and_then(|folder| folder.map_or_else(|| Ok(Vec::new()), |folder| folder.names()));
    names.unwrap_or_else(|error| {
        tracing::warn!("{} is passed over: {error}", folder.display());
        Vec::new()
    })
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Removes a file, or finds it gone.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), StateError> {
    let path = folder.join(name);
    if is_missing(&path) {
        return Ok(());
    }
    let removed = Folder::open(folder).and_then(|folder| folder.map_or(Ok(()), |folder| folder.remove(name)));
    removed.map_err(|source| StateError::Write { path, source })
}

/// Gives a file another name in its folder.
pub(super) fn rename(folder: &Path, from: &str, to: &str) -> Result<(), StateError> {
    move_to(folder, from, folder, to)
}

/// Moves a file into another folder, which takes no room on the disk.
pub(super) fn move_to(from: &Path, name: &str, folder: &Path, as_name: &str) -> Result<(), StateError> {
    let moved = Folder::open(from).and_then(|from| {
        let (from, to) = (from.ok_or(ErrorKind::NotFound)?, Folder::make(folder)?);
        match from.give(name, &to, as_name) {
            // Landlock lets a confined process rename into another folder since 5.19 alone.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => from.copy(name, &to, as_name),
            given => given,
        }
    });
    moved.map_err(|source| StateError::Write { path: folder.join(as_name), source })
}
