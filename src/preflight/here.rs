//! Compares a policy with this machine and its live rules.

use super::kept::as_shown;
use super::{Preflight, Remark};
use crate::lockout::Beside;
use crate::machine::Machine;
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, NetlinkError, Socket};
use crate::resolve::Resolved;
use crate::ruleset::{Table, TableId};

/// All remarks on a policy, worst first, with its table in place of palisade's and beside the live tables of others.
/// Without a socket, or if the rules can't be read, those that follow from the other facts.
#[must_use]
pub fn remarks_here(socket: Option<&Socket>, policy: &Resolved, table: &Table, machine: &Machine) -> Vec<Remark> {
    beside_others(socket, table, |beside| Preflight { policy, table, machine, beside }.remarks())
}

/// The remarks on a kept ruleset, whose policy is not kept, worst first: those that its rules show.
#[must_use]
pub fn remarks_on_kept(socket: &Socket, table: &Table, machine: &Machine) -> Vec<Remark> {
    let policy = as_shown(table);
    beside_others(Some(socket), table, |beside| {
        Preflight { policy: &policy, table, machine, beside }.remarks_on_rules()
    })
}

/// Asks with a table in place of palisade's, beside the live tables of others; with none if they can't be read.
fn beside_others<T>(socket: Option<&Socket>, table: &Table, ask: impl Fn(Option<&Beside<'_>>) -> T) -> T {
    let id = TableId::palisade();
    let around = |socket: &Socket| -> Result<_, NetlinkError> { Ok((socket.live()?, Routing::open()?)) };
    let around = socket.and_then(|socket| match around(socket) {
        Ok((live, routing)) => Some((socket, live, routing)),
        Err(error) => {
            tracing::info!("the policy is not held against the rules of others: {error}");
            None
        }
    });
    let Some((socket, live, routing)) = &around else { return ask(None) };
    let others = live.ruleset.tables.iter().filter(|(other, _)| **other != id);
    let sets = LiveSets::new(socket, live, Some((&id, table)));
    let beside = Beside { tables: others.chain([(&id, table)]).collect(), sets: &sets, routes: routing };
    ask(Some(&beside))
}
