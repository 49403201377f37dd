//! The process that looks names up, as seen by the one that wants to know.

use super::model::{Failure, Names};
use super::words::Answered;
use crate::net::Version;
use crate::process::progress::doing;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How much longer than its own deadline the other process is waited for.
const SLACK: Duration = Duration::from_secs(2);
/// The longest answer to all questions, in bytes.
const MAX_ANSWERS: usize = 8 << 20;

/// A process that waits for names to look up. It is started before this one gives up the right to start any.
#[derive(Debug)]
pub struct Asker {
    child: Child,
    names: ChildStdin,
    answers: ChildStdout,
    within: Duration,
}

impl Asker {
    /// Starts it; it spends `within` on all names together.
    ///
    /// # Errors
    /// No process can be started.
    pub fn start(within: Duration) -> io::Result<Self> {
        // The running executable, even while a package upgrade replaces the file.
        let mut command = Command::new("/proc/self/exe");
        command.args(["refresh", "--ask"]).arg(format!("--within={}ms", within.as_millis()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(names), Some(answers)) => Ok(Self { child, names, answers, within }),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Looks these names up, and learns the outcomes. Of a name that is not answered in time, it learns that.
    pub fn ask(self, wanted: &[String], names: &mut Names) {
        let _doing = doing("looking up names");
        let heard = self.hear(wanted).unwrap_or_else(|error| {
            tracing::warn!("names can't be looked up: {error}");
            Vec::new()
        });
        for name in wanted {
            for version in Version::ALL {
                let answered = heard.iter().find(|heard| heard.name == *name && heard.version == version);
                let outcome = answered.map_or(Err(Failure::TooLate), |answered| answered.outcome.clone());
                names.learn(name, version, outcome);
            }
        }
    }

    fn hear(mut self, wanted: &[String]) -> io::Result<Vec<Answered>> {
        for name in wanted {
            self.names.write_all(format!("{name}\n").as_bytes())?;
        }
        drop(self.names);
        let end = Instant::now() + self.within + SLACK;
        let mut heard = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut waiting = [PollFd::new(self.answers.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(0) => break,
                Ok(_) => {}
            }
            let mut bytes = [0; 16 << 10];
            let read = self.answers.read(&mut bytes)?;
            if read == 0 || heard.len() > MAX_ANSWERS {
                // It has said all, and ends.
                let _ = self.child.try_wait();
                break;
            }
            heard.extend(bytes.get(..read).unwrap_or_default());
        }
        // Half a line is none: the time was over.
        Ok(String::from_utf8_lossy(&heard).lines().filter_map(Answered::read).collect())
    }
}
