//! Whoever is in a group for a time: lets them in, takes them out, and ends the connections of those whose time is over.
//!
//! The state is written before the kernel is changed. If a process is killed in between, `palisade refresh` and every
//! other command that loads rules make the kernel hold what the state says.

use super::EnforceError;
use super::load::{Loaded, Who, load_with};
use crate::netlink::{NetlinkError, Reading, Socket};
use crate::ruleset::{Table, TableId};
use crate::state::{State, StateError, moment};
use crate::temporary::{Entries, Entry, Left, Moment, with_entries};

/// Why the kernel does not hold who is in a group for a time.
#[derive(Debug, thiserror::Error)]
pub enum TemporaryError {
    /// The state can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel does not hold the elements.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    /// No rules are loaded.
    #[error("palisade's rules are not loaded: `palisade apply` loads them")]
    NotLoaded,
}

/// What [`expire`] did.
#[derive(Debug, Default)]
pub struct Expired {
    /// Whose time is over.
    pub over: Vec<Entry>,
    /// How many connections were ended.
    pub ended: usize,
    /// How many operations were sent to the kernel.
    pub operations: usize,
}

/// Palisade's table as the kernel holds it.
///
/// # Errors
/// [`TemporaryError::NotLoaded`], or the kernel's.
pub fn loaded_table(socket: &Socket, state: &State) -> Result<Table, TemporaryError> {
    let snapshot = socket.snapshot_reading(&TableId::palisade(), Reading::ByDigest(state))?;
    snapshot.table.ok_or(TemporaryError::NotLoaded)
}

/// Changes who is in a group for a time, from `before` to `after`, in the table `live` that the kernel holds, and ends
/// the connections that lose their access. Call it under the lock.
///
/// # Errors
/// [`TemporaryError`]; then the state is as before, and so is the kernel unless the error says otherwise.
pub fn change(
    socket: &Socket,
    state: &State,
    live: &Table,
    [before, after]: [&Entries; 2],
) -> Result<Loaded, TemporaryError> {
    let over = gone(before, after);
    let who = Who { over: &over, kept: Some(after) };
    load_with(socket, state, &with_entries(live, after, &moment()), &who).map_err(|error| {
        if !error.has_changed_rules()
            && let Err(error) = state.keep_temporary(before)
        {
            tracing::error!("{error}: the next command that loads rules makes the change all the same");
        }
        error.into()
    })
}

/// Those who are in a group for a time before, and not after.
fn gone(before: &Entries, after: &Entries) -> Vec<Entry> {
    before.iter().filter(|entry| after.get(&entry.group, entry.address).is_none()).cloned().collect()
}

/// Ends what is over: the connections of those whose time is up or whom the policy takes no more, and their entries. Lets
/// in those who waited for a clock that is right, and finishes what a killed command has left. Call it under the lock.
///
/// If nothing is to be done it asks nothing of the kernel, unless there are entries from before the last reboot.
///
/// # Errors
/// [`TemporaryError`]; then the next call tries again.
pub fn expire(socket: &Socket, state: &State) -> Result<Expired, TemporaryError> {
    let entries = state.temporary()?;
    let interrupted = state.is_revoking();
    if entries.is_empty() && !interrupted {
        return Ok(Expired::default());
    }
    let now = moment();
    let mut left = state.temporary_limits().map_or_else(|| entries.clone(), |limits| entries.under(&limits));
    left.take(|entry| entry.left(&now) == Left::Over);
    let over = gone(&entries, &left);
    let is_settled = left == entries && entries.iter().all(|entry| began_in_this_boot(entry, &now));
    if is_settled && !interrupted {
        return Ok(Expired::default());
    }
    let who = Who { over: &over, kept: None };
    let loaded = match loaded_table(socket, state) {
        Ok(live) => Some(load_with(socket, state, &with_entries(&live, &left, &moment()), &who)?),
        Err(TemporaryError::NotLoaded) => None,
        Err(error) => return Err(error),
    };
    state.keep_temporary(&left)?;
    let (ended, operations) = loaded.map_or((0, 0), |loaded| (loaded.ended, loaded.operations));
    Ok(Expired { over, ended, operations })
}

fn began_in_this_boot(entry: &Entry, now: &Moment) -> bool {
    entry.boot == now.boot
}
