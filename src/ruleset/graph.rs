//! The graph of chains, and the names that rules refer to.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{Element, ElementValue, Expr, Foreign, Register, Rule, SetRef, Table, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// A chain or set that a rule or an element refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name<'a> {
    /// A chain of the same table.
    Chain(&'a str),
    /// A named set or map of the same table.
    Set(&'a str),
}

/// The names that an expression refers to.
#[must_use]
pub fn names(expr: &Expr) -> Vec<Name<'_>> {
    match expr {
        Expr::Lookup { set: SetRef::Named(name), .. } => vec![Name::Set(name)],
        Expr::Dynset { set, exprs, .. } => [Name::Set(set)].into_iter().chain(exprs.iter().flat_map(names)).collect(),
        Expr::Lookup { set: SetRef::Anonymous(_), .. } | Expr::Verdict(_) => {
            verdicts(expr).filter_map(Verdict::target).map(Name::Chain).collect()
        }
        Expr::Meta { .. }
        | Expr::Ct { .. }
        | Expr::Payload { .. }
        | Expr::Cmp { .. }
        | Expr::Bitwise { .. }
        | Expr::Fib { .. }
        | Expr::Counter { .. }
        | Expr::Limit(_)
        | Expr::Log(_)
        | Expr::Reject(_)
        | Expr::Foreign(_)
        | Expr::Unknown { .. } => Vec::new(),
    }
}

/// Whether a rule drops or rejects, if only for some of the packets that it matches.
#[must_use]
pub fn denies(rule: &Rule) -> bool {
    rule.exprs.iter().any(|expr| {
        matches!(expr, Expr::Reject(_) | Expr::Foreign(Foreign::Reject { .. }))
            || matches!(expr, Expr::Foreign(Foreign::Target(target)) if target.name == "REJECT")
            || verdicts(expr).any(|verdict| *verdict == Verdict::Drop)
    })
}

/// The verdicts inside an expression: its own, and those of an anonymous map.
pub fn verdicts(expr: &Expr) -> impl Iterator<Item = &Verdict> {
    let (own, elements) = match expr {
        Expr::Verdict(verdict) => (Some(verdict), &[][..]),
        Expr::Lookup { set: SetRef::Anonymous(set), .. } => (None, set.elements.listed()),
        Expr::Lookup { set: SetRef::Named(_), .. }
        | Expr::Meta { .. }
        | Expr::Ct { .. }
        | Expr::Payload { .. }
        | Expr::Cmp { .. }
        | Expr::Bitwise { .. }
        | Expr::Dynset { .. }
        | Expr::Fib { .. }
        | Expr::Counter { .. }
        | Expr::Limit(_)
        | Expr::Log(_)
        | Expr::Reject(_)
        | Expr::Foreign(_)
        | Expr::Unknown { .. } => (None, &[][..]),
    };
    own.into_iter().chain(elements.iter().filter_map(Element::verdict))
}

impl Verdict {
    /// The chain that the verdict jumps or goes to.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Continue | Self::Return | Self::Other(_) => None,
        }
    }
}

impl Element {
    /// The verdict that the element's key maps to.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        match self.value.as_deref() {
            Some(ElementValue::Verdict(verdict)) => Some(verdict),
            Some(
                ElementValue::Data(_) | ElementValue::Object(_) | ElementValue::Expires(_) | ElementValue::Unknown(_),
            )
            | None => None,
        }
    }
}

/// Whether the elements of named maps have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedMaps {
    /// They have: a map leads to the chains that its elements name.
    Listed,
    /// They have not: a verdict map may lead to any chain without a hook.
    Unlisted,
}

/// The chains of one table.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a> {
    table: &'a Table,
    maps: NamedMaps,
}

impl<'a> Graph<'a> {
    /// The chains of a table. `maps` tells whether the elements of its named maps are there.
    #[must_use]
    pub const fn new(table: &'a Table, maps: NamedMaps) -> Self {
        Self { table, maps }
    }

