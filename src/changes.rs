//! How a live table differs from the desired one, in words for people and programs.
//!
//! Where [`delta`](crate::delta) says what to send, this says what somebody did: a set that must be made anew because
//! its flags were changed is one change, although the rules that name it are made anew with it.

use crate::delta::common_rules;
use crate::render;
use crate::ruleset::{
    Chain, Element, ElementValue, Elements, Family, Rule, Set, SetSpec, Table, TableId, Verdict, split_origin,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What `apply` would do.
    pub op: ChangeOp,
    /// What kind of thing differs.
    pub object: Object,
    /// The name of it: a rule's is its chain's, an element's its set's.
    pub name: String,
    /// It as nft text: as the policy wants it, or for `remove` as it is in the kernel.
    pub text: String,
    /// For `change`: as it is in the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The policy line that it comes from, `policy.yaml:17`; `None` for what no policy line made.
    pub origin: Option<String>,
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
    /// A chain. The rules of one that is missing or foreign follow.
    Chain,
    /// A rule.
    Rule,
    /// A set. The elements of one that is missing or foreign follow.
    Set,
    /// A map likewise.
    Map,
    /// An element of a set or map.
    Element,
    /// A stateful object or flowtable, which palisade never makes.
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

/// All differences that count ([`Table::canonical`]), chain by chain and set by set. Empty when the two are in sync.
#[must_use]
pub fn changes(id: &TableId, live: Option<&Table>, desired: Option<&Table>) -> Vec<Change> {
    let (live, desired) = match (live, desired) {
        (None, None) => return Vec::new(),
        (Some(live), Some(desired)) => (live, desired),
        (live, desired) => {
            let op = if live.is_none() { ChangeOp::Add } else { ChangeOp::Remove };
            let (chains, sets) = live.or(desired).map_or((0, 0), |table| (table.chains.len(), table.sets.len()));
            let text = format!("{id}: {chains} chains, {sets} sets and maps");
            return vec![Change { op, object: Object::Table, name: id.name.clone(), text, was: None, origin: None }];
        }
    };
    let comparison = Comparison { id, live, desired };
    let mut changes = comparison.table();
    comparison.chains(&mut changes);
    comparison.sets(&mut changes);
    changes
}

struct Comparison<'a> {
    id: &'a TableId,
    live: &'a Table,
    desired: &'a Table,
}

