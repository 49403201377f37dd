//! What the rules of a table ask of a packet: which questions tell sources apart, and which tell ports, interfaces and
//! destinations apart.
//!
//! A question in a form that is not understood makes its rule one that may do anything.

use super::asked::{Asked, ReadRule};
use super::reader::Reader;
use super::value::Version;
use crate::ruleset::{ElementValue, Expr, Rule, Set, SetRef, Table, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// A chain, taken apart.
pub(super) struct ReadChain<'a> {
    pub(super) rules: Vec<ReadRule<'a>>,
    /// Whether it, or a chain that it leads to, asks for the protocol or the ports.
    pub(super) transport: bool,
    /// Whether it, or a chain that it leads to, asks for the destination address.
    pub(super) destination: bool,
}

/// A table, taken apart for packets of one version.
pub(super) struct Reading<'a> {
    pub(super) chains: BTreeMap<&'a str, ReadChain<'a>>,
    /// Sets that rules both ask and change.
    pub(super) watched: BTreeSet<&'a str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(table: &'a Table, version: Version, asked: &mut Asked<'a>) -> Self {
        let mut chains = BTreeMap::new();
        let (mut looked_up, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for (name, chain) in &table.chains {
            let rules: Vec<_> =
                chain.rules.iter().map(|rule| Reader::new(table, version, asked).rule(rule)).collect();
            for expr in chain.rules.iter().flat_map(|rule| &rule.exprs) {
                match expr {
                    Expr::Lookup { set: SetRef::Named(set), .. } => {
                        looked_up.insert(set.as_str());
                    }
                    Expr::Dynset { set, .. } => {
                        changed.insert(set.as_str());
                    }
                    _ => {}
                }
            }
            let transport = rules.iter().any(|rule| rule.transport);
            let destination = rules.iter().any(|rule| !rule.destinations.is_empty());
            chains.insert(name.as_str(), ReadChain { rules, transport, destination });
        }
        let watched = looked_up.intersection(&changed).copied().collect();
        let mut reading = Self { chains, watched };
        reading.inherit(table);
        reading
    }

    /// What a chain asks, those that lead to it ask too.
    fn inherit(&mut self, table: &'a Table) {
        let mut callers: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
        for (name, chain) in &table.chains {
            for target in chain.rules.iter().flat_map(|rule| targets(table, rule)) {
                callers.entry(target).or_default().push(name);
            }
        }
        let asks: [for<'r> fn(&'r mut ReadChain<'a>) -> &'r mut bool; 2] =
            [|chain| &mut chain.transport, |chain| &mut chain.destination];
        for asks in asks {
            let mut waiting: Vec<&str> = Vec::new();
            for (name, chain) in &mut self.chains {
                if *asks(chain) {
                    waiting.push(name);
                }
            }
            while let Some(name) = waiting.pop() {
                for caller in callers.get(name).into_iter().flatten() {
                    if let Some(chain) = self.chains.get_mut(caller)
                        && !std::mem::replace(asks(chain), true)
                    {
                        waiting.push(caller);
                    }
                }
            }
        }
    }
}

/// The chains that a rule may lead to.
fn targets<'a>(table: &'a Table, rule: &'a Rule) -> Vec<&'a str> {
    let of = |verdict: &'a Verdict| match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain.as_str()),
        _ => None,
    };
    let of_set = |set: &'a Set| {
        set.elements.listed().iter().filter_map(move |element| match element.value.as_deref() {
            Some(ElementValue::Verdict(verdict)) => of(verdict),
            _ => None,
        })
    };
    let of_expr = |expr: &'a Expr| -> Vec<&'a str> {
        match expr {
            Expr::Verdict(verdict) => of(verdict).into_iter().collect(),
            Expr::Lookup { set: SetRef::Anonymous(set), dreg: Some(_), .. } => of_set(set).collect(),
            Expr::Lookup { set: SetRef::Named(name), dreg: Some(_), .. } => {
                table.sets.get(name).into_iter().flat_map(of_set).collect()
            }
            _ => Vec::new(),
        }
    };
    rule.exprs.iter().flat_map(of_expr).collect()
}
