//! Reads files that nobody else can have written.
//!
//! Whoever can write the policy, or replace a folder on its path, controls the firewall. Each component of the path
//! is opened separately and checked on the open descriptor, so that nothing can be swapped between the check and the
//! use.

use super::user_name;
use crate::policy::Diagnostic;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::Uid;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The maximum size of a policy or a database of names, in bytes.
pub const MAX_POLICY: u64 = 8 << 20;
/// The maximum size of an address file, in bytes.
pub const MAX_LIST: u64 = 256 << 20;
/// How many symbolic links are followed; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Why a file was refused, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong; it names the file or the folder.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether only the file itself is missing: its folder exists.
    pub missing: bool,
    /// Whether someone else could have written it.
    pub writable: bool,
}

impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::general(refusal.message);
        match refusal.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

impl Refusal {
    /// A refusal without a remedy.
    pub(crate) fn new(message: String) -> Self {
        Self { message, help: None, missing: false, writable: false }
    }

    /// Adds the remedy.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    fn of_a_writer(self) -> Self {
        Self { writable: true, ..self }
    }
}

/// Reads a file that only root and the effective user can have written or put in its place.
///
/// # Errors
/// The file does not exist, can't be read, is not a regular file or exceeds `max_bytes`; or someone else could write
/// the file, a folder on its path, or a folder that holds a symbolic link on its path.
pub fn read_trusted(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    Trusted::open(path, max_bytes)?.read()
}

/// Reads a file as [`read_trusted`] does, if it lies in a folder or below it, whichever links lead to it.
///
/// # Errors
/// As [`read_trusted`], and if it lies elsewhere.
pub fn read_trusted_below(folder: &Path, path: &Path, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let file = Trusted::open(path, max_bytes)?;
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // Opening the file has checked each folder and link on this path.
    let base = std::fs::canonicalize(here)
        .map_err(|error| Refusal::new(format!("{} can't be opened: {error}", here.display())))?;
    if !file.lies_at.starts_with(&base) {
        let message =
            format!("{} is a link to {}, outside of {}", path.display(), file.lies_at.display(), base.display());
        return Err(Refusal::new(message).help("put the file itself there, or a copy of it"));
    }
    file.read()
}

/// Opens a folder that only root and the effective user can change, as a base for further calls (`O_PATH`).
///
/// # Errors
/// The folder does not exist or can't be entered, or someone else could change it, or a folder or link on its path.
pub fn open_trusted_folder(path: &Path) -> Result<OwnedFd, Refusal> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Refusal::new(format!("{} can't be opened: {error}", path.display())))?;
    walk(path, &absolute, Wanted::Folder).map(|(folder, _)| folder)
}

/// An open file that only root and the effective user can have written.
pub(crate) struct Trusted<'a> {
    file: File,
    path: &'a Path,
    /// Its path without links.
    lies_at: PathBuf,
    /// Its size in bytes.
    size: u64,
    max_bytes: u64,
}

impl<'a> Trusted<'a> {
    /// Opens it as [`read_trusted`] does.
    pub(crate) fn open(path: &'a Path, max_bytes: u64) -> Result<Self, Refusal> {
        let absolute = std::path::absolute(path)
            .map_err(|error| Refusal::new(format!("{} can't be read: {error}", path.display())))?;
        let (file, lies_at) = walk(path, &absolute, Wanted::File)?;
        let file = File::from(file);
        let size = file.metadata().map_or(0, |about| about.len());
        let trusted = Self { file, path, lies_at, size, max_bytes };
        trusted.check_size(size)?;
        Ok(trusted)
    }

    /// Reads it whole.
    fn read(&self) -> Result<Vec<u8>, Refusal> {
        // Reserve one byte more, so that a single read gets the whole file and sees its end.
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default().saturating_add(1));
        self.reader().read_to_end(&mut bytes).map_err(|error| self.unreadable(&error))?;
        self.check_size(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Reads its bytes, up to one more than the maximum: the file may grow while it is read.
    pub(crate) fn reader(&self) -> impl Read + '_ {
        (&self.file).take(self.max_bytes.saturating_add(1))
    }

