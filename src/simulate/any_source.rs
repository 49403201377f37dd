//! One rule and a packet of which everything is known but where it comes from: for proofs about all sources at once.

use super::course::attached;
use super::effects::Effects;
use super::machine::{Machine, RuleResult};
use super::view::{Hidden, View};
use super::{JustLoaded, Packet};
use crate::ruleset::{BaseChain, Hook, Rule, Table, TableId};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The sets that packets may have changed, which are therefore not asked.
pub(crate) type Changed<'a> = RefCell<BTreeSet<(&'a TableId, &'a str)>>;

/// A packet at one place of its way, its source and what it is translated to hidden.
pub(crate) struct Seen<'v>(View<'v>);

impl<'v> Seen<'v> {
    pub(crate) fn new(packet: &'v Packet, hook: Hook, priority: i32) -> Self {
        Self(View::new(packet, hook, priority, Hidden::Source))
    }
}

/// What a rule of a table that has just been loaded does; in doubt where it depends on the source.
pub(crate) fn run_for_any_source<'a>(
    id: &'a TableId,
    table: &'a Table,
    rule: &'a Rule,
    seen: &Seen<'_>,
    changed: &Changed<'a>,
) -> RuleResult<'a> {
    // Packets of other sources may have other marks.
    let effects = &RefCell::new(Effects::unknown());
    Machine { id, table, sets: &JustLoaded, view: &seen.0, changed, effects, routes: None }.run(rule, false)
}

/// The base chains of one table that a packet passes at a hook, in their order, and where among all they are asked.
pub(crate) fn attached_to<'a>(
    id: &'a TableId,
    table: &'a Table,
    hook: Hook,
    packet: &Packet,
) -> Vec<(&'a str, &'a BaseChain, i32)> {
    let attached = attached(&[(id, table)], hook, packet).into_iter();
    attached.map(|attached| (attached.name, attached.base, attached.priority(hook))).collect()
}
