//! The countdown of `apply --confirm`: who sits at the machine's own console keeps the change, or undoes it, by an answer.
//!
//! Nobody has to answer: the undo is armed all the same, and `palisade confirm` or `rollback` elsewhere end the countdown.

use super::prompt::{is_person, put};
use super::{Report, lock};
use crate::confirm::{self, Timer};
use crate::error::Error;
use crate::machine::Caller;
use crate::netlink::Socket;
use crate::printable::time_in_words;
use crate::state::{Change, State};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

/// How often the time that is left is written anew.
const BEAT: Duration = Duration::from_millis(500);
/// How long the undo may take once the time is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST: usize = 64;

/// A change that is loaded and waits for confirmation.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) change: Change,
    pub(super) timer: Timer,
}

/// How a countdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The change stays, by this answer.
    Kept,
    /// The change waits no more, and its time is not over: somebody elsewhere has kept it or undone it.
    Elsewhere,
    /// The change waits no more, and its time is over.
    TooLate,
    /// Nobody answers here: it still waits.
    Unanswered,
}

impl Waiting {
    /// Whether somebody sits at the console, and not behind a connection that the change may cut.
    pub(super) fn is_at_console(&self) -> bool {
        self.change.caller == Caller::Local && is_person()
    }

    /// Says what was loaded, and asks until there is an answer, or nothing to answer any more.
    ///
    /// # Errors
    /// The answer was no, and the change is undone; or what was answered can't be done.
    pub(super) fn count_down(self, socket: &Socket, state: &State, loaded: &Report) -> Result<End, Error> {
        show(loaded.text.as_str());
        let answer = asked(state, &self.change);
        show("\n");
        let _lock = lock(state, "apply")?;
        let still = confirm::pending(state).filter(|change| change.id == self.change.id);
        match (answer, still) {
            (_, None) if self.change.left().is_some() => Ok(End::Elsewhere),
            (_, None) => Ok(End::TooLate),
            (Answer::None, Some(change)) if change.left().is_some() => Ok(End::Unanswered),
            (Answer::Yes, Some(change)) if change.left().is_some() => {
                state.confirm()?;
                self.timer.stop();
                Ok(End::Kept)
            }
            (_, Some(change)) => {
                confirm::undo(socket, state, &change, self.timer)?;
                let why = if answer == Answer::No { "you did not want it" } else { "nobody confirmed it in time" };
                Err(Error::Declined(format!("undone, since {why}: the ruleset from before the change is in force")))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// The time is over, the change waits no more, or nobody can answer.
    None,
}

/// Asks on the terminal, and shows how much time is left.
fn asked(state: &State, change: &Change) -> Answer {
    let mut shown = None;
    // As wide as the time will ever be in words: `23h 59m 59s`, `59m 59s`.
    let width = if change.left() > Some(Duration::from_secs(3_600)) { 11 } else { 7 };
    while let Some(left) = change.left() {
        // Whole seconds, so that the line changes once in each.
        let words = time_in_words(Duration::from_secs(left.as_secs()));
        if shown.as_ref() != Some(&words) {
            show(&question(&words, width, shown.is_some()));
            shown = Some(words);
        }
        match answered(BEAT.min(left)) {
            Some(answer) => return answer,
            None if !still_waits(state, change) => return Answer::None,
            None => {}
        }
    }
    // The undo is another process's, which may wait for nothing else.
    let end = Instant::now() + PATIENCE;
    while still_waits(state, change) && Instant::now() < end {
        thread::sleep(BEAT);
    }
    Answer::None
}

/// Whether the change waits; one whose file can't be read does.
fn still_waits(state: &State, change: &Change) -> bool {
    state.pending().map_or(true, |pending| pending.is_some_and(|pending| pending.id == change.id))
}

/// The question. Later it is written over the first one, and the cursor goes back to what was typed since.
fn question(left: &str, width: usize, again: bool) -> String {
    let line = format!("Keep it? It is undone in {:<1$} [y/n] ", format!("{left}."), width + 1);
    if again { format!("\x1b7\r{line}\x1b8") } else { line }
}

/// The line that is typed within a time; `None` if there is none that says yes or no.
fn answered(within: Duration) -> Option<Answer> {
    let stdin = io::stdin();
    let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut waiting, PollTimeout::try_from(within).unwrap_or(PollTimeout::ZERO));
    if !ready.is_ok_and(|ready| ready > 0) {
        return None;
    }
    let mut line = [0; LONGEST];
    match stdin.lock().read(&mut line) {
        Ok(0) | Err(_) => Some(Answer::None),
        Ok(read) => match String::from_utf8_lossy(&line[..read]).trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Some(Answer::Yes),
            "n" | "no" => Some(Answer::No),
            _ => {
                show("y keeps the change, n undoes it: ");
                None
            }
        },
    }
}

fn show(text: &str) {
    // Whoever can't read the question does not answer it, and the change is undone.
    let _ = put(text);
}
