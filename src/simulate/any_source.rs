//! One rule and a packet of which everything is known but where it comes from: for proofs about all sources at once.

use super::rule::{Machine, RuleResult};
use super::view::{Hidden, View};
use super::{JustLoaded, Packet, attached};
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
    Machine { id, table, sets: &JustLoaded, view: &seen.0, changed }.run(rule)
}

/// The base chains of one table that a packet passes at a hook, in their order.
pub(crate) fn attached_to<'a>(
    id: &'a TableId,
    table: &'a Table,
    hook: Hook,
    packet: &Packet,
) -> Vec<(&'a str, &'a BaseChain)> {
    attached(&[(id, table)], hook, packet).into_iter().map(|attached| (attached.name, attached.base)).collect()
}