    /// Refuses a file above its maximum size.
    pub(crate) fn check_size(&self, bytes: u64) -> Result<(), Refusal> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        Err(Refusal::new(format!("{} has more than {} MiB", self.path.display(), self.max_bytes >> 20))
            .help("long lists of addresses belong into files of their own: `{ file: PATH }`"))
    }

    /// The refusal for a read error.
    pub(crate) fn unreadable(&self, error: &std::io::Error) -> Refusal {
        Refusal::new(format!("{} can't be read: {error}", self.path.display()))
    }
}

/// A component of the path: an open descriptor, and the path for messages.
struct Step {
    fd: OwnedFd,
    path: PathBuf,
}

/// What a path should lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A file, to be read.
    File,
    /// A folder, to be worked in.
    Folder,
}

/// Walks to the end of a path. Returns what is there, open, and its path without links.
fn walk(shown: &Path, absolute: &Path, wanted: Wanted) -> Result<(OwnedFd, PathBuf), Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open_root = || {
        nix::fcntl::open("/", flags | OFlag::O_DIRECTORY, Mode::empty())
            .map(|fd| Step { fd, path: PathBuf::from("/") })
            .map_err(|errno| unreadable(shown, Path::new("/"), errno))
    };
    let mut here = open_root()?;
    check_folder(&here)?;
    let mut rest: VecDeque<OsString> = names(absolute);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let path = if name == ".." {
            here.path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
        } else {
            here.path.join(&name)
        };
        let fd = openat(&here.fd, name.as_os_str(), flags, Mode::empty())
            .map_err(|errno| unreadable(shown, &path, errno))?;
        let next = Step { fd, path };
        let stat = status(&next)?;
        match kind(&stat) {
            SFlag::S_IFLNK => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Refusal::new(format!(
                        "{} goes through more than {MAX_LINKS} links",
                        shown.display()
                    ))
                    .help("check that no link leads back to itself: `namei -l PATH`"));
                }
                check_owner(&next, &stat)?;
                let target = readlinkat(&next.fd, "").map_err(|errno| unreadable(shown, &next.path, errno))?;
                for name in names(Path::new(&target)).into_iter().rev() {
                    rest.push_front(name);
                }
                if target.as_bytes().starts_with(b"/") {
                    here = open_root()?;
                }
            }
            SFlag::S_IFDIR if !rest.is_empty() => {
                check_folder(&next)?;
                here = next;
            }
            _ if !rest.is_empty() => {
                return Err(Refusal::new(format!("{} is not a folder", next.path.display())));
            }
            _ => return arrive(shown, (&here, &name), next, &stat, wanted),
        }
    }
    match wanted {
        Wanted::File => Err(Refusal::new(format!("{} is a folder", shown.display()))),
        Wanted::Folder => Ok((here.fd, here.path)),
    }
}

/// Opens the end of the path if it is of the wanted kind.
fn arrive(
    shown: &Path,
    (folder, name): (&Step, &OsStr),
    end: Step,
    stat: &FileStat,
    wanted: Wanted,
) -> Result<(OwnedFd, PathBuf), Refusal> {
    let path = end.path.display();
    match (kind(stat), wanted) {
        (SFlag::S_IFDIR, Wanted::Folder) => {
            check_owner(&end, stat)?;
            // Refuse a sticky folder as well: files that others put into it would be trusted.
            check_mode(&end, stat)?;
            Ok((end.fd, end.path))
        }
        (_, Wanted::Folder) => Err(Refusal::new(format!("{path} is not a folder"))),
        (SFlag::S_IFREG, Wanted::File) => {
            check_owner(&end, stat)?;
            check_mode(&end, stat)?;
            Ok((reopen(shown, folder, name, stat)?, end.path))
        }
        (SFlag::S_IFDIR, Wanted::File) => Err(Refusal::new(format!("{path} is a folder"))
            .help(format!("name the file in it: `{}`", end.path.join("policy.yaml").display()))),
        (other, Wanted::File) => Err(Refusal::new(format!("{path} is {}, not a file", kind_name(other)))),
    }
}

