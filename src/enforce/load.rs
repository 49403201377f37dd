//! Loads a table for any command, and ends the connections that lose their access.

use super::revoke::revoke;
use super::{EnforceError, Enforced, enforce, stamp};
use crate::netlink::{Known, Reading, Socket};
use crate::ruleset::{Table, TableId};
use crate::state::State;
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
        match self.ended {
            0 => applied,
            1 => applied + "ended 1 connection that lost its access\n",
            ended => format!("{applied}ended {ended} connections that lost their access\n"),
        }
    }
}

/// Makes the kernel hold a table (`None`: no table), stamped with the time. With `deep` each element of large sets is
/// looked up first.
///
/// A process that is killed after loading the rules, but before ending connections, leaves a note; the next one ends
/// them.
pub fn load(socket: &Socket, state: &State, table: Option<&Table>, deep: bool) -> Result<Loaded, EnforceError> {
    load_by(enforce, socket, state, table, deep)
}

/// Replaces the whole table of a lockdown, so that no comment calls the new table one.
pub fn replace(socket: &Socket, state: &State, table: &Table) -> Result<Loaded, EnforceError> {
    load_by(super::replace, socket, state, Some(table), false)
}

type Enforce = fn(&Socket, &TableId, Option<&Table>, Reading<'_>) -> Result<Enforced, EnforceError>;

fn load_by(
    enforce: Enforce,
    socket: &Socket,
    state: &State,
    table: Option<&Table>,
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
    let interrupted = state.begin_revocation();
    let enforced = enforce(socket, &id, stamped.as_ref(), Reading::new(known, deep)).inspect_err(|error| {
        if !interrupted && !error.has_changed_rules() {
            state.end_revocation();
        }
    })?;
    if table.is_none() {
        state.note_lifted();
    }
    let before = enforced.before.as_ref().filter(|_| !interrupted);
    let ended = match &stamped {
        Some(table) if enforced.operations > 0 || interrupted => {
            revoke(socket, &id, before, table).unwrap_or_else(|error| {
                tracing::warn!("connections whose access was taken away may go on until they end: {error}");
                0
            })
        }
        _ => 0,
    };
    state.end_revocation();
    Ok(Loaded { operations: enforced.operations, attempts: enforced.attempts, ended })
}