impl Comparison<'_> {
    fn family(&self) -> Family {
        self.id.family
    }

    fn table(&self) -> Vec<Change> {
        let change = |op, object, name: &str, text: String, was| Change {
            op,
            object,
            name: name.to_owned(),
            text,
            was,
            origin: None,
        };
        let mut changes = Vec::new();
        if self.live.flags != self.desired.flags {
            let text = |flags| format!("{}: {}", self.id, flag_words(flags));
            changes.push(change(
                ChangeOp::Change,
                Object::Table,
                &self.id.name,
                text(self.desired.flags),
                Some(text(self.live.flags)),
            ));
        }
        for other in self.live.others.difference(&self.desired.others) {
            changes.push(change(ChangeOp::Remove, Object::Other, other, other.clone(), None));
        }
        changes
    }

    fn chains(&self, changes: &mut Vec<Change>) {
        let nothing = Chain::default();
        for name in names(&self.live.chains, &self.desired.chains) {
            let header = |chain: &Chain, comment| {
                render::chain_header(
                    self.family(),
                    name,
                    chain.base.as_ref(),
                    chain.comment.as_deref().filter(|_| comment),
                )
            };
            let change = |op, text, was, chain: &Chain| Change {
                op,
                object: Object::Chain,
                name: name.clone(),
                text,
                was,
                origin: origin(chain.comment.as_ref()),
            };
            let (live, desired) = (self.live.chains.get(name), self.desired.chains.get(name));
            match (live, desired) {
                (Some(live), None) => changes.push(change(ChangeOp::Remove, header(live, true), None, live)),
                (None, Some(desired)) => changes.push(change(ChangeOp::Add, header(desired, false), None, desired)),
                (Some(live), Some(desired)) => {
                    let (is, wanted) = (live.canonical(), desired.canonical());
                    if is.base != wanted.base || is.comment != wanted.comment {
                        // A comment is shown only where it is the difference.
                        let comment = is.comment != wanted.comment;
                        let (text, was) = (header(&wanted, comment), header(&is, comment));
                        changes.push(change(ChangeOp::Change, text, Some(was), desired));
                    }
                }
                (None, None) => {}
            }
            self.rules(name, live.unwrap_or(&nothing), desired.unwrap_or(&nothing), changes);
        }
    }

    /// In the order of the chain: between two rules that stay, first what goes, then what comes.
    fn rules(&self, chain: &str, live: &Chain, desired: &Chain, changes: &mut Vec<Change>) {
        let (is, wanted) = (live.canonical().rules, desired.canonical().rules);
        let change = |op, rule: &Rule, was: Option<String>| Change {
            op,
            object: Object::Rule,
            name: chain.to_owned(),
            text: render::rule(self.family(), rule),
            was,
            origin: origin(rule.comment.as_ref()),
        };
        let common = common_rules(&is, &wanted);
        let kept_live: BTreeSet<usize> = common.iter().map(|&(index, _)| index).collect();
        let kept_desired: BTreeSet<usize> = common.iter().map(|&(_, index)| index).collect();
        let mut gone: Vec<usize> = (0..is.len()).filter(|index| !kept_live.contains(index)).collect();
        let mut pairs = BTreeMap::new();
        let new: Vec<usize> = (0..wanted.len()).filter(|index| !kept_desired.contains(index)).collect();
        // A rule that only stands elsewhere was moved; one with the same words, or the same effect, was changed.
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
            let lost = gone.iter().filter(|index| (begin.0..end_live).contains(*index));
            changes.extend(lost.map(|&index| change(ChangeOp::Remove, &live.rules[index], None)));
            for (index, rule) in desired.rules.iter().enumerate().take(end_desired).skip(begin.1) {
                changes.push(match pairs.get(&index) {
                    None => change(ChangeOp::Add, rule, None),
                    Some(&was) if is[was] == wanted[index] => {
                        let words =
                            format!("the same rule at place {} of the chain instead of {}", was + 1, index + 1);
                        change(ChangeOp::Change, rule, Some(words))
                    }
                    Some(&was) => change(ChangeOp::Change, rule, Some(render::rule(self.family(), &live.rules[was]))),
                });
            }
            begin = (end_live + 1, end_desired + 1);
        }
    }

    fn sets(&self, changes: &mut Vec<Change>) {
        for name in names(&self.live.sets, &self.desired.sets) {
            let change = |op, text, was, spec: &SetSpec| Change {
                op,
                object: if spec.value.is_some() { Object::Map } else { Object::Set },
                name: name.clone(),
                text,
                was,
                origin: origin(spec.comment.as_ref()),
            };
            let header = |spec: &SetSpec, comment| {
                let comment = spec.comment.clone().filter(|_| comment);
                render::set_header(name, &SetSpec { comment, ..spec.clone() })
            };
            let empty = |set: &Set| Set { spec: set.spec.clone(), elements: Elements::none() };
            match (self.live.sets.get(name), self.desired.sets.get(name)) {
                (Some(live), None) => {
                    changes.push(change(ChangeOp::Remove, header(&live.spec, true), None, &live.spec));
                    self.elements(name, &live.canonical(), &empty(live), changes);
                }
                (None, Some(desired)) => {
                    changes.push(change(ChangeOp::Add, header(&desired.spec, false), None, &desired.spec));
                    self.elements(name, &empty(desired), &desired.canonical(), changes);
                }
                (Some(live), Some(desired)) => {
                    let (is, wanted) = (live.canonical(), desired.canonical());
                    if is.spec != wanted.spec {
                        // A comment is shown only where it is the difference.
                        let comment = is.spec.comment != wanted.spec.comment;
                        let (text, was) = (header(&wanted.spec, comment), header(&is.spec, comment));
                        changes.push(change(ChangeOp::Change, text, Some(was), &desired.spec));
                    }
                    let wanted = Set { spec: desired.spec.clone(), ..wanted };
                    self.elements(name, &is, &wanted, changes);
                }
                (None, None) => {}
            }
        }
    }

    /// A key on one side only was added or removed; one with another value was redirected. First what goes.
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
        let change = |op, spec: &SetSpec, element: &Element, was| Change {
            op,
            object: Object::Element,
            name: name.to_owned(),
            text: render::element(spec, element),
            was,
            origin: self.leads_to(element).or_else(|| origin(desired.spec.comment.as_ref())),
        };
        let gone = is.iter().filter(|(key, _)| !comparable || !wanted.contains_key(key));
        changes.extend(gone.map(|(_, element)| change(ChangeOp::Remove, &live.spec, element, None)));
        for (key, element) in &wanted {
            match is.get(key).filter(|_| comparable) {
                None => changes.push(change(ChangeOp::Add, &desired.spec, element, None)),
                Some(was) => {
                    let was = render::element(&live.spec, was);
                    changes.push(change(ChangeOp::Change, &desired.spec, element, Some(was)));
                }
            }
        }
    }

    /// The policy line of the chain that a verdict map's element leads to.
    fn leads_to(&self, element: &Element) -> Option<String> {
        match element.value.as_deref()? {
            ElementValue::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => {
                origin(self.desired.chains.get(chain)?.comment.as_ref())
            }
            _ => None,
        }
    }
}

