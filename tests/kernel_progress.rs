//! What a long command says it is doing: on a terminal, and nowhere else.
//!
//! The command waits for a lock that the test holds, then finds no policy: it comes to no firewall. It takes root all the
//! same.
#![allow(missing_docs)]

use nix::fcntl::{Flock, FlockArg};
use nix::pty::openpty;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than a command may go on without a word.
const LONG: Duration = Duration::from_millis(1_500);
const WARNING: &str = " WARN waiting for another palisade\r\n";
const ERROR: &str = "error: /nowhere/policy.yaml does not exist: there is no /nowhere\r\n";

fn lock(folder: &Path) -> Flock<File> {
    let file = File::create(folder.join("lock")).expect("a file in a folder of its own");
    Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap_or_else(|(_, errno)| panic!("{errno}"))
}

/// `palisade apply`, waiting, with a terminal for its standard error, and that terminal's other side.
fn begin(folder: &TempDir, arguments: &[&str]) -> (Child, File) {
    let terminal = openpty(None, None).expect("a terminal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["--policy", "/nowhere/policy.yaml", "--color", "never"]).args(arguments);
    command.arg("--state-dir").arg(folder.path()).arg("--run-dir").arg(folder.path()).arg("apply");
    command.env("TERM", "xterm").env_remove("JOURNAL_STREAM");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.slave);
    let child = command.spawn().expect("palisade starts");
    (child, File::from(terminal.master))
}

/// What comes, until it ends so, or until nobody is left who could write more.
fn read_until(terminal: &mut File, end: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 256]);
    while !text.ends_with(end) {
        // EIO: the last one who had the terminal's other side has closed it.
        let Ok(read @ 1..) = terminal.read(&mut buffer) else { break };
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    text
}

#[test]
fn after_a_second_a_terminal_shows_what_is_done_and_at_the_end_nothing_of_it_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = lock(folder.path());

    let (mut child, mut terminal) = begin(&folder, &[]);
    let first = read_until(&mut terminal, " ...");
    drop(held);
    let rest = read_until(&mut terminal, "nothing more comes");

    assert_eq!(first, format!("{WARNING}\r\x1b[2Kwaiting for another palisade ..."));
    assert_eq!(rest, format!("\r\x1b[2K{ERROR}"));
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn nothing_is_shown_to_programs_nor_to_those_who_want_quiet() {
    for (arguments, expected) in [(["--json"], [WARNING, ERROR].concat()), (["--quiet"], ERROR.to_owned())] {
        let folder = tempfile::tempdir().expect("a folder");
        let held = lock(folder.path());

        let (mut child, mut terminal) = begin(&folder, &arguments);
        thread::sleep(LONG);
        drop(held);
        let said = read_until(&mut terminal, "nothing more comes");

        assert_eq!(said, expected, "{arguments:?}");
        assert_eq!(child.wait().expect("it ends").code(), Some(1));
    }
}
