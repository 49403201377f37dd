//! An in-memory table that applies transactions like the kernel: all or nothing, and checking every reference.

use crate::ruleset::graph::Name;
use crate::ruleset::{Chain, Element, Op, Rule, Set, Table, Transaction, Verdict, graph};
use std::collections::{BTreeMap, BTreeSet};

/// The table after the transaction, or the operation that the kernel would refuse, and why.
pub(super) fn apply(live: Option<&Table>, transaction: &Transaction) -> Result<Option<Table>, String> {
    let mut model = Model { table: live.cloned(), positions: BTreeMap::new(), held: BTreeSet::new() };
    if let Some(table) = live {
        for (name, chain) in &table.chains {
            model.positions.insert(name.clone(), (0..chain.rules.len()).map(Some).collect());
        }
    }
    for (number, op) in transaction.ops.iter().enumerate() {
        model.step(op).map_err(|why| format!("operation {number}, {op:?}: {why}"))?;
    }
    Ok(model.table)
}

struct Model {
    table: Option<Table>,
    /// For each rule its index in the chain before the transaction, in place of its handle.
    positions: BTreeMap<String, Vec<Option<usize>>>,
    /// The chains that elements of deleted maps lead to. Kernels before 6.5, and stable ones without its repair, hold
    /// them until the transaction ends.
    held: BTreeSet<String>,
}

impl Model {
    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    fn step(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::AddTable { flags, comment } => {
                let table = self.table.get_or_insert_with(|| Table { comment: comment.clone(), ..Table::default() });
                table.flags = *flags;
                return Ok(());
            }
            Op::DeleteTable => {
                self.positions.clear();
                return self.table.take().map(drop).ok_or_else(|| "no such table".to_owned());
            }
            _ => {}
        }
        let table = self.table.as_mut().ok_or("no such table")?;
        match op {
            Op::AddTable { .. } | Op::DeleteTable => {}
            Op::AddChain { name, base, comment } => {
                let chain = Chain { base: base.clone(), comment: comment.clone(), rules: Vec::new() };
                if table.chains.insert(name.clone(), chain).is_some() {
                    return Err("the chain exists".to_owned());
                }
                self.positions.insert(name.clone(), Vec::new());
            }
            Op::SetPolicy { name, base } => {
                let chain = table.chains.get_mut(name).ok_or("no such chain")?;
                let old = chain.base.as_mut().ok_or("not a base chain")?;
                old.policy = base.policy;
                if old != base {
                    return Err("only the policy can be changed".to_owned());
                }
            }
            Op::DeleteChain { name } => {
                let chain = table.chains.remove(name).ok_or("no such chain")?;
                self.positions.remove(name);
                if !chain.rules.is_empty() {
                    return Err("the chain has rules".to_owned());
                }
                if names(table).any(|named| named == Name::Chain(name)) || self.held.contains(name) {
                    return Err("the chain is in use".to_owned());
                }
            }
            Op::AddSet { name, spec } => {
                let set = Set { spec: spec.clone(), elements: Vec::new().into() };
                if table.sets.insert(name.clone(), set).is_some() {
                    return Err("the set exists".to_owned());
                }
            }
            Op::DeleteSet { name } => {
                let set = table.sets.remove(name).ok_or("no such set")?;
                let led = set.elements.listed().iter().filter_map(|element| element.verdict()?.target());
                self.held.extend(led.map(str::to_owned));
                if names(table).any(|named| named == Name::Set(name)) {
                    return Err("the set is in use".to_owned());
                }
            }
            Op::AddElements { set, elements, .. } => {
                let set = table.sets.get_mut(set).ok_or("no such set")?;
                let mut list = std::mem::take(&mut set.elements).into_list();
                for element in elements {
                    if let Some(other) = list.iter_mut().find(|other| other.key == element.key) {
                        if set.spec.is_timed() {
                            *other = element.into_owned();
                            continue;
                        }
                        return Err("the element exists".to_owned());
                    }
                    list.push(element.into_owned());
                }
                list.sort();
                set.elements = list.into();
            }
            Op::DeleteElements { set, elements, .. } => {
                let set = table.sets.get_mut(set).ok_or("no such set")?;
                let mut list = std::mem::take(&mut set.elements).into_list();
                for element in elements {
                    let before = list.len();
                    list.retain(|other| other.key != element.key);
                    if list.len() == before {
                        return Err("no such element".to_owned());
                    }
                }
                set.elements = list.into();
            }
            Op::AddRule { chain, rule, before } => {
                let positions = self.positions.get_mut(chain).ok_or("no such chain")?;
                let at = match before {
                    Some(index) => positions.iter().position(|p| *p == Some(*index)).ok_or("no such position")?,
                    None => positions.len(),
                };
                positions.insert(at, None);
                table.chains.get_mut(chain).ok_or("no such chain")?.rules.insert(at, rule.clone());
            }
            Op::DeleteRule { chain, index, rule } => {
                let positions = self.positions.get_mut(chain).ok_or("no such chain")?;
                let at = positions.iter().position(|p| *p == Some(*index)).ok_or("no such rule")?;
                positions.remove(at);
                let gone = table.chains.get_mut(chain).ok_or("no such chain")?.rules.remove(at);
                if gone != *rule {
                    return Err(format!("another rule stands there: {gone:?}"));
                }
            }
        }
        let table = self.table.as_ref().ok_or("no such table")?;
        let missing = match op {
            Op::AddRule { rule, .. } => rule_names(rule).find(|name| !exists(table, name)),
            Op::AddElements { elements, .. } => {
                elements.listed().iter().filter_map(element_name).find(|name| !exists(table, name))
            }
            _ => None,
        };
        missing.map_or(Ok(()), |name| Err(format!("{name:?} does not exist")))
    }
}

fn exists(table: &Table, name: &Name<'_>) -> bool {
    match name {
        Name::Chain(name) => table.chains.contains_key(*name),
        Name::Set(name) => table.sets.contains_key(*name),
    }
}

/// All names that rules and elements of the table refer to.
fn names(table: &Table) -> impl Iterator<Item = Name<'_>> {
    let rules = table.chains.values().flat_map(|chain| &chain.rules).flat_map(rule_names);
    rules.chain(table.sets.values().flat_map(|set| set.elements.listed()).filter_map(element_name))
}

fn rule_names(rule: &Rule) -> impl Iterator<Item = Name<'_>> {
    rule.exprs.iter().flat_map(graph::names)
}

fn element_name(element: &Element) -> Option<Name<'_>> {
    element.verdict().and_then(Verdict::target).map(Name::Chain)
}
