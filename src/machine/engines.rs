//! Asks container engines about themselves over their sockets.
//!
//! The API is HTTP. An engine answers an HTTP/1.0 request in one piece and then closes the connection, so that only a
//! status line and JSON have to be parsed. Time and memory are bounded, whatever the answer.

use super::processes::Process;
use crate::printable::printable;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use nix::unistd::Uid;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an engine may take, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes. One container takes a few thousand.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How much of a refusal is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// A container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// Docker, whose daemon always runs where containers do.
    Docker,
    /// Podman as root, which has a socket if its service is enabled.
    Podman,
}

impl EngineKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        }
    }

    /// The default path of its socket.
    #[must_use]
    pub const fn socket(self) -> &'static str {
        match self {
            Self::Docker => "/var/run/docker.sock",
            Self::Podman => "/run/podman/podman.sock",
        }
    }
}

/// Why an engine gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens: the socket is missing or stale.
    #[error("nobody listens on {}", .0.display())]
    Absent(PathBuf),
    /// It did not answer in time.
    #[error("{} has not answered within {} seconds", .0.display(), PATIENCE.as_secs())]
    Silent(PathBuf),
    /// It refused, with an HTTP status and a message.
    #[error("{} answers with status {status}: {message}", .socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The status.
        status: u16,
        /// Its message, shortened.
        message: String,
    },
    /// Its answer can't be parsed.
    #[error("{} answers with {what}", .socket.display())]
    Malformed {
        /// The socket.
        socket: PathBuf,
        /// What it answers with.
        what: String,
    },
    /// The socket can't be used.
    #[error("{}: {source}", .socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The engines that run on this machine, each with its socket, without starting any.
///
/// If systemd holds the socket, a request would start the daemon, and Docker's daemon loads rules when it starts.
/// Docker therefore counts only while its process exists. Podman's service only answers requests. Call it while this
/// process is still root.
#[must_use]
pub fn running_engines() -> Vec<(EngineKind, PathBuf)> {
    let mut found: Vec<(EngineKind, PathBuf)> = Vec::new();
    for kind in [EngineKind::Podman, EngineKind::Docker] {
        // `podman-docker` makes Docker's socket a symlink to Podman's.
        let Ok(path) = std::fs::canonicalize(kind.socket()) else { continue };
        if !is_roots_socket(&path) || found.iter().any(|(_, other)| *other == path) {
            continue;
        }
        if kind == EngineKind::Podman || path.ends_with("podman.sock") || is_running("dockerd") {
            found.push((kind, path));
        }
    }
    found
}

fn is_running(program: &str) -> bool {
    Process::all().any(|process| process.runs(&[program]) && process.is_roots_own())
}

/// Whether a path without symlinks leads to root's socket, through folders that only root can write.
fn is_roots_socket(path: &Path) -> bool {
    let is_roots = |folder: &Path| {
        std::fs::symlink_metadata(folder)
            .is_ok_and(|found| found.uid() == 0 && found.is_dir() && found.mode() & 0o022 == 0)
    };
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.uid() == 0 && found.file_type().is_socket());
    is_socket && path.ancestors().skip(1).all(is_roots)
}

/// Sends a GET request to an engine, `/containers/json` for example, and returns the JSON of its answer.
///
/// The request names no API version, so that every version accepts it. The oldest version that an engine supports
/// rises: 1.24 until Docker 28, 1.44 since 29.
///
/// # Errors
///
/// [`EngineError`]. An engine that hangs is an error after three seconds.
pub fn get(socket: &Path, request: &str) -> Result<Value, EngineError> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => EngineError::Absent(socket.to_owned()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => EngineError::Silent(socket.to_owned()),
        _ => EngineError::Io { socket: socket.to_owned(), source },
    };
    let begun = Instant::now();
    let mut stream = open(socket).map_err(|errno| io(errno.into()))?;
    let line = format!("GET {request} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(line.as_bytes()).map_err(io)?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let left = PATIENCE.checked_sub(begun.elapsed()).filter(|left| !left.is_zero());
        let Some(left) = left else { return Err(EngineError::Silent(socket.to_owned())) };
        stream.set_read_timeout(Some(left)).map_err(io)?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
        if answer.len() > MAX_ANSWER {
            let what = format!("more than {} MiB", MAX_ANSWER / 1024 / 1024);
            return Err(EngineError::Malformed { socket: socket.to_owned(), what });
        }
    }
    parse(&answer).map_err(|problem| match problem {
        Problem::Status(status, message) => EngineError::Refused { socket: socket.to_owned(), status, message },
        Problem::Form(what) => EngineError::Malformed { socket: socket.to_owned(), what },
    })
}