/// Opens the checked file for reading, and makes sure that it is still the file that was checked.
fn reopen(shown: &Path, folder: &Step, name: &OsStr, checked: &FileStat) -> Result<OwnedFd, Refusal> {
    // O_NONBLOCK: if someone swapped in a pipe, opening it would wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let path = folder.path.join(name);
    let fd = openat(&folder.fd, name, flags, Mode::empty()).map_err(|errno| unreadable(shown, &path, errno))?;
    let opened = fstat(fd.as_fd()).map_err(|errno| unreadable(shown, &path, errno))?;
    if (opened.st_dev, opened.st_ino) != (checked.st_dev, checked.st_ino) {
        return Err(
            Refusal::new(format!("{} was replaced while it was read", path.display())).help("run the command again")
        );
    }
    Ok(fd)
}

/// The components of a path without `.` and the root.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

fn status(step: &Step) -> Result<FileStat, Refusal> {
    fstat(step.fd.as_fd()).map_err(|errno| unreadable(&step.path, &step.path, errno))
}

const fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn kind_name(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFIFO => "a pipe",
        SFlag::S_IFSOCK => "a socket",
        SFlag::S_IFCHR => "a character device",
        SFlag::S_IFBLK => "a block device",
        _ => "something else",
    }
}

fn check_folder(folder: &Step) -> Result<(), Refusal> {
    let stat = status(folder)?;
    check_owner(folder, &stat)?;
    // In a sticky folder nobody can rename or remove other users' files, and the next component is checked in turn.
    if Mode::from_bits_truncate(stat.st_mode).contains(Mode::S_ISVTX) {
        return Ok(());
    }
    check_mode(folder, &stat)
}

fn check_owner(step: &Step, stat: &FileStat) -> Result<(), Refusal> {
    let user = Uid::effective();
    let owner = Uid::from_raw(stat.st_uid);
    if owner.is_root() || owner == user {
        return Ok(());
    }
    let owner = user_name(stat.st_uid);
    let change = if matches!(kind(stat), SFlag::S_IFLNK) { "chown -h" } else { "chown" };
    Err(Refusal::new(format!("{} belongs to {owner}, who could change the firewall with it", step.path.display()))
        .help(format!("`{change} root {}`", step.path.display()))
        .of_a_writer())
}

fn check_mode(step: &Step, stat: &FileStat) -> Result<(), Refusal> {
    let mode = Mode::from_bits_truncate(stat.st_mode);
    let (who, mend) = if mode.contains(Mode::S_IWOTH) && mode.contains(Mode::S_IWGRP) {
        ("everyone", "go-w")
    } else if mode.contains(Mode::S_IWOTH) {
        ("everyone", "o-w")
    } else if mode.contains(Mode::S_IWGRP) {
        ("its group", "g-w")
    } else {
        return Ok(());
    };
    let path = step.path.display();
    let what = if matches!(kind(stat), SFlag::S_IFDIR) { "the folder " } else { "" };
    Err(Refusal::new(format!("{what}{path} can be written by {who}, who could change the firewall with it"))
        .help(format!("`chmod {mend} {path}`"))
        .of_a_writer())
}

/// Whether it is the file itself, and not a folder or a link target on its path.
fn is_last(shown: &Path, at: &Path) -> bool {
    std::path::absolute(shown).is_ok_and(|absolute| absolute.file_name() == at.file_name())
}

fn unreadable(shown: &Path, at: &Path, errno: Errno) -> Refusal {
    match errno {
        Errno::ENOENT if is_last(shown, at) => {
            Refusal { missing: true, ..Refusal::new(format!("{} does not exist", shown.display())) }
        }
        Errno::ENOENT => Refusal::new(format!("{} does not exist: there is no {}", shown.display(), at.display())),
        Errno::EACCES | Errno::EPERM => Refusal::new(format!("{} may not be read by this user", at.display()))
            .help("run palisade as root: `sudo palisade ...`"),
        Errno::ENAMETOOLONG => Refusal::new("the path has a name that is too long for any file".to_owned()),
        other => Refusal::new(format!("{} can't be read: {}", at.display(), other.desc())),
    }
}
