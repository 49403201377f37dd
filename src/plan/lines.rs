//! Which lines of a policy an `apply` adds, changes and removes, by the chains of the two tables.

use crate::compile::line_of;
use crate::delta::{Change, Thing};
use crate::ruleset::{ElementValue, Provenance, Table, Verdict};
use serde::Serialize;
use std::collections::BTreeSet;

/// The names of lines of a policy, each with its section if that is not `services`: `dashboard`, `outgoing mail`,
/// `group trusted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// Those that the kernel does not hold yet.
    pub added: BTreeSet<String>,
    /// Those whose rules or elements differ.
    pub changed: BTreeSet<String>,
    /// Those that the policy no longer has.
    pub removed: BTreeSet<String>,
}

impl Lines {
    /// The lines that differ between the live table and the desired one, whose differences are `changes`.
    #[must_use]
    pub fn new(live: Option<&Table>, desired: &Table, changes: &[Change]) -> Self {
        let before = live.map(names).unwrap_or_default();
        let after = names(desired);
        let touched: BTreeSet<String> = changes.iter().flat_map(|change| of_change(change, live, desired)).collect();
        Self {
            added: after.difference(&before).cloned().collect(),
            changed: touched.into_iter().filter(|name| before.contains(name) && after.contains(name)).collect(),
            removed: before.difference(&after).cloned().collect(),
        }
    }
}

/// The lines that a table has.
fn names(table: &Table) -> BTreeSet<String> {
    let of_chains = table.chains.keys().filter_map(|chain| named(chain));
    let of_sets = table.sets.keys().filter_map(|set| group(table, set));
    of_chains.chain(of_sets).collect()
}

/// The line that a chain belongs to.
fn named(chain: &str) -> Option<String> {
    let (section, name) = line_of(chain)?;
    Some(if section == "service" { name.to_owned() } else { format!("{section} {name}") })
}

/// The group whose addresses a set has: `group trusted`.
fn group(table: &Table, set: &str) -> Option<String> {
    let comment = table.sets.get(set)?.spec.comment.as_deref()?;
    let named = Provenance::read(comment)?.sentence.strip_prefix("group ")?;
    let name = named.split(':').next().unwrap_or(named);
    // That of containers is always there, and no line of a policy.
    Some(format!("group {name}")).filter(|_| name != "containers")
}

/// The lines that a difference is about.
fn of_change(change: &Change, live: Option<&Table>, desired: &Table) -> BTreeSet<String> {
    let of_set = || {
        let tables = live.into_iter().chain([desired]);
        tables.filter_map(|table| group(table, &change.name))
    };
    let mut lines: BTreeSet<String> = BTreeSet::new();
    for thing in change.was.iter().chain(&change.is) {
        match thing {
            Thing::Chain { .. } | Thing::Rule(_) | Thing::Place { .. } => lines.extend(named(&change.name)),
            Thing::Set(_) => lines.extend(of_set()),
            Thing::Element { element, .. } => {
                lines.extend(of_set());
                if let Some(ElementValue::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) =
                    element.value.as_deref()
                {
                    lines.extend(named(chain));
                }
            }
            Thing::Table { .. } | Thing::Flags(_) | Thing::Other(_) => {}
        }
    }
    lines
}
