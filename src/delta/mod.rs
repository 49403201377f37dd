//! The difference between two tables, as the fewest operations that make the live table the desired one.
//!
//! Rules that stay keep their handles and counters; sets change by element. Anything that can't be changed in place
//! (a chain's hook, a set's type) is deleted and recreated in the same transaction, together with everything that
//! refers to it. If that takes more operations than replacing the table, the table is replaced.
//!
//! Only this room decides the order of operations. The kernel checks each operation against the state that the
//! previous ones left, so references are deleted before what they refer to, and added after it.

mod changes;
mod lives;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use changes::{Change, ChangeOp, Object, Thing, changes};

use crate::ruleset::graph::{self, Name};
use crate::ruleset::{
    BaseChain, Chain, Element, Elements, Expr, Op, Rule, Set, SetFlags, Table, TableFlags, TableId, Transaction,
    Verdict, provenance,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The transaction that turns `live` into `desired`; `None` is an absent table.
///
/// Ignores differences that do not count ([`Table::canonical`]), so equal tables give no operations.
#[must_use]
pub fn delta(id: &TableId, live: Option<&Table>, desired: Option<&Table>) -> Transaction {
    let ops = match (live, desired) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![Op::DeleteTable],
        (None, Some(desired)) => create(desired),
        (Some(live), Some(desired)) => change(live, desired),
    };
    Transaction { table: id.clone(), ops }
}

/// The number of operations; each element counts as one.
#[must_use]
pub fn cost(ops: &[Op]) -> usize {
    ops.iter()
        .map(|op| match op {
            Op::AddElements { elements, .. } | Op::DeleteElements { elements, .. } => elements.len(),
            _ => 1,
        })
        .sum()
}

/// Pairs the rules that stay (index in `live`, index in `desired`): a longest common subsequence.
///
/// Compares the rules as they are: pass canonical ones.
#[must_use]
pub fn common_rules(live: &[Rule], desired: &[Rule]) -> Vec<(usize, usize)> {
    let ops = similar::capture_diff_slices(similar::Algorithm::Myers, live, desired);
    ops.into_iter()
        .filter_map(|op| match op {
            similar::DiffOp::Equal { old_index, new_index, len } => {
                Some((0..len).map(move |offset| (old_index + offset, new_index + offset)))
            }
            _ => None,
        })
        .flatten()
        .collect()
}

/// The transaction that replaces an existing table, whatever its contents: the fallback if the kernel refuses a
/// [`delta`]. Counters and the state of limits start over.
#[must_use]
pub fn replacement(id: &TableId, desired: &Table) -> Transaction {
    Transaction { table: id.clone(), ops: replace(desired) }
}

fn create(table: &Table) -> Vec<Op> {
    let mut ops = vec![Op::AddTable { flags: table.flags, comment: table.comment.clone() }];
    ops.extend(table.sets.iter().map(|(name, set)| add_set(name, set)));
    ops.extend(table.chains.iter().map(|(name, chain)| add_chain(name, chain)));
    ops.extend(table.sets.iter().filter_map(|(name, set)| add_elements(name, set, set.elements.clone())));
    for (name, chain) in &table.chains {
        ops.extend(chain.rules.iter().map(|rule| add_rule(name, rule, None)));
    }
    ops
}

fn replace(desired: &Table) -> Vec<Op> {
    let mut ops = vec![Op::DeleteTable];
    ops.extend(create(desired));
    ops
}

fn change(live: &Table, desired: &Table) -> Vec<Op> {
    let difference = Difference::new(live, desired);
    if difference.live == difference.desired {
        return Vec::new();
    }
    // palisade makes no objects or flowtables, and only deleting the whole table removes every kind of them.
    let foreign = live.others != desired.others
        || live.flags.without(TableFlags::DORMANT) != desired.flags.without(TableFlags::DORMANT);
    // A table's comment can only be set with the table. A table without one was made by somebody else.
    if foreign || is_signed(desired) && !is_signed(live) {
        return replace(desired);
    }
    let least = difference.ops();
    let whole = replace(desired);
    if !least.is_empty() && cost(&least) <= cost(&whole) { least } else { whole }
}

/// Whether the table's comment says that palisade made it.
fn is_signed(table: &Table) -> bool {
    table.comment.as_deref().is_some_and(|comment| comment.starts_with(provenance::PREFIX))
}

/// Two tables, in canonical form and as they are, and the names in them that can't stay.
struct Difference<'a> {
    live: Table,
    desired: Table,
    /// As decoded, with the original comments: what a deletion shows.
    live_full: &'a Table,
    /// With the comments to write.
    desired_full: &'a Table,
    /// Sets that are deleted, or recreated under the same name.
    stale_sets: BTreeSet<String>,
    /// Chains that are deleted, or recreated under the same name.
    stale_chains: BTreeSet<String>,
}

