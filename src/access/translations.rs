//! The base chains of a table that translate. They decide no access: a packet that is translated is asked for as such.

use crate::ruleset::graph::{Graph, Name, NamedMaps, names};
use crate::ruleset::{Expr, Foreign, Hook, Rule, Table};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The names of these chains.
pub(super) fn translating(table: &Table) -> BTreeSet<&str> {
    let graph = Graph::new(table, NamedMaps::Listed);
    let bases = table.chains.iter().filter(|(_, chain)| chain.base.as_ref().is_some_and(|base| base.kind == "nat"));
    let leads_to_one = |name: &str| {
        let reached = graph.reachable(table.chains.get_key_value(name).map(|(name, _)| name.as_str()));
        let rules = reached.into_iter().filter_map(|name| table.chains.get(name)).flat_map(|chain| &chain.rules);
        rules.into_iter().any(translates)
    };
    bases.map(|(name, _)| name.as_str()).filter(|name| leads_to_one(name)).collect()
}

fn translates(rule: &Rule) -> bool {
    let is_one = |expr: &Expr| {
        matches!(expr, Expr::Foreign(Foreign::Nat(_) | Foreign::Masquerade { .. } | Foreign::Redirect { .. }))
    };
    rule.exprs.iter().any(is_one)
}

/// The chains that translate at a hook, and what they use; `None` where none does.
pub(super) fn only_translations(table: &Table, hook: Hook) -> Option<Table> {
    let at_hook = |name: &&str| {
        table.chains.get(*name).and_then(|chain| chain.base.as_ref()).is_some_and(|base| base.hook == hook)
    };
    let bases: Vec<&str> = translating(table).into_iter().filter(at_hook).collect();
    if bases.is_empty() {
        return None;
    }
    let reached = Graph::new(table, NamedMaps::Listed).reachable(bases);
    let mut only = Table { flags: table.flags, ..Table::default() };
    for name in reached {
        let Some((name, chain)) = table.chains.get_key_value(name) else { continue };
        for used in chain.rules.iter().flat_map(|rule| &rule.exprs).flat_map(names) {
            if let Name::Set(set) = used
                && let Some((set, elements)) = table.sets.get_key_value(set)
            {
                only.sets.insert(set.clone(), elements.clone());
            }
        }
        only.chains.insert(name.clone(), chain.clone());
    }
    Some(only)
}

/// The table without these chains: what it does with packets that say themselves where they are translated to.
#[must_use]
pub fn without_translations(table: &Table) -> Cow<'_, Table> {
    let names = translating(table);
    if names.is_empty() {
        return Cow::Borrowed(table);
    }
    let mut without = table.clone();
    without.chains.retain(|name, _| !names.contains(name.as_str()));
    Cow::Owned(without)
}
