//! Compares a policy with this machine and its live rules.

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
    let id = TableId::palisade();
    let around = |socket: &Socket| -> Result<_, NetlinkError> { Ok((socket.live()?, Routing::open()?)) };
    let around = socket.and_then(|socket| match around(socket) {
        Ok((live, routing)) => Some((socket, live, routing)),
        Err(error) => {
            tracing::info!("the policy is not held against the rules of others: {error}");
            None
        }
    });
    let Some((socket, live, routing)) = &around else {
        return Preflight { policy, table, machine, beside: None }.remarks();
    };
    let others = live.ruleset.tables.iter().filter(|(other, _)| **other != id);
    let sets = LiveSets::new(socket, live, Some((&id, table)));
    let beside = Beside { tables: others.chain([(&id, table)]).collect(), sets: &sets, routes: routing };
    Preflight { policy, table, machine, beside: Some(&beside) }.remarks()
}