impl<'a> Difference<'a> {
    fn new(live_full: &'a Table, desired_full: &'a Table) -> Self {
        let (mut live, mut desired) = (live_full.canonical(), desired_full.canonical());
        lives::settle(&mut live, &mut desired);
        let stale_sets = live
            .sets
            .iter()
            .filter(|(_, set)| !goes_with_its_rule(set))
            .filter(|(name, set)| desired.sets.get(*name).is_none_or(|wanted| wanted.spec != set.spec));
        let stale_sets = stale_sets.map(|(name, _)| name.clone()).collect();
        let stale_chains = live
            .chains
            .iter()
            .filter(|(name, _)| !is_anonymous(name))
            .filter(|(name, chain)| desired.chains.get(*name).is_none_or(|wanted| !can_become(chain, wanted)));
        let stale_chains = stale_chains.map(|(name, _)| name.clone()).collect();
        Self { live, desired, live_full, desired_full, stale_sets, stale_chains }
    }

    fn ops(&self) -> Vec<Op> {
        let mut gone = Vec::new();
        let mut added = Vec::new();
        self.rules(&mut gone, &mut added);

        let mut ops = Vec::new();
        if self.live.flags != self.desired.flags {
            ops.push(Op::AddTable { flags: self.desired.flags, comment: None });
        }
        ops.append(&mut gone);
        ops.extend(self.elements_gone());
        ops.extend(self.maps_emptied());
        ops.extend(self.stale_sets.iter().map(|name| Op::DeleteSet { name: name.clone() }));
        ops.extend(self.stale_chains.iter().map(|name| Op::DeleteChain { name: name.clone() }));

        let desired = self.desired_full;
        let new_sets = desired.sets.iter().filter(|(name, _)| !self.keeps_set(name));
        ops.extend(new_sets.map(|(name, set)| add_set(name, set)));
        for (name, chain) in &desired.chains {
            if !self.keeps_chain(name) {
                ops.push(add_chain(name, chain));
            } else if let Some(base) = self.new_policy(name) {
                ops.push(Op::SetPolicy { name: name.clone(), base });
            }
        }
        ops.extend(self.elements_added());
        ops.append(&mut added);
        ops
    }

    fn keeps_set(&self, name: &str) -> bool {
        self.live.sets.contains_key(name) && !self.stale_sets.contains(name)
    }

    fn keeps_chain(&self, name: &str) -> bool {
        self.live.chains.contains_key(name) && !self.stale_chains.contains(name)
    }

    /// The desired base of a chain that stays, if its policy changes.
    fn new_policy(&self, name: &str) -> Option<BaseChain> {
        let wanted = self.desired.chains.get(name)?.base.as_ref()?;
        let is = self.live.chains.get(name)?.base.as_ref()?;
        (is.policy != wanted.policy).then(|| wanted.clone())
    }

    fn rules(&self, gone: &mut Vec<Op>, added: &mut Vec<Op>) {
        let names: BTreeSet<&String> = self.live.chains.keys().chain(self.desired.chains.keys()).collect();
        for name in names.into_iter().filter(|name| !is_anonymous(name)) {
            // Ascending on both sides.
            let kept = self.kept_rules(name);
            for (index, rule) in rules_of(self.live_full, name).iter().enumerate() {
                if kept.binary_search_by_key(&index, |&(live, _)| live).is_err() {
                    gone.push(Op::DeleteRule { chain: name.clone(), index, rule: rule.clone() });
                }
            }
            for (index, rule) in rules_of(self.desired_full, name).iter().enumerate() {
                if let Err(next) = kept.binary_search_by_key(&index, |&(_, desired)| desired) {
                    // Insert before the next rule that stays; its handle marks the place.
                    added.push(add_rule(name, rule, kept.get(next).map(|&(live, _)| live)));
                }
            }
        }
    }

    /// The rules that are equal on both sides and refer to nothing that is deleted.
    fn kept_rules(&self, chain: &str) -> Vec<(usize, usize)> {
        if !self.keeps_chain(chain) {
            return Vec::new();
        }
        let (Some(live), Some(desired)) = (self.live.chains.get(chain), self.desired.chains.get(chain)) else {
            return Vec::new();
        };
        let common = common_rules(&live.rules, &desired.rules);
        let stays =
            |index: usize| live.rules.get(index).is_some_and(|rule| !rule.exprs.iter().any(|e| self.names_stale(e)));
        common.into_iter().filter(|&(index, _)| stays(index)).collect()
    }

    fn names_stale(&self, expr: &Expr) -> bool {
        graph::names(expr).into_iter().any(|name| match name {
            Name::Chain(chain) => self.stale_chains.contains(chain),
            Name::Set(set) => self.stale_sets.contains(set),
        })
    }

