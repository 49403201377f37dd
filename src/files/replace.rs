//! Puts another content in the place of a file: of a trusted one, which keeps its mode and its owner, or of one for its
//! owner alone.

use super::{Refusal, read_trusted};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A new file beside the one that it is to replace, with its mode and its owner. It is removed when this is dropped.
///
/// It is made before the process is confined, since a confined one can neither set an owner nor make files elsewhere.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// The file itself, behind symbolic links.
    path: PathBuf,
    draft: PathBuf,
    file: File,
    /// What the file said.
    old: Vec<u8>,
}

impl Replacement {
    /// Reads a file of at most that size, and makes the new one beside it.
    pub(crate) fn of(path: &Path, max_bytes: u64) -> Result<Self, Refusal> {
        let old = read_trusted(path, max_bytes)?;
        Self::beside(path, old).map_err(|error| Refusal {
            message: format!("{} can't be replaced: {error}", path.display()),
            help: None,
            missing: false,
            writable: false,
        })
    }

    fn beside(path: &Path, old: Vec<u8>) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let about = fs::metadata(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = path.with_file_name(format!(".{name}.palisade-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let made = Self { path, draft, file, old };
        fchown(&made.file, Some(about.uid()), Some(about.gid()))?;
        // After the owner: a change of it takes special bits away.
        made.file.set_permissions(fs::Permissions::from_mode(about.mode() & 0o7777))?;
        Ok(made)
    }

    /// What the file said.
    pub(crate) fn old(&self) -> &[u8] {
        &self.old
    }

    /// The folder of both files.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Replaces the file. Readers find the old one or the new one, even after a crash.
    ///
    /// # Errors
    /// Somebody has changed the file in between, or it can't be written: then it is as before.
    pub(crate) fn finish(mut self, bytes: &[u8]) -> io::Result<()> {
        if fs::read(&self.path)? != self.old {
            return Err(io::Error::other("somebody else has changed it in between: run the command again"));
        }
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        fs::rename(&self.draft, &self.path)?;
        File::open(self.folder())?.sync_all()
    }
}

/// A new file that its owner alone can read, beside the one whose place it takes, if there is one. It is removed when this
/// is dropped.
///
/// It is made before the process is confined, since a confined one can't make files elsewhere.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    draft: PathBuf,
    file: File,
}

impl NewFile {
    /// Makes the new file. Fails if the path names anything but a file: a device would be one no more.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is there, and is no regular file"));
        }
        let Some(name) = path.file_name() else { return Err(io::ErrorKind::IsADirectory.into()) };
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let path = fs::canonicalize(folder)?.join(name);
        let draft = path.with_file_name(format!(".{}.palisade-{}", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        Ok(Self { path, draft, file })
    }

    /// The same, of a file that everybody can read, whatever the umask.
    pub(crate) fn for_everyone(path: &Path) -> io::Result<Self> {
        let made = Self::at(path)?;
        made.file.set_permissions(fs::Permissions::from_mode(0o644))?;
        Ok(made)
    }

    /// The path of the file, without links in it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Puts it in its place. Readers find the old file or the new one, even after a crash.
    ///
    /// # Errors
    /// It can't be written: then what was there is as before.
    pub(crate) fn finish(mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        fs::rename(&self.draft, &self.path)?;
        File::open(self.folder())?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Renamed, or not needed any more. What can't be removed is a draft that nothing reads.
        let _ = fs::remove_file(&self.draft);
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Renamed, or not needed any more. What can't be removed is a draft that nothing reads.
        let _ = fs::remove_file(&self.draft);
    }
}