/// Connects. The timeout also covers a daemon that accepts no connection.
fn open(path: &Path) -> Result<UnixStream, Errno> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = i64::try_from(PATIENCE.as_secs()).unwrap_or(1);
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    // The listener must run as root or as the user of this process.
    let listener = getsockopt(&fd, sockopt::PeerCredentials)?.uid();
    if listener != 0 && listener != Uid::effective().as_raw() {
        return Err(Errno::EPERM);
    }
    Ok(fd.into())
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// A status other than success, and the message that came with it.
    Status(u16, String),
    /// Something that is not a valid answer.
    Form(String),
}

/// Parses an HTTP answer: checks its status, and reads the JSON after its head.
pub(super) fn parse(answer: &[u8]) -> Result<Value, Problem> {
    let form = |what: &str| Problem::Form(what.to_owned());
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| form("something other than HTTP"))?;
    let (head, body) = answer.split_at(end);
    let body = body.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let status = match (words.next(), words.next().map(str::parse)) {
        (Some(version), Some(Ok(status))) if version.starts_with("HTTP/1.") => status,
        _ => return Err(form("something other than HTTP")),
    };
    if status != 200 {
        let json = serde_json::from_slice::<Value>(body).ok();
        let of_json =
            json.and_then(|json| Some(json.get("message").or_else(|| json.get("cause"))?.as_str()?.to_owned()));
        let message = of_json.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let message = message.trim().chars().take(MAX_MESSAGE).collect::<String>();
        return Err(Problem::Status(status, printable(&message).into_owned()));
    }
    serde_json::from_slice(body).map_err(|error| Problem::Form(format!("something that is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn answering(answer: &'static [u8]) -> Result<Value, EngineError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).expect("a fresh path");
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut request = [0; 512];
            let read = stream.read(&mut request).expect("a request");
            // The client may have closed the connection already.
            let _ = stream.write_all(answer);
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let result = get(&path, "/containers/json");
        let request = served.join().expect("no panic");
        assert!(request.starts_with("GET /containers/json HTTP/1.0\r\n"), "{request}");
        result
    }

    #[test]
    fn an_answer_is_the_json_behind_the_head() {
        let said = answering(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[{\"Names\":[\"/same\"]}]\n");

        assert_eq!(said.expect("an answer"), json!([{ "Names": ["/same"] }]));
    }

    #[test]
    fn a_refusal_is_told_with_its_words() {
        let said = answering(b"HTTP/1.0 400 Bad Request\r\n\r\n{\"message\":\"client version 1.1 is too old\"}\n");

        let said = said.expect_err("a refusal").to_string();
        assert!(said.ends_with("engine.sock answers with status 400: client version 1.1 is too old"), "{said}");
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_an_error() {
        let form = |answer: &[u8]| matches!(parse(answer), Err(Problem::Form(_)));

        assert!(form(b""));
        assert!(form(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"));
        assert!(form(b"HTTP/1.0 2x0 OK\r\n\r\n{}"));
        assert!(form(b"HTTP/1.0 200 OK\r\n\r\n[{\"Names\":"));
        assert!(form(format!("HTTP/1.0 200 OK\r\n\r\n{}", "[".repeat(100_000)).as_bytes()));
    }

    #[test]
    fn nobody_and_a_daemon_that_hangs_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("engine.sock");
        assert!(matches!(get(&path, "/info"), Err(EngineError::Absent(_))));
        let listener = UnixListener::bind(&path).expect("a fresh path");
        let begun = Instant::now();
        assert!(matches!(get(&path, "/info"), Err(EngineError::Silent(_))));
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        drop(listener);
        assert!(matches!(get(&path, "/info"), Err(EngineError::Absent(_))));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), ok in any::<bool>()) {
            let head: &[u8] = if ok { b"HTTP/1.1 200 OK\r\n\r\n" } else { b"HTTP/1.1 " };
            let _ = (parse(&bytes), parse(&[head, &bytes].concat()));
        }
    }
}
