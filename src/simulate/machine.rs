//! The virtual machine for one table's rules: its inputs, and the results of rules and expressions.

use super::effects::Effects;
use super::packet::Translation;
use super::routes::Routes;
use super::sets::Sets;
use super::truth::{Doubt, Truth};
use super::view::View;
use crate::ruleset::{Table, TableId, Verdict};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The sets that a packet may have changed, each with the keys that the packet has surely added, which are all that it
/// has; `None` if the change is not known.
pub(crate) type Changed<'a> = RefCell<BTreeMap<(&'a TableId, &'a str), Option<BTreeSet<Vec<u8>>>>>;

/// The sets that either way has changed, each with the keys that it certainly has now.
pub(super) fn met_in<K: Ord>(
    one: BTreeMap<K, Option<BTreeSet<Vec<u8>>>>,
    mut other: BTreeMap<K, Option<BTreeSet<Vec<u8>>>>,
) -> BTreeMap<K, Option<BTreeSet<Vec<u8>>>> {
    let mut met = BTreeMap::new();
    for (set, keys) in one {
        let same = other.remove(&set).flatten().filter(|same| Some(same) == keys.as_ref());
        met.insert(set, same);
    }
    met.extend(other.into_keys().map(|set| (set, None)));
    met
}

/// What a rule does with a packet.
pub(crate) enum RuleResult<'a> {
    /// It does not match.
    NoMatch,
    /// It matches or may match.
    Match {
        /// Its verdict.
        end: End<'a>,
        /// Why it may not match.
        doubt: Option<Doubt>,
    },
}

/// How a rule that matches ends.
pub(crate) enum End<'a> {
    /// Goes on with the next rule.
    Continue,
    /// A verdict.
    Verdict(Cow<'a, Verdict>),
    /// A refusal.
    Reject,
    /// Translates the destination, and accepts.
    Translate(Translation),
    /// Translates the source, and accepts.
    TranslateSource,
    /// Unknown: it may have any verdict, or none.
    Anything(Doubt),
}

/// The result of one expression.
pub(super) enum Done<'a> {
    If(Truth),
    End(End<'a>, Option<Doubt>),
}

/// Rules of one table at one place of a packet's way.
#[derive(Clone, Copy)]
pub(super) struct Machine<'a, 'v> {
    pub(super) id: &'a TableId,
    pub(super) table: &'a Table,
    pub(super) sets: &'v dyn Sets,
    pub(super) view: &'v View<'v>,
    /// The sets that this packet may have changed itself.
    pub(super) changed: &'v Changed<'a>,
    /// The effects of earlier rules.
    pub(super) effects: &'v RefCell<Effects>,
    /// Whether it is an interface beneath the packet's own, where its frame may have another header.
    pub(super) beneath: bool,
    /// The routing, if translations are followed.
    pub(super) routes: Option<&'v dyn Routes>,
}

pub(super) const fn truth(truth: bool) -> Truth {
    if truth { Truth::True } else { Truth::False }
}
