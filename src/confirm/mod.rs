//! Changes that wait for confirmation, for the commands that write.

mod undoer;

pub use undoer::{READY, Timer};
use undoer::{Undoer, systemd_can};

use crate::compile::compile;
use crate::enforce::load;
use crate::error::Error;
use crate::machine::{Caller, ssh_ports};
use crate::netlink::{Reading, Socket};
use crate::printable::time_in_words;
use crate::resolve::lockdown::lockdown;
use crate::ruleset::{Table, TableId};
use crate::state::{Applied, Change, State, Stored};
use std::time::Duration;

/// How a change waits for confirmation; determined while this process may still inspect others and start programs.
#[derive(Debug)]
pub struct Terms {
    time: Duration,
    caller: Caller,
    id: String,
    undoer: Undoer,
}

impl Terms {
    /// Starts the programs that can undo the change after `time`.
    #[must_use]
    pub fn new(time: Duration, state: &State) -> Self {
        let id = Change::next_id();
        let undoer = Undoer::stand_by(state, &id, time, systemd_can(state));
        Self { time, caller: Caller::of_this_process(), id, undoer }
    }
}

/// Saves the current and the desired ruleset, and arms the undo. After that the change may begin.
pub fn begin(
    socket: &Socket,
    state: &State,
    (desired, policy): (&Table, &Applied),
    terms: Terms,
) -> Result<(Change, Timer), Error> {
    let live = socket.snapshot_reading(&TableId::palisade(), Reading::ByDigest(&(desired, state)))?.table;
    let previous = Stored::new(live.as_ref(), None)?;
    let desired = Stored::new(Some(desired), Some(policy))?;
    let mut change = Change::new(terms.id, terms.time, &policy.path, terms.caller);
    let armed = state.begin(&change, &previous, &desired).map_err(Error::from).and_then(|()| {
        let nobody = |source| Error::Io {
            what: "nobody would undo the change, and so nothing was changed".to_owned(),
            source,
        };
        let (keeper, timer) = terms.undoer.arm().map_err(nobody)?;
        change.keeper = keeper;
        state.write_change(&change)?;
        Ok(timer)
    });
    match armed {
        Ok(timer) => Ok((change, timer)),
        Err(error) => {
            let _ = state.drop_pending();
            Err(error)
        }
    }
}

/// Restores what the kernel held before a change.
pub fn undo(socket: &Socket, state: &State, change: &Change, timer: Timer) -> Result<(), Error> {
    let previous = state.previous();
    let table = match &previous {
        Ok(stored) => stored.table.clone(),
        Err(error) => {
            tracing::error!("{error}: the ruleset that was loaded before can't be read");
            Some(state.last_good().map_or_else(locked_down, |(_, kept)| kept.table))
        }
    };
    load::load(socket, state, table.as_ref(), false)?;
    if let Err(error) = forget(state, previous.ok().as_ref()) {
        tracing::error!("the change is undone, but {error}");
        note_settled(state, change);
    }
    timer.stop();
    Ok(())
}

/// Remembers the undone ruleset, unless it equals the previous one, and forgets the change.
pub fn forget(state: &State, previous: Option<&Stored>) -> Result<(), Error> {
    if let Ok(desired) = state.desired()
        && previous.is_none_or(|previous| previous.about.identity != desired.about.identity)
    {
        state.remember_undone(&desired.about.identity)?;
    }
    Ok(state.drop_pending()?)
}

/// Notes a settled change whose file can't be removed from the disk, so that nobody undoes it again until a reboot
/// does.
fn note_settled(state: &State, change: &Change) {
    let noted = state.note_settled(change);
    let _ = noted.inspect_err(|error| tracing::error!("{error}: the next command undoes it again"));
}

/// The change that waits for confirmation. A damaged file must not block the commands that would repair it.
pub fn pending(state: &State) -> Option<Change> {
    // First finish a confirmation during which a process was killed.
    let finished = state.finish_confirmation();
    let _ = finished.inspect_err(|error| tracing::error!("{error}: the confirmed ruleset is not kept yet"));
    state.pending().unwrap_or_else(|error| {
        tracing::error!("{error}: should a change have waited for confirmation, it is not known which");
        None
    })
}

/// Finishes what an earlier command left: keeps a confirmed change, undoes an expired one.
pub fn settle(socket: &Socket, state: &State) -> Result<(), Error> {
    if let Some(change) = pending(state).filter(|change| change.left().is_none()) {
        tracing::error!("nobody has confirmed the change to {}: it is undone first", change.policy.display());
        undo(socket, state, &change, Timer::elapsed())?;
    }
    Ok(())
}

/// Forgets the waiting change: the new request replaces both it and what it had replaced.
pub fn cancel(state: &State, change: &Change, timer: Timer) {
    if let Err(error) = forget(state, state.previous().ok().as_ref()) {
        tracing::error!("the change waits no more, but {error}");
        note_settled(state, change);
    }
    timer.stop();
}

/// Fails while a change waits.
pub fn none_waits(state: &State) -> Result<(), Error> {
    match pending(state).and_then(|change| change.left()) {
        None => Ok(()),
        Some(left) => Err(Error::Waiting(time_in_words(left))),
    }
}

/// The table of a lockdown.
pub fn locked_down() -> Table {
    compile(&lockdown(&ssh_ports()))
}
