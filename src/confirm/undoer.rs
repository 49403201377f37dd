//! Undoes a change that nobody confirms. The undoer outlives palisade, the session and, with [`State`]'s help, a
//! reboot.
//!
//! With systemd it is a transient timer, elsewhere a palisade process that has left the session.

use crate::state::{Change, Keeper, State};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A watcher prints this once it is independent of the process that started it.
pub const READY: &str = "watching";

/// Whether systemd runs this machine and would undo the change in the right place: a container or a namespace has
/// other rules and other files. Takes the right to inspect process 1, which root has until it is dropped.
#[must_use]
pub(super) fn systemd_can(state: &State) -> bool {
    let same = |own: &Path, inits: &Path| {
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        identity(own).is_some_and(|found| Some(found) == identity(inits))
    };
    let seen_by_init = |path: &Path| same(path, &below_init(path));
    let program = std::env::current_exe().unwrap_or_default();
    Path::new("/run/systemd/system").is_dir()
        && same(Path::new("/proc/self/ns/net"), Path::new("/proc/1/ns/net"))
        && [state.folder(), state.run_folder(), &program].into_iter().all(seen_by_init)
}

/// The path as process 1 sees it.
fn below_init(path: &Path) -> PathBuf {
    Path::new("/proc/1/root").join(path.strip_prefix("/").unwrap_or(path))
}

/// The programs that can undo a change: started before the process was confined, they wait for a start signal.
#[derive(Debug)]
pub(super) struct Undoer {
    timer: Option<TimerOf>,
    watcher: io::Result<Standby>,
}

#[derive(Debug)]
struct TimerOf {
    unit: String,
    start: io::Result<Standby>,
    stop: Timer,
}

impl Undoer {
    /// Starts the programs for the change `id`, to be undone after `time`. `systemd` is the answer of
    /// [`systemd_can`].
    #[must_use]
    pub(super) fn stand_by(state: &State, id: &str, time: Duration, systemd: bool) -> Self {
        let timer = systemd.then(|| {
            let unit = format!("palisade-undo-{id}");
            let program = std::env::current_exe().unwrap_or_default();
            let arguments = timer(&unit, time).into_iter().map(OsString::from);
            let arguments = arguments.chain(["--".into(), program.into()]).chain(undo(state, id));
            let start = Standby::start("systemd-run".as_ref(), arguments, [Stdio::null(), Stdio::piped()]);
            TimerOf { start, stop: Timer::stand_by(&unit), unit }
        });
        let watcher = own_program().and_then(|program| {
            let arguments = undo(state, id).into_iter().chain(["--watch".into()]);
            Standby::start(program.as_os_str(), arguments, [Stdio::piped(), Stdio::null()])
        });
        Self { timer, watcher }
    }

    /// Arms the undo; returns who will undo the change, and the timer to stop once it is settled.
    ///
    /// # Errors
    /// Nobody will undo the change.
    pub(super) fn arm(self) -> io::Result<(Keeper, Timer)> {
        if let Some(TimerOf { unit, start, stop }) = self.timer {
            match start.map_err(|error| error.to_string()).and_then(Standby::run) {
                Ok(()) => return Ok((Keeper::Systemd(unit), stop)),
                Err(why) => tracing::warn!("systemd does not undo the change ({why}); a process of palisade's will"),
            }
        }
        self.watcher.and_then(Standby::watch)?;
        Ok((Keeper::Watcher, Timer(None)))
    }
}

/// The systemd timer that would undo a change, to be stopped once the change is settled. If it is not stopped, it
/// finds nothing to undo; nor does a watcher.
#[derive(Debug)]
pub struct Timer(Option<Standby>);

impl Timer {
    /// The timer of the change that waits, if it has one.
    #[must_use]
    pub fn of_pending(state: &State) -> Self {
        match state.pending() {
            Ok(Some(Change { keeper: Keeper::Systemd(unit), .. })) => Self::stand_by(&unit),
            _ => Self(None),
        }
    }

