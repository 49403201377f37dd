//! A command on a terminal of its own, and somebody who types.

use super::namespace::{Output, of_default_policy};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A command on a terminal of its own, and that terminal's other side.
pub struct OnTerminal {
    child: Child,
    terminal: File,
    said: String,
}

impl OnTerminal {
    pub fn begin(mut command: Command) -> Self {
        let terminal = openpty(None, None).expect("a terminal");
        command.env("TERM", "xterm").env_remove("JOURNAL_STREAM").stdout(Stdio::piped());
        command.stdin(terminal.slave.try_clone().expect("a descriptor")).stderr(terminal.slave);
        let child = command.spawn().expect("it starts");
        drop(command);
        Self { child, terminal: File::from(terminal.master), said: String::new() }
    }

    /// Reads until this was said.
    #[track_caller]
    pub fn read_until(&mut self, word: &str) {
        let mut buffer = [0; 256];
        while !self.said.contains(word) {
            let read = self.terminal.read(&mut buffer).unwrap_or(0);
            assert!(read > 0, "it ended with: {}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    pub fn type_in(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("it reads");
    }

    /// What it says until it ends. In the terminal's text the time that is left is `TIME`, told once.
    pub fn end(mut self) -> Output {
        let mut stdout = String::new();
        self.child.stdout.take().expect("it was piped").read_to_string(&mut stdout).expect("text");
        let status = self.child.wait().expect("it was started").code();
        // Whoever would undo the change holds the terminal still: it does not end.
        fcntl(&self.terminal, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is a descriptor");
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = self.terminal.read(&mut buffer) {
            self.said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        Output { status, stdout: of_default_policy(&stdout), stderr: of_default_policy(&once(&self.said)) }
    }
}

/// What a terminal shows without what was written over it, and without times.
fn once(said: &str) -> String {
    let mut pieces = said.split('\u{1b}');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        if let Some(rest) = piece.strip_prefix("[2K") {
            // The line is erased: it told what was being done.
            text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
            text.push_str(rest);
        }
        // `7` saves the cursor, and `8` goes back to it: between them stands the question anew.
        text.push_str(piece.strip_prefix('8').unwrap_or_default());
    }
    // Whoever undoes the change may hold the lock at that instant.
    let text = text.replace(" WARN waiting for another palisade\r\n", "");
    let mut lines = text.lines().map(|line| match line.split_once("It is undone in ") {
        Some((before, rest)) => format!("{before}It is undone in TIME{}", rest.trim_start_matches(|c| c != '[')),
        None => line.to_owned(),
    });
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |text, line| format!("{text}\n{line}"))
}
