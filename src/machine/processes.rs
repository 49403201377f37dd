//! Processes, as the kernel tells of them, and which of them are believed.
//!
//! Whoever may run a program chooses its name, its command line, its environment and how many files it has open. So a
//! process is who it seems to be only where root alone can have started it, and of no process is read without a bound.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstatat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// More than any file of `/proc` about a process has that is not as long as the process likes.
const MOST_TEXT: u64 = 64 << 10;
/// More than the kernel lets a program be started with.
const MOST_ARGUMENTS: u64 = 4 << 20;
/// What an audit session or a login is where there is none.
const UNSET: u32 = u32::MAX;

/// A process, which its number may outlive: nothing of another that got the number since is read.
pub(super) struct Process {
    /// Its folder.
    folder: OwnedFd,
    /// Its number.
    pub pid: u32,
}

/// A line of `/proc/PID/stat`, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Any bytes but zero, 15 of them at most unless it is the kernel's own.
    pub name: Vec<u8>,
    /// The process that started it.
    pub parent: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl Process {
    /// One by its number; `None` when it is gone.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder =
            nix::fcntl::open(Path::new("/proc").join(pid.to_string()).as_path(), flags, Mode::empty()).ok()?;
        Some(Self { folder, pid })
    }

    /// All of them, by their numbers.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::open(entry.file_name().to_str()?.parse().ok()?))
    }

    /// Its name, its parent and when it started.
    pub(super) fn stat(&self) -> Option<Stat> {
        parse_stat(&self.read("stat", MOST_TEXT).ok()?)
    }

    /// The file name of its program, unlike its own name none of its own choice; `None` for what is none, and where it
    /// can't be told.
    pub(super) fn program(&self) -> Option<OsString> {
        let path = readlinkat(&self.folder, "exe").ok()?;
        let path = path.as_bytes();
        // One that was replaced since.
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        Some(Path::new(OsStr::from_bytes(path)).file_name()?.to_owned())
    }

    /// Whether its program is called one of these.
    pub(super) fn runs(&self, programs: &[&str]) -> bool {
        self.program().is_some_and(|name| programs.iter().any(|program| name == *program))
    }

    /// Whether it is root's own: of no user but root of this user namespace, not of a container, and a program that nobody
    /// else could have written.
    pub(super) fn is_roots_own(&self) -> bool {
        // The users first: the file of another's program may be in a file system of theirs, which answers when they like.
        if self.users() != Some([0; 4]) || !self.is_in_this("user") || !self.is_in_this("pid") {
            return false;
        }
        fstatat(&self.folder, "exe", AtFlags::empty()).is_ok_and(|program| {
            let mode = Mode::from_bits_truncate(program.st_mode);
            let by_group = mode.contains(Mode::S_IWGRP) && program.st_gid != 0;
            program.st_uid == 0 && !mode.contains(Mode::S_IWOTH) && !by_group
        })
    }

    /// Whether it is in the namespace of that kind that this thread is in.
    pub(super) fn is_in_this(&self, kind: &str) -> bool {
        let own = std::fs::read_link(Path::new("/proc/thread-self/ns").join(kind)).ok();
        own.is_some()
            && own.map(OsString::from) == readlinkat(&self.folder, Path::new("ns").join(kind).as_path()).ok()
    }

    /// The user that it acts for.
    pub(super) fn user(&self) -> Option<u32> {
        self.users().map(|[real, ..]| real)
    }

    /// Its real, effective and saved user, and the one that it uses files as.
    fn users(&self) -> Option<[u32; 4]> {
        parse_users(&self.read("status", MOST_TEXT).ok()?)
    }

    /// The user of the login that it descends from and the number of its audit session; `None` where it is of none, or the
    /// kernel does not audit.
    pub(super) fn login(&self) -> Option<(u32, u32)> {
        let number = |name| std::str::from_utf8(&self.read(name, MOST_TEXT).ok()?).ok()?.trim().parse().ok();
        let login = (number("loginuid")?, number("sessionid")?);
        (login.0 != UNSET && login.1 != UNSET).then_some(login)
    }

    /// What it was started with.
    pub(super) fn arguments(&self) -> io::Result<Vec<String>> {
        let text = self.read("cmdline", MOST_ARGUMENTS)?;
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        Ok(text.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    /// A variable of its environment, as it was when it began.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let text = self.read("environ", MOST_ARGUMENTS).ok()?;
        let value = |variable: &[u8]| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
        let value = text.split(|&byte| byte == 0).find_map(value)?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// The folder that its relative paths begin in.
    pub(super) fn folder(&self) -> Option<OsString> {
        readlinkat(&self.folder, "cwd").ok()
    }

    /// Shows the inodes of its sockets with their descriptors, the lowest first, and looks at so many open files at most;
    /// gives at how many it has looked.
    pub(super) fn sockets(&self, most: usize, mut visit: impl FnMut(u32, u64)) -> usize {
        let path = format!("/proc/thread-self/fd/{}/fd", self.folder.as_raw_fd());
        let mut looked = 0;
        // It may end meanwhile.
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

/// `PID (NAME) STATE PARENT ...`, where the name may hold anything, parentheses and blanks too.
fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let begin = stat.iter().position(|&byte| byte == b'(')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { name: stat.get(begin + 1..end)?.to_vec(), parent, started })
}

/// The line `Uid:` of `/proc/PID/status`; the kernel writes line ends in the name, which stands before it, as `\n`.
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
