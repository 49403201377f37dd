//! What a ruleset does with a packet, without asking the kernel.
//!
//! Expressions are interpreted as the kernel interprets them, on registers of the same shape. Nothing is guessed: if
//! a match is in doubt both ways are followed, and if they lead to different verdicts the verdict is
//! [`Verdict::Unknown`], with the reason.
//!
//! ```text
//! to this machine   prerouting ─► input
//! through it        prerouting ─► forward ─► postrouting
//! from it           output ─► postrouting
//! ```
//!
//! At each hook the base chains of all tables run in the order of their priorities. An accept ends only its base
//! chain; a drop or a reject is final. [`simulate`] takes a packet that says which way it goes and where it is
//! translated to; [`follow`] takes a packet as it comes in, lets the rules translate it, and asks the routing.
//! [`follow_connection`] follows the answer, too, and what comes after it in both directions.

mod any_source;
mod bits;
mod chain;
mod connection;
mod devices;
mod effects;
mod extensions;
mod fib;
mod foreign;
mod headers;
mod hidden;
mod index;
mod later;
mod listed;
mod machine;
mod neighbours;
mod order;
mod packet;
mod packet_run;
mod routes;
mod rule;
mod sets;
mod trace;
mod traversal;
mod truth;
mod tuple;
mod view;
mod ways;

#[cfg(test)]
mod tests;

pub(crate) use any_source::{ViewOfAnySource, attached_to, run_for_any_source};
pub(crate) use chain::MAX_DEPTH;
pub use connection::{Connection, follow_connection, follow_connection_while, open_through_table};
pub(crate) use fib::is_link_local;
pub(crate) use hidden::Hidden;
pub use listed::{Listed, Point, base_chains};
pub(crate) use machine::{Changed, End, RuleResult};
pub use order::{At, Hooked, Order};
pub use packet::{EPHEMERAL, Interface, Packet, Part, Path, State, Translation, Transport, Undone};
pub use packet_run::Hooks;
pub use routes::{Asked, Beneath, LeavingBy, Prerouted, Properties, Routes, Way};
pub use sets::{Answer, AsListed, JustLoaded, Sets};
pub use trace::{Effect, Outcomes, Stage, Step, Trace, Verdict};
pub use traversal::{RoutingDecision, Traversal, follow};
pub use truth::Doubt;

use crate::ruleset::{Ruleset, Table, TableId};
use packet_run::PacketRun;

/// What some tables do with a packet.
///
/// Its cost is bounded by the number of rules, however chains call each other. It is total: no table makes it panic.
pub fn simulate<'a>(
    tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
    sets: &dyn Sets,
    packet: &Packet,
) -> Trace<'a> {
    pass(PacketRun::new(tables, sets, None), packet)
}

/// Takes a packet through all hooks of its path.
fn pass<'a>(mut run: PacketRun<'a, '_>, packet: &Packet) -> Trace<'a> {
    for hook in packet.path.hooks() {
        run.pass(*hook, packet);
    }
    Trace { verdict: run.outcomes.verdict(), outcomes: run.outcomes, steps: run.steps }
}

/// What one table does with a packet right after it has been loaded, with no other table loaded.
#[must_use]
pub fn simulate_table<'a>(id: &'a TableId, table: &'a Table, packet: &Packet) -> Trace<'a> {
    simulate([(id, table)], &JustLoaded, packet)
}

/// The same, where the routes of the packet's addresses are known: what is translated need not have been sent to this
/// machine.
#[must_use]
pub fn simulate_table_with<'a>(id: &'a TableId, table: &'a Table, routes: &dyn Routes, packet: &Packet) -> Trace<'a> {
    pass(PacketRun::new([(id, table)], &JustLoaded, Some(routes)), packet)
}

/// What a whole ruleset, as it is listed, does with a packet.
#[must_use]
pub fn simulate_ruleset<'a>(ruleset: &'a Ruleset, packet: &Packet) -> Trace<'a> {
    simulate(&ruleset.tables, &AsListed, packet)
}
