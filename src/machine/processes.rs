//! Processes as `/proc` describes them, and which of them are trusted.
//!
//! A user chooses the name, the command line, the environment and the number of open files of their processes. A
//! process is therefore trusted only if root alone can have started it, and everything is read with a bound.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstatat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longer than any file in `/proc/PID` whose length the process can't choose.
const MOST_TEXT: u64 = 64 << 10;
/// More than the kernel accepts as a program's arguments.
const MOST_ARGUMENTS: u64 = 4 << 20;
/// The deepest nesting of processes; anything deeper is a cycle, since process IDs are reused while the walk reads.
const MAX_ANCESTORS: usize = 1000;
/// The kernel's value for "no audit session" and "no login user".
const UNSET: u32 = u32::MAX;

/// A process. Its open folder pins it: if its process ID is reused, nothing is read of the new process.
pub(super) struct Process {
    /// Its folder.
    folder: OwnedFd,
    /// Its process ID.
    pub pid: u32,
}

/// The fields of `/proc/PID/stat` that matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Any bytes but zero; at most 15, except for kernel threads.
    pub name: Vec<u8>,
    /// The process that started it.
    pub parent: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// Opens a process by its ID; `None` if it is gone.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder =
            nix::fcntl::open(Path::new("/proc").join(pid.to_string()).as_path(), flags, Mode::empty()).ok()?;
        Some(Self { folder, pid })
    }

    /// All processes, by process ID.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::open(entry.file_name().to_str()?.parse().ok()?))
    }

    /// This process and its ancestors, innermost first.
    pub(super) fn ancestry() -> impl Iterator<Item = (Self, Stat)> {
        let read = |pid| {
            let process = Self::open(pid)?;
            let stat = process.stat()?;
            Some((process, stat))
        };
        std::iter::successors(read(std::process::id()), move |(_, stat)| read(stat.parent)).take(MAX_ANCESTORS)
    }

    /// Its name, its parent and when it started.
    pub(super) fn stat(&self) -> Option<Stat> {
        parse_stat(&self.read("stat", MOST_TEXT).ok()?)
    }

    /// The file name of its executable, which it can't choose, unlike its own name. `None` if it has none or it can't
    /// be read.
    pub(super) fn program(&self) -> Option<OsString> {
        let path = readlinkat(&self.folder, "exe").ok()?;
        let path = path.as_bytes();
        // The executable was replaced or removed since.
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        Some(Path::new(OsStr::from_bytes(path)).file_name()?.to_owned())
    }

    /// Whether its executable has one of these names.
    pub(super) fn runs(&self, programs: &[&str]) -> bool {
        self.program().is_some_and(|name| programs.iter().any(|program| name == *program))
    }

    /// Whether it is root's own: it runs only as root of this user namespace, in no container, from an executable
    /// that only root can write.
    pub(super) fn is_roots_own(&self) -> bool {
        // Checks the users first: another user's executable may be on a file system that they serve, which can stall.
        if self.users() != Some([0; 4]) || !self.is_in_this("user") || !self.is_in_this("pid") {
            return false;
        }
        fstatat(&self.folder, "exe", AtFlags::empty()).is_ok_and(|program| {
            let mode = Mode::from_bits_truncate(program.st_mode);
            let by_group = mode.contains(Mode::S_IWGRP) && program.st_gid != 0;
            program.st_uid == 0 && !mode.contains(Mode::S_IWOTH) && !by_group
        })
    }

    /// Whether it is in this thread's namespace of that kind.
    pub(super) fn is_in_this(&self, kind: &str) -> bool {
        let own = std::fs::read_link(Path::new("/proc/thread-self/ns").join(kind)).ok();
        own.is_some()
            && own.map(OsString::from) == readlinkat(&self.folder, Path::new("ns").join(kind).as_path()).ok()
    }

    /// Its real user.
    pub(super) fn user(&self) -> Option<u32> {
        self.users().map(|[real, ..]| real)
    }

    /// Its real, effective, saved and file system users.
    fn users(&self) -> Option<[u32; 4]> {
        parse_users(&self.read("status", MOST_TEXT).ok()?)
    }

    /// Its login user and audit session; `None` if it has none, or if the kernel does not audit.
    pub(super) fn login(&self) -> Option<(u32, u32)> {
        let number = |name| std::str::from_utf8(&self.read(name, MOST_TEXT).ok()?).ok()?.trim().parse().ok();
        let login = (number("loginuid")?, number("sessionid")?);
        (login.0 != UNSET && login.1 != UNSET).then_some(login)
    }

    /// Its command line.
    pub(super) fn arguments(&self) -> io::Result<Vec<String>> {
        let text = self.read("cmdline", MOST_ARGUMENTS)?;
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        Ok(text.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    /// A variable of its initial environment.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let text = self.read("environ", MOST_ARGUMENTS).ok()?;
        let value = |variable: &[u8]| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
        let value = text.split(|&byte| byte == 0).find_map(value)?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Its working directory.
    pub(super) fn folder(&self) -> Option<OsString> {
        readlinkat(&self.folder, "cwd").ok()
    }

    /// Visits its sockets, lowest descriptor first: calls `visit` with descriptor and inode. Examines at most `most`
    /// open files and returns how many it examined.
    pub(super) fn sockets(&self, most: usize, mut visit: impl FnMut(u32, u64)) -> usize {
        let path = format!("/proc/thread-self/fd/{}/fd", self.folder.as_raw_fd());
        let mut looked = 0;
        // The process may end meanwhile.
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten().take(most) {
            looked += 1;
            let descriptor = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let inode =
                target.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some((descriptor, inode)) = descriptor.zip(inode) {
                visit(descriptor, inode);
            }
        }
        looked
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let file = openat(&self.folder, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut bytes = Vec::new();
        File::from(file.map_err(|errno: Errno| io::Error::from(errno))?).take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Parses `PID (NAME) STATE PARENT ...`. The name may contain anything, parentheses and blanks too.
fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let begin = stat.iter().position(|&byte| byte == b'(')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { name: stat.get(begin + 1..end)?.to_vec(), parent, started })
}

/// Parses the line `Uid:` of `/proc/PID/status`. The name stands before it, but the kernel escapes its line feeds as
/// `\n`.
fn parse_users(status: &[u8]) -> Option<[u32; 4]> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    let mut users = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse);
    let mut next = || users.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let rest = "S 10 11 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8675309 1 2";
        for name in ["sshd", "a b", "x) S 1 (y", "\u{1b}[2J", ""] {
            let stat = Stat { name: name.as_bytes().to_vec(), parent: 10, started: 8_675_309 };
            assert_eq!(parse_stat(format!("42 ({name}) {rest}").as_bytes()), Some(stat));
        }
        for broken in ["", "42", "42 (a", "42 )a(", "42 (a) S", "42 (a) S x 1", "42 (a) S 10 11"] {
            assert_eq!(parse_stat(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(parse_users(b"Name:\ta\\nUid:\t1\nUid:\t0\t1\t2\t3\nGid:\t9\n"), Some([0, 1, 2, 3]));
        assert_eq!([&b""[..], b"Uid:\t0\t1", b"Uid:\tx\t1\t2\t3"].map(parse_users), [None; 3]);
    }

    #[test]
    fn this_process_is_known_to_itself() {
        let own = Process::open(std::process::id()).expect("it runs");
        let parent = own.stat().map(|stat| stat.parent);
        assert_eq!(parent, Some(std::os::unix::process::parent_id()));
        assert_eq!(own.user(), Some(nix::unistd::Uid::current().as_raw()));
        assert_eq!(own.arguments().expect("its own").first(), std::env::args().next().as_ref());
        assert!(own.is_in_this("net") && !own.runs(&["dockerd"]) && Process::open(u32::MAX).is_none());
        assert_eq!(own.variable("PATH"), std::env::var("PATH").ok());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut found = Vec::new();
        let all = own.sockets(usize::MAX, |descriptor, _| found.push(descriptor));
        assert!(all > found.len() && found.contains(&u32::try_from(socket.as_raw_fd()).expect("no error")));
        assert_eq!(own.sockets(1, |_, _| ()), 1);
    }
}
