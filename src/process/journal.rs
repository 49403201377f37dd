//! Standard error, also as input of the journal: there each line begins with its priority, so that an error at boot
//! is logged as an error.

use nix::sys::stat::fstat;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Standard error, or the journal behind it.
#[derive(Clone, Copy, Debug)]
pub struct Stderr {
    is_journal: bool,
}

impl Stderr {
    /// Detects whether systemd connected standard error to the journal, by JOURNAL_STREAM.
    #[must_use]
    pub fn detect() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").ok();
        let own = fstat(io::stderr()).map(|found| format!("{}:{}", found.st_dev, found.st_ino)).ok();
        Self { is_journal: stream.is_some() && stream == own }
    }

    /// Whether it is coloured: if it is a terminal and NO_COLOR is unset, unless the user has chosen.
    #[must_use]
    pub fn is_colored() -> bool {
        anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
    }

    /// The writer for lines of that level.
    pub fn at(self, level: Level) -> Lines {
        Lines { priority: self.is_journal.then(|| priority(level)) }
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.at(Level::INFO)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Lines {
        self.at(*meta.level())
    }
}

/// Standard error for lines of one level.
#[derive(Debug)]
pub struct Lines {
    priority: Option<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let repeated = super::called::repeat(&text);
        let lines = repeated.as_bytes();
        super::progress::above(|| {
            let mut stderr = io::stderr().lock();
            match self.priority {
                None => stderr.write_all(lines),
                Some(priority) => stderr.write_all(&with_priority(priority, lines)),
            }
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The machine's log, where what a command did is found later, whoever ran it.
#[derive(Debug)]
pub struct MachineLog(io::Result<UnixDatagram>);

impl MachineLog {
    /// Opens the socket that syslog(3) writes to. Call it before this process is confined.
    #[must_use]
    pub fn open() -> Self {
        Self(UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect("/dev/log")?;
            Ok(socket)
        }))
    }

    /// Writes one line. A machine without a log has none.
    pub fn note(&self, line: &str) {
        // LOG_AUTHPRIV, LOG_NOTICE: who lets whom in is for root to read.
        let text = format!("<85>palisade[{}]: {}", std::process::id(), line.replace(char::is_control, " "));
        let sent = self.0.as_ref().map_err(ToString::to_string);
        let sent = sent.and_then(|socket| socket.send(text.as_bytes()).map_err(|error| error.to_string()));
        if let Err(error) = sent {
            tracing::debug!("the machine's log does not take it: {error}");
        }
    }
}

/// The priority numbers of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn with_priority(priority: u8, lines: &[u8]) -> Vec<u8> {
    let prefix = format!("<{priority}>");
    lines.split_inclusive(|&byte| byte == b'\n').flat_map(|line| [prefix.as_bytes(), line].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_begins_with_its_priority() {
        let lines = with_priority(priority(Level::ERROR), b"loaded a lockdown\n  since\n");

        assert_eq!(String::from_utf8_lossy(&lines), "<3>loaded a lockdown\n<3>  since\n");
    }
}