/// How many elements of a set are shown before the rest is only counted.
const SHOWN_ELEMENTS: usize = 50;

/// The differences like a unified diff: `-` stands in the kernel, `+` in the policy, under the chain or set they are in.
///
/// Of each set at most 50 elements are shown, and then how many more differ.
#[must_use]
pub fn unified(changes: &[Change], id: &TableId, desired: &Table, policy: &str) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut lines = vec![format!("--- kernel: {id}"), format!("+++ policy: {policy}")];
    let of_a_set = |change: &Change| matches!(change.object, Object::Element | Object::Set | Object::Map);
    for group in changes.chunk_by(|a, b| (of_a_set(a), &a.name) == (of_a_set(b), &b.name)) {
        let Some(first) = group.first() else { continue };
        if first.object != Object::Table {
            lines.push(format!("@@ {} @@", heading(first, desired)));
        }
        let mut elements = 0;
        for change in group {
            elements += usize::from(change.object == Object::Element);
            if elements <= SHOWN_ELEMENTS {
                lines_of(change, &mut lines);
            }
        }
        if elements > SHOWN_ELEMENTS {
            lines.push(format!(" and {} more elements, see --json", elements - SHOWN_ELEMENTS));
        }
        if group.iter().any(|change| is_beyond_us(&change.text) || change.was.as_deref().is_some_and(is_beyond_us)) {
            let place = place(first, desired);
            lines.push(format!(
                " what is unknown here is shown by: nft list {place} {} {} {}",
                id.family, id.name, first.name
            ));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The line or two of a change.
fn lines_of(change: &Change, lines: &mut Vec<String>) {
    let noun = match change.object {
        Object::Element | Object::Other => format!("{} ", change.object),
        _ => String::new(),
    };
    if let Some(was) = &change.was {
        lines.push(format!("-{noun}{was}"));
    }
    let sign = if change.op == ChangeOp::Remove { '-' } else { '+' };
    lines.push(format!("{sign}{noun}{}", change.text));
}

/// Whether a text has a part for which there are no words.
fn is_beyond_us(text: &str) -> bool {
    text.contains("<unknown ")
}

/// The place of a change: its chain or set, and what that is for.
fn heading(change: &Change, desired: &Table) -> String {
    if change.object == Object::Other {
        return "not of the policy".to_owned();
    }
    let comment = match change.object {
        Object::Set | Object::Map | Object::Element => {
            desired.sets.get(&change.name).and_then(|set| set.spec.comment.as_ref())
        }
        _ => desired.chains.get(&change.name).and_then(|chain| chain.comment.as_ref()),
    };
    let comment =
        comment.map_or("not of the policy", |comment| comment.strip_prefix("palisade: ").unwrap_or(comment));
    format!("{} {}: {comment}", place(change, desired), change.name)
}

/// What nft calls the thing that a change is in.
fn place(change: &Change, desired: &Table) -> &'static str {
    match change.object {
        Object::Set | Object::Map | Object::Element => {
            let set = desired.sets.get(&change.name);
            let is_map = set.map_or(change.object == Object::Map, |set| set.spec.value.is_some());
            if is_map { "map" } else { "set" }
        }
        Object::Table | Object::Chain | Object::Rule | Object::Other => "chain",
    }
}

fn names<'a, K: Ord, V>(live: &'a BTreeMap<K, V>, desired: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    live.keys().chain(desired.keys()).collect()
}

fn flag_words(flags: u32) -> String {
    match flags {
        0 => "in force".to_owned(),
        1 => "dormant, no chain of it sees a packet".to_owned(),
        2 => "owned by another program, which alone can change it".to_owned(),
        other => format!("flags {other:#x}"),
    }
}

/// `policy.yaml:17` of a comment that ends so.
fn origin(comment: Option<&String>) -> Option<String> {
    let (_, origin) = split_origin(comment?)?;
    let (_, line) = origin.rsplit_once(':')?;
    line.bytes().all(|byte| byte.is_ascii_digit()).then(|| origin.to_owned())
}