    /// The chains that a rule may lead to.
    pub fn targets(self, rule: &'a Rule) -> impl Iterator<Item = &'a str> {
        rule.exprs.iter().flat_map(move |expr| self.of_expr(expr))
    }

    /// These chains, and all chains that they lead to.
    #[must_use]
    pub fn reachable(self, from: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<&str> = from.into_iter().collect();
        while let Some(name) = waiting.pop() {
            if let Some(chain) = self.table.chains.get(name)
                && found.insert(name)
            {
                waiting.extend(chain.rules.iter().flat_map(|rule| self.targets(rule)));
            }
        }
        found
    }

    /// For each chain, the chains that lead to it. A chain that leads to it several times appears as often.
    #[must_use]
    pub fn callers(self) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut callers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, chain) in &self.table.chains {
            for target in chain.rules.iter().flat_map(|rule| self.targets(rule)) {
                callers.entry(target).or_default().push(name);
            }
        }
        callers
    }

    fn of_expr(self, expr: &'a Expr) -> Vec<&'a str> {
        if let Expr::Lookup { set: SetRef::Named(name), dreg: Some(Register::Verdict), .. } = expr {
            return self.of_named(name);
        }
        verdicts(expr).filter_map(Verdict::target).collect()
    }

    fn of_named(self, map: &str) -> Vec<&'a str> {
        match self.maps {
            NamedMaps::Listed => {
                let elements = self.table.sets.get(map).into_iter().flat_map(|map| map.elements.listed());
                elements.filter_map(Element::verdict).filter_map(Verdict::target).collect()
            }
            NamedMaps::Unlisted => {
                let unhooked = self.table.chains.iter().filter(|(_, chain)| chain.base.is_none());
                unhooked.map(|(name, _)| name.as_str()).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{BaseChain, Chain, Hook, KeyType, MapValue, Policy, Set, SetFlags, SetSpec};

    fn jump(chain: &str) -> Expr {
        Expr::Verdict(Verdict::Jump(chain.to_owned()))
    }

    fn map(to: &str) -> Set {
        let spec =
            SetSpec { value: Some(MapValue::Verdict), ..SetSpec::new(KeyType::INET_PROTO, SetFlags::default()) };
        Set { spec, elements: vec![Element::single(&[6]).with_verdict(Verdict::Goto(to.to_owned()))].into() }
    }

    fn asks(set: SetRef) -> Expr {
        Expr::Lookup { set, sreg: Register::ONE, dreg: Some(Register::Verdict), inverted: false }
    }

    /// `input` looks up an anonymous map, which leads to `a`; `a` looks up a named map, which leads to `b`; `b` leads
    /// back to `a`; nothing leads to `c`.
    fn table() -> Table {
        let rule = |expr| Rule { exprs: vec![expr], comment: None };
        let base = |hook| {
            let (kind, devices) = ("filter".to_owned(), BTreeSet::new());
            Some(BaseChain { kind, hook, priority: 0, policy: Policy::Accept, devices })
        };
        let chain =
            |base, exprs: Vec<Expr>| Chain { base, comment: None, rules: exprs.into_iter().map(rule).collect() };
        let chains = [
            ("input", chain(base(Hook::Input), vec![asks(SetRef::Anonymous(Box::new(map("a"))))])),
            ("forward", chain(base(Hook::Forward), vec![])),
            ("a", chain(None, vec![asks(SetRef::Named("m".to_owned()))])),
            ("b", chain(None, vec![jump("a"), jump("gone")])),
            ("c", chain(None, vec![])),
        ];
        let chains = chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
        Table { chains, sets: BTreeMap::from([("m".to_owned(), map("b"))]), ..Table::default() }
    }

    #[test]
    fn a_map_that_was_not_read_leads_to_any_chain_without_a_hook() {
        let table = table();
        let reached = |maps| Graph::new(&table, maps).reachable(["input"]).into_iter().collect::<Vec<_>>();
        assert_eq!(reached(NamedMaps::Listed), ["a", "b", "input"]);
        assert_eq!(reached(NamedMaps::Unlisted), ["a", "b", "c", "input"]);
    }

    #[test]
    fn callers_are_those_that_name_a_chain_or_a_map_that_does() {
        let table = table();
        let callers = Graph::new(&table, NamedMaps::Listed).callers();
        assert_eq!(callers, BTreeMap::from([("a", vec!["b", "input"]), ("b", vec!["a"]), ("gone", vec!["b"])]));
    }

    #[test]
    fn a_rule_that_adds_to_a_set_names_it_and_what_its_elements_do() {
        let nested = Expr::Dynset {
            set: "s".to_owned(),
            op: crate::ruleset::DynsetOp::Add,
            sreg_key: Register::ONE,
            timeout_ms: 0,
            exprs: vec![asks(SetRef::Named("m".to_owned()))],
        };
        assert_eq!(names(&nested), [Name::Set("s"), Name::Set("m")]);
        assert_eq!(names(&asks(SetRef::Anonymous(Box::new(map("a"))))), [Name::Chain("a")]);
    }
}
