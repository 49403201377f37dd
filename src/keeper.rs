//! Who undoes a change that nobody confirms: it outlives palisade, the session and, with [`State`]'s help, a reboot.
//!
//! Where systemd runs this machine, a transient timer; elsewhere a process of palisade's own that has left the session.

use crate::error::Error;
use crate::state::{Change, Keeper, State};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a watcher prints once nothing that happens to this process happens to it.
pub const READY: &str = "watching";

/// Whether systemd runs this machine, and would undo the change where it was made: a container or a namespace has other
/// rules and other files. Takes the right to look at process 1, which root has until it gives it up.
#[must_use]
pub fn systemd_can(state: &State) -> bool {
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

/// Has a change undone after that time, and gives who will.
///
/// # Errors
/// [`Error::Io`] when nobody will.
pub fn arm(state: &State, change: &Change, time: Duration, systemd: bool) -> Result<Keeper, Error> {
    if systemd {
        match by_systemd(state, change, time) {
            Ok(unit) => return Ok(Keeper::Systemd(unit)),
            Err(why) => tracing::warn!("systemd does not undo the change ({why}); a process of palisade's will"),
        }
    }
    watch(state, change).map(|()| Keeper::Watcher).map_err(|source| Error::Io {
        what: "nobody would undo the change, and so nothing was changed".to_owned(),
        source,
    })
}

/// Tells whoever would undo a change that it is settled. A watcher sees it by itself, and so would systemd's.
pub fn disarm(keeper: &Keeper) {
    if let Keeper::Systemd(unit) = keeper {
        let mut command = Command::new("systemctl");
        command.args(["--quiet", "--no-block", "stop", &format!("{unit}.timer")]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn by_systemd(state: &State, change: &Change, time: Duration) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let unit = format!("palisade-undo-{}", change.id);
    let mut command = Command::new("systemd-run");
    command.args(timer(&unit, time)).arg("--").arg(program).args(undo(state, change));
    let done = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(unit) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

/// The arguments of `systemd-run`. What fails is tried again until it does not.
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

/// The arguments of palisade that undo a change.
fn undo(state: &State, change: &Change) -> Vec<std::ffi::OsString> {
    let folders = ["--state-dir".into(), state.folder().into(), "--run-dir".into(), state.run_folder().into()];
    folders.into_iter().chain(["rollback".into(), "--undo".into(), change.id.clone().into()]).collect()
}

/// Starts a watcher, and waits until it is on its own.
fn watch(state: &State, change: &Change) -> std::io::Result<()> {
    // The file that runs now, although a package may be replacing it.
    let mut command = Command::new("/proc/self/exe");
    command.args(undo(state, change)).arg("--watch").current_dir("/");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.trim_end() == READY { Ok(()) } else { Err(std::io::Error::other("the watcher did not start")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Caller;

    #[test]
    fn systemd_is_told_when_to_undo_what_and_to_try_again() {
        let state = State::new("/a b/lib".into(), "/run/x".into());
        let change = Change::new(Duration::from_secs(60), Path::new("/p.yaml"), Caller::Local);
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
        let words = ["--state-dir", "/a b/lib", "--run-dir", "/run/x", "rollback", "--undo", &change.id];
        assert_eq!(undo(&state, &change), words);
    }

    #[test]
    fn a_path_is_looked_up_below_the_root_of_process_1() {
        assert_eq!(below_init(Path::new("/var/lib/palisade")), Path::new("/proc/1/root/var/lib/palisade"));
    }
}
