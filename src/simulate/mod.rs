//! What a ruleset does with a packet, without asking the kernel.
//!
//! The expressions of the rules are interpreted as the kernel interprets them, on registers of the same shape. What can't
//! be evaluated is never guessed: where a match is in doubt both ways are followed, and where they lead to different
//! verdicts the verdict is [`Verdict::Unknown`], with the reason.
//!
//! ```text
//! to this machine   prerouting ─► input
//! through it        prerouting ─► forward ─► postrouting
//! from it           output ─► postrouting
//! ```
//!
//! At each hook the base chains of all tables are asked in the order of their priorities. An accept ends its base chain
//! alone; a drop or a reject is final. [`simulate`] takes a packet that says which way it goes and where it is translated
//! to; [`follow`] takes one as it comes in, has the rules translate it, and asks the routing.

mod any_source;
mod bits;
mod chain;
mod course;
mod effects;
mod fib;
mod foreign;
mod journey;
mod machine;
mod packet;
mod routes;
mod rule;
mod sets;
mod trace;
mod truth;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use any_source::{Changed, Seen, attached_to, run_for_any_source};
pub(crate) use chain::MAX_DEPTH;
pub(crate) use fib::is_link_local;
pub use journey::{EPHEMERAL, Journey, Turn, follow};
pub(crate) use machine::{End, RuleResult};
pub use packet::{Interface, Packet, Path, State, Translation, Transport};
pub use routes::{Asked, Routes, Way};
pub use sets::{Answer, AsListed, JustLoaded, Sets};
pub use trace::{Effect, Outcomes, Step, Trace, Verdict};
pub use truth::Doubt;

use crate::ruleset::{Ruleset, Table, TableId};
use course::Course;

/// What some tables do with a packet.
///
/// Bounded by the number of rules, however chains call each other, and total: no table makes it panic.
pub fn simulate<'a>(
    tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
    sets: &dyn Sets,
    packet: &Packet,
) -> Trace<'a> {
    let mut course = Course::new(tables, sets, None);
    for hook in packet.path.hooks() {
        course.pass(*hook, packet);
    }
    Trace { verdict: course.outcomes.verdict(), outcomes: course.outcomes, steps: course.steps }
}

/// What one table does with a packet when it has just been loaded, and nothing else is.
#[must_use]
pub fn simulate_table<'a>(id: &'a TableId, table: &'a Table, packet: &Packet) -> Trace<'a> {
    simulate([(id, table)], &JustLoaded, packet)
}

/// What a whole ruleset does with a packet, as it is listed.
#[must_use]
pub fn simulate_ruleset<'a>(ruleset: &'a Ruleset, packet: &Packet) -> Trace<'a> {
    simulate(&ruleset.tables, &AsListed, packet)
}