    /// For a change whose time is over: its timer has elapsed.
    #[must_use]
    pub const fn elapsed() -> Self {
        Self(None)
    }

    fn stand_by(unit: &str) -> Self {
        let arguments = ["--quiet", "--no-block", "stop", &format!("{unit}.timer")].map(OsString::from);
        Self(Standby::start("systemctl".as_ref(), arguments, [Stdio::null(), Stdio::piped()]).ok())
    }

    /// Stops the timer.
    pub fn stop(self) {
        if let Some(Err(error)) = self.0.map(Standby::run) {
            tracing::debug!("the timer goes on, and finds nothing to undo: {error}");
        }
    }
}

/// A program that is started early, with all the rights of this process, and runs on a start signal, because a
/// confined process can't start programs. Without the signal it ends with this process.
#[derive(Debug)]
struct Standby(Child);

impl Standby {
    fn start(
        program: &OsStr,
        arguments: impl IntoIterator<Item = OsString>,
        [stdout, stderr]: [Stdio; 2],
    ) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read -r go && exec \"$@\"", "sh"]).arg(program).args(arguments).current_dir("/");
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).spawn().map(Self)
    }

    fn begin(&mut self) -> io::Result<()> {
        // Dropping the pipe closes the program's standard input.
        self.0.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b"go\n"))
    }

    /// Runs it to its end.
    fn run(mut self) -> Result<(), String> {
        self.begin().map_err(|error| error.to_string())?;
        let mut complaint = String::new();
        let read = self.0.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_string(&mut complaint));
        let ended = read.and_then(|_| self.0.wait()).map_err(|error| error.to_string())?;
        if ended.success() { Ok(()) } else { Err(complaint.trim().to_owned()) }
    }

    /// Lets it watch in the background.
    fn watch(mut self) -> io::Result<()> {
        self.begin()?;
        let mut line = String::new();
        if let Some(stdout) = self.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.trim_end() != READY {
            return Err(io::Error::other("the watcher did not start"));
        }
        Ok(())
    }
}

/// The arguments of `systemd-run`. systemd retries until the undo succeeds.
fn timer(unit: &str, time: Duration) -> Vec<String> {
    let mut arguments = vec![format!("--unit={unit}"), format!("--on-active={}ms", time.as_millis())];
    let fixed = [
        "--quiet",
        "--collect",
        "--description=palisade: undo what nobody confirms",
        "--timer-property=AccuracySec=100ms",
        "--property=Restart=on-failure",
        "--property=RestartSec=1s",
        "--property=StartLimitIntervalSec=0",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments
}

/// The palisade arguments that undo a change.
fn undo(state: &State, id: &str) -> Vec<OsString> {
    let folders = ["--state-dir".into(), state.folder().into(), "--run-dir".into(), state.run_folder().into()];
    folders.into_iter().chain(["rollback".into(), "--undo".into(), id.into()]).collect()
}

/// The running executable by a path that other processes can use, even while a package upgrade replaces the file.
fn own_program() -> io::Result<PathBuf> {
    Ok(Path::new("/proc").join(std::fs::read_link("/proc/self")?).join("exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_when_to_undo_what_and_to_try_again() {
        let state = State::new("/a b/lib".into(), "/run/x".into());
        assert_eq!(
            timer("palisade-undo-7", Duration::from_secs(90)),
            [
                "--unit=palisade-undo-7",
                "--on-active=90000ms",
                "--quiet",
                "--collect",
                "--description=palisade: undo what nobody confirms",
                "--timer-property=AccuracySec=100ms",
                "--property=Restart=on-failure",
                "--property=RestartSec=1s",
                "--property=StartLimitIntervalSec=0",
            ]
        );
        let words = ["--state-dir", "/a b/lib", "--run-dir", "/run/x", "rollback", "--undo", "7"];
        assert_eq!(undo(&state, "7"), words);
    }

    #[test]
    fn a_path_is_looked_up_below_the_root_of_process_1() {
        assert_eq!(below_init(Path::new("/var/lib/palisade")), Path::new("/proc/1/root/var/lib/palisade"));
    }
}