    fn leads_to_stale(&self, element: &Element) -> bool {
        element.verdict().and_then(Verdict::target).is_some_and(|chain| self.stale_chains.contains(chain))
    }

    /// Deletes elements. The kernel refuses to delete one that is missing, and an element that runs out may be by then:
    /// it is added first.
    fn elements_gone(&self) -> impl Iterator<Item = Op> {
        self.kept_sets().flat_map(|(name, live, desired)| {
            let gone = difference(&live.elements, &desired.elements, |element| self.leads_to_stale(element));
            let again = live.spec.is_timed().then(|| add_elements(name, live, gone.clone())).flatten();
            let deleted = (!gone.is_empty()).then(|| Op::DeleteElements {
                set: name.clone(),
                spec: live.spec.clone(),
                elements: gone,
            });
            again.into_iter().chain(deleted)
        })
    }

    /// Removes from maps that are deleted what leads to chains that are deleted. Linux 6.5 made the deletion of a map
    /// release its chains; before, and in stable kernels without that repair (5.15 of Ubuntu 22.04 as installed),
    /// they are in use until the transaction ends, and deleting them fails with `EBUSY`. Deleting an element releases
    /// its chain at once in every kernel.
    fn maps_emptied(&self) -> impl Iterator<Item = Op> {
        let stale = self.stale_sets.iter().filter_map(|name| Some((name, self.live_full.sets.get(name)?)));
        stale.filter_map(|(name, set)| {
            let listed = set.elements.listed().iter();
            let leading: Elements = listed.filter(|element| self.leads_to_stale(element)).cloned().collect();
            (!leading.is_empty()).then(|| Op::DeleteElements {
                set: name.clone(),
                spec: set.spec.clone(),
                elements: leading,
            })
        })
    }

    fn elements_added(&self) -> impl Iterator<Item = Op> {
        let fresh = self.desired_full.sets.iter().filter(|(name, _)| !self.keeps_set(name));
        let fresh = fresh.filter_map(|(name, set)| add_elements(name, set, set.canonical().elements));
        let grown = self.kept_sets().filter_map(|(name, live, desired)| {
            let added = difference(&desired.elements, &live.elements, |element| self.leads_to_stale(element));
            add_elements(name, desired, added)
        });
        fresh.chain(grown)
    }

    fn kept_sets(&self) -> impl Iterator<Item = (&String, &Set, &Set)> {
        self.desired.sets.iter().filter_map(|(name, desired)| {
            let live = self.live.sets.get(name).filter(|_| self.keeps_set(name))?;
            Some((name, live, desired))
        })
    }
}

/// Whether the kernel deletes the set only together with the rule that uses it. `meter` makes such sets.
fn goes_with_its_rule(set: &Set) -> bool {
    set.spec.flags.contains(SetFlags::ANONYMOUS)
}

/// Whether the kernel named the chain (`jump { ... }`) and deletes it only together with the rule that leads to it.
fn is_anonymous(chain: &str) -> bool {
    chain.starts_with("__chain")
}

fn rules_of<'a>(table: &'a Table, chain: &str) -> &'a [Rule] {
    table.chains.get(chain).map_or(&[], |chain| &chain.rules)
}

/// Whether a chain can become the other in place: only their policies and rules may differ.
fn can_become(live: &Chain, desired: &Chain) -> bool {
    let base = match (&live.base, &desired.base) {
        (None, None) => true,
        (Some(live), Some(desired)) => BaseChain { policy: desired.policy, ..live.clone() } == *desired,
        _ => false,
    };
    base && live.comment == desired.comment
}

/// The elements of `these` that `others` lacks, or for which `anyway` holds. Both are sorted.
fn difference(these: &Elements, others: &Elements, anyway: impl Fn(&Element) -> bool) -> Elements {
    // Packed elements have no values.
    if these.packed().is_some() {
        return these.without(others).into();
    }
    let is_new = |element: &Cow<'_, Element>| !others.contains(element) || anyway(element);
    these.iter().filter(is_new).map(Cow::into_owned).collect()
}

fn add_set(name: &str, set: &Set) -> Op {
    Op::AddSet { name: name.to_owned(), spec: set.spec.clone() }
}

fn add_elements(name: &str, set: &Set, elements: Elements) -> Option<Op> {
    (!elements.is_empty()).then(|| Op::AddElements { set: name.to_owned(), spec: set.spec.clone(), elements })
}

fn add_chain(name: &str, chain: &Chain) -> Op {
    Op::AddChain { name: name.to_owned(), base: chain.base.clone(), comment: chain.comment.clone() }
}

fn add_rule(chain: &str, rule: &Rule, before: Option<usize>) -> Op {
    Op::AddRule { chain: chain.to_owned(), rule: rule.clone(), before }
}
