//! The differences between a live table and the desired one, one value per thing that differs.
//!
//! The rest of this room says what to send; this says what somebody changed. If a set has to be recreated because its
//! flags were changed, that is one change, although the rules that refer to the set are recreated with it.
//! [`render`](crate::render::changes) puts the changes into words.

use super::{common_rules, lives};
use crate::ruleset::{
    BaseChain, Chain, Element, Elements, Provenance, Rule, Set, SetSpec, Table, TableFlags, TableId,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What `apply` would do.
    pub op: ChangeOp,
    /// What kind of thing differs.
    pub object: Object,
    /// Its name; for a rule the name of its chain, for an element that of its set.
    pub name: String,
    /// The thing in the kernel; `None` if it is to be added.
    pub was: Option<Thing>,
    /// The thing that the policy wants; `None` if it is to be removed.
    pub is: Option<Thing>,
    /// The policy line that the thing comes from, `policy.yaml:17`; `None` if it comes from no line.
    pub origin: Option<String>,
}

/// A thing in a table, as far as a difference needs to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A whole table.
    Table {
        /// How many chains it has.
        chains: usize,
        /// How many sets and maps it has.
        sets: usize,
    },
    /// A table's flags.
    Flags(TableFlags),
    /// A chain without its rules.
    Chain {
        /// Its attachment to a hook, if any.
        base: Option<BaseChain>,
        /// Its comment.
        comment: Option<String>,
    },
    /// A rule.
    Rule(Rule),
    /// The same rule at another place in its chain. Places are counted from 1.
    Place {
        /// The place in the kernel.
        was: usize,
        /// The place that the policy wants.
        is: usize,
    },
    /// A set or map without its elements.
    Set(SetSpec),
    /// An element.
    Element {
        /// The definition of its set.
        spec: Arc<SetSpec>,
        /// The element.
        element: Element,
    },
    /// A stateful object or flowtable, by its kind and name.
    Other(String),
}

/// What `apply` would do to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeOp {
    /// Missing in the kernel.
    Add,
    /// In the kernel, not in the policy.
    Remove,
    /// In both, and different.
    Change,
}

/// A kind of thing in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// The table itself.
    Table,
    /// A chain. If it is missing or foreign, its rules follow.
    Chain,
    /// A rule.
    Rule,
    /// A set. If it is missing or foreign, its elements follow.
    Set,
    /// A map. If it is missing or foreign, its elements follow.
    Map,
    /// An element of a set or map.
    Element,
    /// A stateful object or flowtable. palisade never creates these.
    Other,
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Chain => "chain",
            Self::Rule => "rule",
            Self::Set => "set",
            Self::Map => "map",
            Self::Element => "element",
            Self::Other => "object",
        })
    }
}

/// All differences that count ([`Table::canonical`]), chain by chain and set by set. Empty if the tables are in sync.
#[must_use]
pub fn changes(id: &TableId, live: Option<&Table>, desired: Option<&Table>) -> Vec<Change> {
    let whole = |table: &Table| Thing::Table { chains: table.chains.len(), sets: table.sets.len() };
    let (live, desired) = match (live, desired) {
        (Some(live), Some(desired)) => (live, desired),
        (live, desired) => {
            let change = changed(Object::Table, &id.name, live.map(whole), desired.map(whole), None);
            return change.into_iter().collect();
        }
    };
    let comparison = Comparison { id, live, desired };
    let mut changes = comparison.table();
    comparison.chains(&mut changes);
    comparison.sets(&mut changes);
    changes
}

/// The change of one thing; `None` if neither side has it.
fn changed(
    object: Object,
    name: &str,
    was: Option<Thing>,
    is: Option<Thing>,
    comment: Option<&String>,
) -> Option<Change> {
    let op = match (&was, &is) {
        (None, None) => return None,
        (None, Some(_)) => ChangeOp::Add,
        (Some(_), None) => ChangeOp::Remove,
        (Some(_), Some(_)) => ChangeOp::Change,
    };
    Some(Change { op, object, name: name.to_owned(), was, is, origin: origin(comment) })
}

