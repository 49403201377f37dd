//! What the rules of a table test in a packet: which tests tell sources apart, and which tell ports, interfaces and
//! destinations apart.
//!
//! A rule with a test in a form that is not understood may do anything.

use super::asked::{Asked, Asks, ReadRule};
use super::reader::Reader;
use crate::net::Version;
use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::{Expr, SetRef, Table};
use std::collections::{BTreeMap, BTreeSet};

/// A chain that was read.
pub(super) struct ReadChain<'a> {
    pub(super) rules: Vec<ReadRule<'a>>,
    /// Whether it, or a chain that it leads to, tests the protocol or the ports.
    pub(super) transport: bool,
    /// Whether it, or a chain that it leads to, tests the destination address.
    pub(super) destination: bool,
}

/// A table, read for packets of one version.
pub(super) struct Reading<'a> {
    pub(super) chains: BTreeMap<&'a str, ReadChain<'a>>,
    /// Sets that rules both look up and change.
    pub(super) watched: BTreeSet<&'a str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(table: &'a Table, version: Version, asks: Asks, asked: &mut Asked<'a>) -> Self {
        let mut chains = BTreeMap::new();
        let (mut looked_up, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for (name, chain) in &table.chains {
            let rules: Vec<_> =
                chain.rules.iter().map(|rule| Reader::new(table, version, asks, asked).rule(rule)).collect();
            for expr in chain.rules.iter().flat_map(|rule| &rule.exprs) {
                if let Expr::Lookup { set: SetRef::Named(set), .. } = expr {
                    looked_up.insert(set.as_str());
                }
                if let Expr::Dynset { set, .. } = expr {
                    changed.insert(set.as_str());
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

    /// Marks every caller of a chain that has such a test, directly or through other chains.
    fn inherit(&mut self, table: &'a Table) {
        let callers = Graph::new(table, NamedMaps::Listed).callers();
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
