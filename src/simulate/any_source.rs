//! Evaluates one rule for a packet whose client is unknown, for proofs about all clients at once.

use super::effects::Effects;
use super::hidden::Hidden;
use super::machine::{Changed, Machine, RuleResult};
use super::packet_run::{attached, bases};
use super::view::View;
use super::{JustLoaded, Packet};
use crate::ruleset::{BaseChain, Hook, Rule, Table, TableId};
use std::cell::RefCell;

/// A packet at one hook with its client's address hidden, and its translation, too, if that is not known.
pub(crate) struct ViewOfAnySource<'v>(View<'v>);

impl<'v> ViewOfAnySource<'v> {
    pub(crate) fn new(packet: &'v Packet, hook: Hook, priority: i32, hidden: Hidden) -> Self {
        Self(View::new(packet, hook, priority, hidden))
    }
}

/// The result of a rule in a table that has just been loaded; doubtful where it depends on the source.
pub(crate) fn run_for_any_source<'a>(
    id: &'a TableId,
    table: &'a Table,
    rule: &'a Rule,
    view: &ViewOfAnySource<'_>,
    changed: &Changed<'a>,
) -> RuleResult<'a> {
    // Packets of other sources may have other marks.
    let effects = &RefCell::new(Effects::unknown());
    Machine { id, table, sets: &JustLoaded, view: &view.0, changed, effects, beneath: false, routes: None }
        .run(rule, false)
}

/// The base chains of one table that a packet passes at a hook, in order, each with the priority at which the kernel
/// runs it.
pub(crate) fn attached_to<'a>(
    id: &'a TableId,
    table: &'a Table,
    hook: Hook,
    packet: &Packet,
) -> Vec<(&'a str, &'a BaseChain, i32)> {
    let attached = attached(bases(id, table), hook, packet).into_iter();
    attached.map(|attached| (attached.name, attached.base, attached.priority(hook))).collect()
}
