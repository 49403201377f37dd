//! Files that are whole or not there, and that nobody but root has written.

use super::StateError;
use crate::facts::{Refusal, read_trusted};
use nix::fcntl::OFlag;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder that its owner alone can enter, and those above it that are missing.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        result => result,
    }
}

/// Writes a file: whoever reads it finds the old one or the new one, after a crash too.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let failed = |source| StateError::Write { path: folder.join(name), source };
    make_folder(folder).map_err(failed)?;
    // One name for all attempts: a writer that was killed leaves one such file at most, and the next one takes it.
    let draft = folder.join(format!(".{name}.new"));
    let written = write_draft(&draft, bytes).and_then(|()| std::fs::rename(&draft, folder.join(name)));
    if let Err(error) = written {
        // On a full disk half a file is in the way.
        let _ = std::fs::remove_file(&draft);
        return Err(failed(error));
    }
    sync_folder(folder).map_err(failed)
}

fn write_draft(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_NOFOLLOW.bits();
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, StateError> {
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

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Removes a file, or finds it gone.
pub fn remove(folder: &Path, name: &str) -> Result<(), StateError> {
    let path = folder.join(name);
    // Asked for first: a read-only disk refuses to remove even what is not there.
    if is_missing(&path) {
        return Ok(());
    }
    let removed = std::fs::remove_file(&path).and_then(|()| sync_folder(folder));
    removed.map_err(|source| StateError::Write { path, source })
}

/// Gives a file another name in its folder.
pub fn rename(folder: &Path, from: &str, to: &str) -> Result<(), StateError> {
    let path = folder.join(to);
    let renamed = std::fs::rename(folder.join(from), &path).and_then(|()| sync_folder(folder));
    renamed.map_err(|source| StateError::Write { path, source })
}

/// Moves a file into another folder, which takes no room on the disk.
pub fn move_to(from: &Path, folder: &Path, name: &str) -> Result<(), StateError> {
    let path = folder.join(name);
    let moved = make_folder(folder).and_then(|()| std::fs::rename(from, &path)).and_then(|()| sync_folder(folder));
    match moved {
        // Landlock lets a confined process rename into another folder since 5.19 alone.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => copy_to(from, folder, name),
        moved => moved.map_err(|source| StateError::Write { path, source }),
    }
}

/// The same where that takes room: at any instant one of the two is whole.
fn copy_to(from: &Path, folder: &Path, name: &str) -> Result<(), StateError> {
    let failed = |source| StateError::Write { path: folder.join(name), source };
    write(folder, name, &std::fs::read(from).map_err(failed)?)?;
    std::fs::remove_file(from).map_err(failed)
}

/// Has the folder's names survive a crash.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