struct Comparison<'a> {
    id: &'a TableId,
    live: &'a Table,
    desired: &'a Table,
}

impl Comparison<'_> {
    fn table(&self) -> Vec<Change> {
        let flags = |table: &Table| Some(Thing::Flags(table.flags));
        let differ = self.live.flags != self.desired.flags;
        let (was, is) = (flags(self.live).filter(|_| differ), flags(self.desired).filter(|_| differ));
        let others = self.live.others.difference(&self.desired.others);
        let others =
            others.filter_map(|other| changed(Object::Other, other, Some(Thing::Other(other.clone())), None, None));
        changed(Object::Table, &self.id.name, was, is, None).into_iter().chain(others).collect()
    }

    fn chains(&self, changes: &mut Vec<Change>) {
        let nothing = Chain::default();
        for name in names(&self.live.chains, &self.desired.chains) {
            let thing = |chain: Chain| Thing::Chain { base: chain.base, comment: chain.comment };
            let (live, desired) = (self.live.chains.get(name), self.desired.chains.get(name));
            let comment = desired.or(live).and_then(|chain| chain.comment.as_ref());
            let (was, is) = match (live, desired) {
                (Some(live), Some(desired)) => {
                    let (was, is) = (live.canonical(), desired.canonical());
                    if was.base != is.base || was.comment != is.comment {
                        (Some(thing(was)), Some(thing(is)))
                    } else {
                        (None, None)
                    }
                }
                (live, desired) => (live.cloned().map(thing), desired.cloned().map(thing)),
            };
            changes.extend(changed(Object::Chain, name, was, is, comment));
            self.rules(name, live.unwrap_or(&nothing), desired.unwrap_or(&nothing), changes);
        }
    }

    /// In the order of the chain. Between two rules that stay, removals come before additions.
    fn rules(&self, chain: &str, live: &Chain, desired: &Chain, changes: &mut Vec<Change>) {
        let (is, wanted) = (live.canonical().rules, desired.canonical().rules);
        let thing = |rule: &Rule| Some(Thing::Rule(rule.clone()));
        let common = common_rules(&is, &wanted);
        let kept_live: BTreeSet<usize> = common.iter().map(|&(index, _)| index).collect();
        let kept_desired: BTreeSet<usize> = common.iter().map(|&(_, index)| index).collect();
        let mut gone: Vec<usize> = (0..is.len()).filter(|index| !kept_live.contains(index)).collect();
        let mut pairs = BTreeMap::new();
        let new: Vec<usize> = (0..wanted.len()).filter(|index| !kept_desired.contains(index)).collect();
        // A rule at another place was moved. A rule with the same comment, or the same effect, was changed.
        let alike: [fn(&Rule, &Rule) -> bool; 3] =
            [|a, b| a == b, |a, b| a.comment == b.comment, |a, b| a.exprs == b.exprs];
        for alike in alike {
            for &index in &new {
                if !pairs.contains_key(&index)
                    && let Some(at) = gone.iter().position(|&other| alike(&is[other], &wanted[index]))
                {
                    pairs.insert(index, gone.remove(at));
                }
            }
        }
        let ends = common.iter().copied().chain([(is.len(), wanted.len())]);
        let mut begin = (0, 0);
        for (end_live, end_desired) in ends {
            for &index in gone.iter().filter(|index| (begin.0..end_live).contains(*index)) {
                let rule = &live.rules[index];
                changes.extend(changed(Object::Rule, chain, thing(rule), None, rule.comment.as_ref()));
            }
            for (index, rule) in desired.rules.iter().enumerate().take(end_desired).skip(begin.1) {
                let was = match pairs.get(&index) {
                    None => None,
                    Some(&was) if is[was] == wanted[index] => Some(Thing::Place { was: was + 1, is: index + 1 }),
                    Some(&was) => thing(&live.rules[was]),
                };
                changes.extend(changed(Object::Rule, chain, was, thing(rule), rule.comment.as_ref()));
            }
            begin = (end_live + 1, end_desired + 1);
        }
    }

    fn sets(&self, changes: &mut Vec<Change>) {
        for name in names(&self.live.sets, &self.desired.sets) {
            let (live, desired) = (self.live.sets.get(name), self.desired.sets.get(name));
            let Some(Set { spec, .. }) = desired.or(live) else { continue };
            let object = if spec.value.is_some() { Object::Map } else { Object::Set };
            let thing = |set: &Set| Some(Thing::Set(set.spec.clone()));
            let changed = |was, is| changed(object, name, was, is, spec.comment.as_ref());
            let empty = |set: &Set| Set { spec: set.spec.clone(), elements: Elements::none() };
            match (live, desired) {
                (Some(live), None) => {
                    changes.extend(changed(thing(live), None));
                    self.elements(name, &live.canonical(), &empty(live), changes);
                }
                (None, Some(desired)) => {
                    changes.extend(changed(None, thing(desired)));
                    self.elements(name, &empty(desired), &desired.canonical(), changes);
                }
                (Some(live), Some(desired)) => {
                    let (mut was, mut is) = (live.canonical(), desired.canonical());
                    lives::settle_set(&mut was, &mut is);
                    lives::without_news(&mut was, &is);
                    if was.spec != is.spec {
                        changes.extend(changed(thing(&was), thing(&is)));
                    }
                    // Show elements by the policy's definition of the set.
                    let is = Set { spec: desired.spec.clone(), ..is };
                    self.elements(name, &was, &is, changes);
                }
                (None, None) => {}
            }
        }
    }

    /// A key on one side only was added or removed; a key with another value was redirected. Removals come first.
    fn elements(&self, name: &str, live: &Set, desired: &Set, changes: &mut Vec<Change>) {
        let comparable = (live.spec.key, live.spec.value) == (desired.spec.key, desired.spec.value);
        let alone = |these: &Set, others: &Set| -> BTreeMap<_, _> {
            let alone = if comparable {
                these.elements.without(&others.elements)
            } else {
                these.elements.clone().into_list()
            };
            alone.into_iter().map(|element| (element.key.clone(), element)).collect()
        };
        let (is, wanted) = (alone(live, desired), alone(desired, live));
        let [live_spec, desired_spec] = [live, desired].map(|set| Arc::new(set.spec.clone()));
        let thing = |spec: &Arc<SetSpec>, element: &Element| {
            Some(Thing::Element { spec: Arc::clone(spec), element: element.clone() })
        };
        let mut push = |was, is, element: &Element| {
            let change = changed(Object::Element, name, was, is, desired.spec.comment.as_ref());
            changes.extend(
                change.map(|change| Change { origin: self.leads_to(element).or(change.origin.clone()), ..change }),
            );
        };
        let gone = is.iter().filter(|(key, _)| !comparable || !wanted.contains_key(key));
        for (_, element) in gone {
            push(thing(&live_spec, element), None, element);
        }
        for (key, element) in &wanted {
            let was = is.get(key).filter(|_| comparable).and_then(|was| thing(&live_spec, was));
            push(was, thing(&desired_spec, element), element);
        }
    }

    /// The policy line of the chain that a verdict map's element leads to.
    fn leads_to(&self, element: &Element) -> Option<String> {
        origin(self.desired.chains.get(element.verdict()?.target()?)?.comment.as_ref())
    }
}

fn names<'a, K: Ord, V>(live: &'a BTreeMap<K, V>, desired: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    live.keys().chain(desired.keys()).collect()
}

/// The origin at the end of a comment, such as `policy.yaml:17`.
fn origin(comment: Option<&String>) -> Option<String> {
    let Provenance { origin, .. } = Provenance::read(comment?)?;
    origin.line().map(|_| origin.to_string())
}
