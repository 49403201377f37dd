//! The progress line: what a command is doing, shown on a terminal once it takes longer than a second. It is one line
//! on standard error, rewritten in place and erased at the end.
//!
//! A separate thread writes the line, so the command never waits for the terminal, not even for a stopped one.

use crate::process::privileges::renounce;
use std::io::{self, Write};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The delay before the first line.
const PATIENCE: Duration = Duration::from_secs(1);
/// The minimum time that a line stays: nobody reads faster.
const REST: Duration = Duration::from_millis(100);
/// The width of the line: it fits the narrowest terminal, because a wrapped line could not be erased.
const WIDTH: usize = 78;
/// Returns to the start of the line and erases it.
const ERASE: &str = "\r\x1b[2K";

static STATE: Mutex<State> = Mutex::new(State { shows: false, ends: false, doing: Vec::new() });
static CHANGED: Condvar = Condvar::new();
/// Whether the line is on the terminal. Held while writing to the terminal. Lock order: `STATE` may be locked while
/// this is held, never the other way round.
static TERMINAL: Mutex<bool> = Mutex::new(false);

struct State {
    /// Whether standard error is a terminal.
    shows: bool,
    ends: bool,
    /// Nested activities, the innermost last.
    doing: Vec<String>,
}

/// Shows progress as long as it lives.
#[derive(Debug)]
pub struct ProgressLine(Option<JoinHandle<()>>);

/// An activity, in progress as long as it lives.
#[derive(Debug)]
#[must_use]
pub struct Activity(bool);

/// Starts the progress line. Call it once, if standard error is a terminal.
#[must_use]
pub fn show() -> ProgressLine {
    lock(&STATE).shows = true;
    let (confined, is_confined) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("progress".to_owned()).spawn(move || draw_until_the_end(&confined));
    // Wait until the thread has dropped its privileges, so that it never has more than the command.
    let _ = is_confined.recv();
    ProgressLine(thread.ok())
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        lock(&STATE).ends = true;
        CHANGED.notify_all();
        // Progress that it could not write is no loss.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

/// Begins an activity, described in a few words: `reading bad.txt`.
pub fn doing(what: impl Into<String>) -> Activity {
    let mut state = lock(&STATE);
    if state.shows {
        state.doing.push(what.into());
        CHANGED.notify_all();
    }
    Activity(state.shows)
}

impl Drop for Activity {
    fn drop(&mut self) {
        if self.0 {
            lock(&STATE).doing.pop();
            CHANGED.notify_all();
        }
    }
}

/// Writes other output to the terminal, taking the line away meanwhile.
pub fn above<T>(write: impl FnOnce() -> T) -> T {
    let mut stands = lock(&TERMINAL);
    let stood = *stands;
    if stood {
        erase(&mut stands);
    }
    let written = write();
    if stood {
        draw(&mut stands);
    }
    written
}

/// `1,000,000`
#[must_use]
pub fn in_thousands(number: usize) -> String {
    let digits = number.to_string();
    let group = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits.chars().enumerate().flat_map(|(at, digit)| group(at).then_some(',').into_iter().chain([digit])).collect()
}

fn draw_until_the_end(confined: &SyncSender<()>) {
    // This thread needs no privileges and must not keep those that the command drops.
    renounce();
    let _ = confined.send(());
    let begun = Instant::now();
    let mut state = lock(&STATE);
    while !state.ends {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        if !left.is_zero() {
            state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let drawn = state.doing.last().cloned();
        drop(state);
        draw(&mut lock(&TERMINAL));
        let goes_on = |state: &mut State| !state.ends;
        let rested = CHANGED.wait_timeout_while(lock(&STATE), REST, goes_on);
        let rested = rested.unwrap_or_else(PoisonError::into_inner).0;
        let same = |state: &mut State| !state.ends && state.doing.last() == drawn.as_ref();
        state = CHANGED.wait_while(rested, same).unwrap_or_else(PoisonError::into_inner);
    }
    drop(state);
    erase(&mut lock(&TERMINAL));
}

fn draw(stands: &mut bool) {
    let Some(what) = lock(&STATE).doing.last().cloned() else { return erase(stands) };
    let what: String = what.chars().take(WIDTH - 4).collect();
    put(&format!("{ERASE}{what} ..."));
    *stands = true;
}

fn erase(stands: &mut bool) {
    if std::mem::take(stands) {
        put(ERASE);
    }
}

fn put(text: &str) {
    let mut terminal = io::stderr().lock();
    // A failed write to the terminal is no reason to stop.
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::in_thousands;

    #[test]
    fn digits_are_in_groups_of_three() {
        let numbers = [0, 999, 1_000, 65_536, 1_000_069].map(in_thousands);
        assert_eq!(numbers, ["0", "999", "1,000", "65,536", "1,000,069"]);
    }
}
