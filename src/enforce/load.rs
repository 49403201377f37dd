//! Loads a table for any command, and ends the connections that lose their access.

use super::present::with_present;
use super::revoke::revoke;
use super::{EnforceError, Enforced, enforce, stamp};
use crate::netlink::{Known, Reading, Socket};
use crate::ruleset::{Table, TableId};
use crate::state::State;
use crate::temporary::{Entries, Entry, Limits, with_those_of_before};
use std::time::SystemTime;

/// The result of loading.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Operations sent; 0 when the kernel already held the table.
    pub operations: usize,
    /// How often the operations were computed.
    pub attempts: u32,
    /// Connections that were ended because they lost their access.
    pub ended: usize,
}

impl Loaded {
    /// The summary that `apply` prints.
    pub(crate) fn in_words(self) -> String {
        let applied = match self.operations {
            0 => "nothing to do: the kernel already holds this policy\n".to_owned(),
            1 => "applied: 1 operation, verified\n".to_owned(),
            operations => format!("applied: {operations} operations, verified\n"),
        };
        applied + &ended_in_words(self.ended)
    }
}

/// How many connections were ended; empty if none were.
pub(crate) fn ended_in_words(ended: usize) -> String {
    match ended {
        0 => String::new(),
        1 => "ended 1 connection that lost its access\n".to_owned(),
        ended => format!("ended {ended} connections that lost their access\n"),
    }
}

/// Makes the kernel hold a table (`None`: no table), stamped with the time, and with everybody in it who is in a group
/// for a time. With `deep` each element of large sets is looked up first.
///
/// A process that is killed after loading the rules, but before ending connections, leaves a note; the next one ends
/// them.
pub fn load(socket: &Socket, state: &State, table: Option<&Table>, deep: bool) -> Result<Loaded, EnforceError> {
    let present = table.map(|table| with_present(state, table, None));
    load_by(enforce, socket, state, (present.as_ref(), &Who::default()), deep)
}

/// Like [`load`], for a policy that may take whoever is in a group for a shorter time than before.
pub fn load_under(
    socket: &Socket,
    state: &State,
    (table, limits): (&Table, &Limits),
    deep: bool,
) -> Result<Loaded, EnforceError> {
    let present = with_present(state, table, Some(limits));
    load_by(enforce, socket, state, (Some(&present), &Who::default()), deep)
}

/// Like [`load`], for a table that has in its groups whoever is to be there.
pub(super) fn load_with(
    socket: &Socket,
    state: &State,
    table: &Table,
    who: &Who<'_>,
) -> Result<Loaded, EnforceError> {
    load_by(enforce, socket, state, (Some(table), who), false)
}

/// Replaces the whole table of a lockdown, so that no comment calls the new table one.
pub fn replace(socket: &Socket, state: &State, table: &Table) -> Result<Loaded, EnforceError> {
    let present = with_present(state, table, None);
    load_by(super::replace, socket, state, (Some(&present), &Who::default()), false)
}

/// What else changes for those who are in a group for a time.
#[derive(Debug, Default)]
pub(super) struct Who<'a> {
    /// Whose time is over: the kernel may have forgotten them, and not their connections.
    pub(super) over: &'a [Entry],
    /// What the state is to hold, if it is to be written before the kernel is changed.
    pub(super) kept: Option<&'a Entries>,
}

type Enforce = fn(&Socket, &TableId, Option<&Table>, Reading<'_>) -> Result<Enforced, EnforceError>;

fn load_by(
    enforce: Enforce,
    socket: &Socket,
    state: &State,
    (table, who): (Option<&Table>, &Who<'_>),
    deep: bool,
) -> Result<Loaded, EnforceError> {
    let id = TableId::palisade();
    let now = SystemTime::now();
    let stamped = table.map(|table| Table {
        comment: table.comment.as_ref().map(|comment| stamp::stamp(comment, now)),
        ..table.clone()
    });
    let both;
    let known: &dyn Known = match table {
        Some(table) => {
            both = (table, state);
            &both
        }
        None => state,
    };
    // Before the table is loaded: if another program flushes it in between, the next check loads it again.
    if table.is_some() {
        state.note_in_force();
    }
    if state.knows_names() {
        state.note_unrefreshed();
    }
    let interrupted = state.begin_revocation();
    let kept = who.kept.map_or(Ok(()), |entries| state.keep_temporary(entries));
    let enforce = |()| enforce(socket, &id, stamped.as_ref(), Reading::new(known, deep));
    let enforced = kept.map_err(EnforceError::State).and_then(enforce).inspect_err(|error| {
        if !interrupted && !error.has_changed_rules() {
            state.end_revocation();
        }
    })?;
    if table.is_none() {
        state.note_lifted();
    }
    let before = enforced.before.as_ref().filter(|_| !interrupted);
    let before = before.map(|before| with_those_of_before(before, who.over));
    let ended = match &stamped {
        Some(table) if enforced.operations > 0 || interrupted || !who.over.is_empty() => {
            revoke(socket, &id, before.as_ref(), table).unwrap_or_else(|error| {
                tracing::warn!("connections whose access was taken away may go on until they end: {error}");
                0
            })
        }
        _ => 0,
    };
    state.end_revocation();
    Ok(Loaded { operations: enforced.operations, attempts: enforced.attempts, ended })
}
