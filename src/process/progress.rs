//! What a command is doing, on a terminal, once it takes longer than a second: one line on standard error, rewritten in
//! place and taken away at the end.
//!
//! A thread of its own writes the line. Whoever says what they are doing waits for no terminal, even for one that was
//! stopped.

use crate::process::privileges::renounce;
use std::io::{self, Write};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long nothing is said.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a line stands at least: nobody reads faster.
const REST: Duration = Duration::from_millis(100);
/// How many characters fit into a line of the narrowest terminal: a line that wraps could not be taken away.
const WIDTH: usize = 78;
/// Back to the line's beginning, and erases it.
const ERASE: &str = "\r\x1b[2K";

static STATE: Mutex<State> = Mutex::new(State { shows: false, ends: false, doing: Vec::new() });
static CHANGED: Condvar = Condvar::new();
/// Whether the line stands there. Held by whoever writes to the terminal, who may ask for the state meanwhile; whoever holds
/// the state does not write.
static TERMINAL: Mutex<bool> = Mutex::new(false);

struct State {
    /// Whether anybody is there to read it.
    shows: bool,
    ends: bool,
    /// The innermost last.
    doing: Vec<String>,
}

/// As long as it lives, what is done is shown.
#[derive(Debug)]
pub struct Shown(Option<JoinHandle<()>>);

/// As long as it lives, this is what is done.
#[derive(Debug)]
#[must_use]
pub struct Doing(bool);

/// Begins to show what is done. To be called once, where standard error is a terminal.
#[must_use]
pub fn show() -> Shown {
    lock(&STATE).shows = true;
    let (confined, is_confined) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("progress".to_owned()).spawn(move || draw_until_the_end(&confined));
    // No command begins beside a thread with more rights than its own.
    let _ = is_confined.recv();
    Shown(thread.ok())
}

impl Drop for Shown {
    fn drop(&mut self) {
        lock(&STATE).ends = true;
        CHANGED.notify_all();
        // What it could not write, nobody misses.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

/// Says what is being done, in a few words: `reading bad.txt`.
pub fn doing(what: impl Into<String>) -> Doing {
    let mut state = lock(&STATE);
    if state.shows {
        state.doing.push(what.into());
        CHANGED.notify_all();
    }
    Doing(state.shows)
}

impl Drop for Doing {
    fn drop(&mut self) {
        if self.0 {
            lock(&STATE).doing.pop();
            CHANGED.notify_all();
        }
    }
}

/// Writes something else to the terminal, where the line would be in its way.
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
    // It needs no right, and shall keep none that the command gives up.
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
    // A terminal that takes nothing is no reason to stop.
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
