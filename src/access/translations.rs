//! The base chains of a table that translate. They decide no access: a packet that is translated is asked for as such.

use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::{Expr, Foreign, Rule, Table};
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

/// The table without these chains.
pub(super) fn without_translations(table: &Table) -> Cow<'_, Table> {
    let names = translating(table);
    if names.is_empty() {
        return Cow::Borrowed(table);
    }
    let mut without = table.clone();
    without.chains.retain(|name, _| !names.contains(name.as_str()));
    Cow::Owned(without)
}
