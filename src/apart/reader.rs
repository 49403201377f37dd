//! The process that reads the policy, as seen by the process that waits for it.

use super::words::understand;
use super::{Limits, Words};
use crate::ruleset::Table;
use crate::state::{Applied, State};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long to wait for a killed process to end. One that hangs on a disk that does not answer is left behind.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two checks.
const GLANCE: Duration = Duration::from_millis(5);
/// The exit status of a Rust program that panicked.
const PANICKED: i32 = 101;

/// A process that reads the policy. Dropping this value kills it.
#[derive(Debug)]
pub struct Reader {
    child: Child,
    stdout: ChildStdout,
    heard: Vec<u8>,
    limits: Limits,
    begun: Instant,
    instead: Vec<String>,
}

impl Reader {
    /// Starts the process.
    ///
    /// # Errors
    /// In words, why it could not be started.
    pub fn start(policy: &Path, state: &State, limits: Limits) -> Result<Self, String> {
        let failed = |error: io::Error| format!("the policy is not read, since no process could be started: {error}");
        // The running executable, even while a package upgrade replaces the file.
        let mut command = Command::new("/proc/self/exe");
        command.arg("--policy").arg(policy).arg("--state-dir").arg(state.folder()).args(["boot", "--read"]);
        command.arg(format!("--reading-time={}ms", limits.time.as_millis()));
        command.arg(format!("--reading-memory={}", limits.memory));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, stdout, heard: Vec::new(), limits, begun: Instant::now(), instead: Vec::new() })
    }

    /// Waits for the policy's table, and what is kept of the policy; logs the problems of an invalid policy.
    ///
    /// # Errors
    /// In words, why there is no table.
    pub fn table(&mut self) -> Result<(Table, Applied), String> {
        match self.next("reading the policy")? {
            Words::Table(table, applied) => Ok((table, *applied)),
            Words::Invalid { problems, why } => {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                Err(why)
            }
            Words::Instead { lists } if self.instead.is_empty() => {
                self.instead = lists;
                self.table()
            }
            Words::Proved { .. } | Words::Instead { .. } => {
                Err(self.end("reading the policy", "no table came of it"))
            }
        }
    }

    /// The files in place of which addresses that were applied before are in the table, and why.
    #[must_use]
    pub fn instead(&self) -> &[String] {
        &self.instead
    }

    /// Waits for the proof of the policy's expectations and returns the unmet ones.
    ///
    /// # Errors
    /// In words, why there is no proof.
    pub fn unmet(&mut self) -> Result<Option<String>, String> {
        match self.next("proving what it expects")? {
            Words::Proved { unmet } => Ok(unmet),
            Words::Table(..) | Words::Invalid { .. } | Words::Instead { .. } => {
                Err(self.end("proving what it expects", "no answer came of it"))
            }
        }
    }

    fn next(&mut self, doing: &str) -> Result<Words, String> {
        loop {
            match understand(&self.heard) {
                Ok(Some((words, length))) => {
                    self.heard.drain(..length);
                    return Ok(words);
                }
                Ok(None) => {}
                Err(why) => return Err(self.end(doing, &format!("what came of it can't be used: {why}"))),
            }
            let left = self.limits.time.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                let why = self.took_too_long();
                return Err(self.end(doing, &why));
            }
            match self.hear(left) {
                Ok(true) => {}
                Ok(false) => {
                    let ended = self.ended(left.max(PATIENCE));
                    let why = ended.map_or_else(|| "it says no more".to_owned(), |status| self.why(status));
                    return Err(self.end(doing, &why));
                }
                Err(error) => return Err(self.end(doing, &error.to_string())),
            }
        }
    }

    /// Reads the output that arrives within that time; false at its end.
    fn hear(&mut self, within: Duration) -> io::Result<bool> {
        let mut waiting = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        // One millisecond more, because the timeout is rounded down.
        let within = PollTimeout::try_from(within + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, within) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(true),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut bytes = [0; 64 << 10];
        let read = self.stdout.read(&mut bytes)?;
        self.heard.extend(bytes.get(..read).unwrap_or_default());
        Ok(read > 0)
    }

    /// The exit status; waits up to that time for the process to end.
    fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if since.elapsed() < within => std::thread::sleep(GLANCE),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }

    fn why(&self, status: ExitStatus) -> String {
        match (status.code(), status.signal()) {
            (Some(PANICKED), _) => "palisade itself failed at it, which is a bug worth a report".to_owned(),
            (Some(code), _) => format!("it ended with exit status {code}"),
            // Rust aborts when an allocation fails.
            (None, Some(nix::libc::SIGABRT)) => format!("it needed more than {} MiB of memory", self.limits.memory),
            (None, Some(nix::libc::SIGALRM)) => self.took_too_long(),
            (None, signal) => {
                let signal = signal.and_then(|number| Signal::try_from(number).ok());
                format!("it was ended by {}", signal.map_or("a signal", Signal::as_str))
            }
        }
    }

    fn took_too_long(&self) -> String {
        format!("it took longer than {}", humantime::format_duration(self.limits.time))
    }

    /// Kills the process; returns an error that names what it was doing and why it failed.
    fn end(&mut self, doing: &str, why: &str) -> String {
        self.kill();
        format!("{doing} did not succeed: {why}")
    }

    fn kill(&mut self) {
        // An error means that it has ended, or that this process is confined and can't signal; then its own alarm
        // ends it.
        let _ = self.child.kill();
        self.ended(PATIENCE);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.kill();
    }
}
