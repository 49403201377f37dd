//! How a live table differs from the desired one, in words for people and programs.
//!
//! Where [`delta`](crate::delta) says what to send, this says what somebody did: a set that must be made anew because
//! its flags were changed is one change, although the rules that name it are made anew with it.

use crate::delta::common_rules;
use crate::render;
use crate::ruleset::{
    Chain, Element, ElementValue, Family, Rule, Set, SetSpec, Table, TableId, Verdict, split_origin,
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
    /// A chain, with all its rules when it is missing or foreign.
    Chain,
    /// A rule of a chain that is there.
    Rule,
    /// A set, elements and all when it is missing or foreign.
    Set,
    /// A map likewise.
    Map,
    /// An element of a set or map that is there.
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
        let header = |name: &str, chain: &Chain| {
            let header = render::chain_header(self.family(), name, chain.base.as_ref(), None);
            match chain.rules.len() {
                0 => header,
                1 => format!("{header} with 1 rule"),
                rules => format!("{header} with {rules} rules"),
            }
        };
        for name in names(&self.live.chains, &self.desired.chains) {
            let change = |op, text, was, comment: Option<&String>| Change {
                op,
                object: Object::Chain,
                name: name.clone(),
                text,
                was,
                origin: origin(comment),
            };
            match (self.live.chains.get(name), self.desired.chains.get(name)) {
                (Some(live), None) => {
                    changes.push(change(ChangeOp::Remove, header(name, live), None, live.comment.as_ref()));
                }
                (None, Some(desired)) => {
                    changes.push(change(ChangeOp::Add, header(name, desired), None, desired.comment.as_ref()));
                }
                (Some(live), Some(desired)) => {
                    let (is, wanted) = (live.canonical(), desired.canonical());
                    if is.base != wanted.base || is.comment != wanted.comment {
                        let text = |chain: &Chain| {
                            render::chain_header(self.family(), name, chain.base.as_ref(), chain.comment.as_deref())
                        };
                        let (text, was) = (text(&wanted), text(&is));
                        changes.push(change(ChangeOp::Change, text, Some(was), desired.comment.as_ref()));
                    }
                    self.rules(name, live, desired, changes);
                }
                (None, None) => {}
            }
        }
    }

    fn rules(&self, chain: &str, live: &Chain, desired: &Chain, changes: &mut Vec<Change>) {
        let (is, wanted) = (live.canonical().rules, desired.canonical().rules);
        if is == wanted {
            return;
        }
        let common = common_rules(&is, &wanted);
        let change = |op, rule: &Rule, was: Option<String>| Change {
            op,
            object: Object::Rule,
            name: chain.to_owned(),
            text: render::rule(self.family(), rule),
            was,
            origin: origin(rule.comment.as_ref()),
        };
        let kept_live: BTreeSet<usize> = common.iter().map(|&(index, _)| index).collect();
        let kept_desired: BTreeSet<usize> = common.iter().map(|&(_, index)| index).collect();
        let mut gone: Vec<usize> = (0..is.len()).filter(|index| !kept_live.contains(index)).collect();
        for index in (0..wanted.len()).filter(|index| !kept_desired.contains(index)) {
            // A rule that only stands elsewhere was moved; one with the same words was changed.
            let moved = gone.iter().position(|&other| is[other] == wanted[index]);
            let changed = || gone.iter().position(|&other| is[other].comment == wanted[index].comment);
            changes.push(match moved.or_else(changed) {
                Some(at) => {
                    let was = gone.remove(at);
                    let words = match moved {
                        Some(_) => format!("the same rule at place {} of the chain instead of {}", was + 1, index + 1),
                        None => render::rule(self.family(), &live.rules[was]),
                    };
                    change(ChangeOp::Change, &desired.rules[index], Some(words))
                }
                None => change(ChangeOp::Add, &desired.rules[index], None),
            });
        }
        changes.extend(gone.into_iter().map(|index| change(ChangeOp::Remove, &live.rules[index], None)));
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
            let header = |set: &Set| {
                let elements = set.elements.len();
                format!("{} with {elements} element{}", header(name, &set.spec), if elements == 1 { "" } else { "s" })
            };
            match (self.live.sets.get(name), self.desired.sets.get(name)) {
                (Some(live), None) => changes.push(change(ChangeOp::Remove, header(live), None, &live.spec)),
                (None, Some(desired)) => changes.push(change(ChangeOp::Add, header(desired), None, &desired.spec)),
                (Some(live), Some(desired)) => {
                    let (is, wanted) = (live.canonical(), desired.canonical());
                    if is.spec != wanted.spec {
                        let text = |spec: &SetSpec| self::header(name, spec);
                        let (text, was) = (text(&wanted.spec), text(&is.spec));
                        changes.push(change(ChangeOp::Change, text, Some(was), &desired.spec));
                    }
                    self.elements(name, &is, &wanted, desired.spec.comment.as_ref(), changes);
                }
                (None, None) => {}
            }
        }
    }

    /// A key on one side only was added or removed; one with another value was redirected.
    fn elements(&self, name: &str, live: &Set, desired: &Set, comment: Option<&String>, changes: &mut Vec<Change>) {
        let by_key = |set: &Set| -> BTreeMap<_, _> {
            set.elements.iter().map(|element| (element.key.clone(), element.clone())).collect()
        };
        let (is, wanted) = (by_key(live), by_key(desired));
        let text = |element: &Element| render::element(&desired.spec, element);
        for key in names(&is, &wanted) {
            let change = |op, element: &Element, was| Change {
                op,
                object: Object::Element,
                name: name.to_owned(),
                text: text(element),
                was,
                origin: self.leads_to(element).or_else(|| origin(comment)),
            };
            match (is.get(key), wanted.get(key)) {
                (Some(element), None) => changes.push(change(ChangeOp::Remove, element, None)),
                (None, Some(element)) => changes.push(change(ChangeOp::Add, element, None)),
                (Some(live), Some(desired)) if live != desired => {
                    changes.push(change(ChangeOp::Change, desired, Some(text(live))));
                }
                _ => {}
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

/// The differences like a unified diff: `-` stands in the kernel, `+` in the policy, under the chain or set they are in.
#[must_use]
pub fn unified(changes: &[Change], id: &TableId, desired: &Table, policy: &str) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut lines = vec![format!("--- kernel: {id}"), format!("+++ policy: {policy}")];
    let mut place = None;
    for change in changes {
        let here = (matches!(change.object, Object::Element | Object::Set | Object::Map), &change.name);
        if change.object != Object::Table && place != Some(here) {
            lines.push(format!("@@ {} @@", heading(change, desired)));
        }
        place = Some(here);
        let text = match change.object {
            Object::Element | Object::Other => format!("{} {}", change.object, change.text),
            _ => change.text.clone(),
        };
        match change.op {
            ChangeOp::Remove => lines.push(format!("-{text}")),
            ChangeOp::Add => lines.push(format!("+{text}")),
            ChangeOp::Change => {
                let was = change.was.as_deref().unwrap_or_default();
                let element = if change.object == Object::Element { "element " } else { "" };
                lines.push(format!("-{element}{was}"));
                lines.push(format!("+{text}"));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The place of a change: its chain or set, and what that is for.
fn heading(change: &Change, desired: &Table) -> String {
    let (kind, comment) = match change.object {
        Object::Table | Object::Chain | Object::Rule | Object::Other => {
            ("chain", desired.chains.get(&change.name).and_then(|chain| chain.comment.as_ref()))
        }
        Object::Set | Object::Map | Object::Element => {
            let set = desired.sets.get(&change.name);
            let kind = if set.is_some_and(|set| set.spec.value.is_some()) { "map" } else { "set" };
            (kind, set.and_then(|set| set.spec.comment.as_ref()))
        }
    };
    match (change.object, comment) {
        (Object::Other, _) => "not of the policy".to_owned(),
        (_, Some(comment)) => {
            format!("{kind} {}: {}", change.name, comment.strip_prefix("palisade: ").unwrap_or(comment))
        }
        (_, None) => format!("{kind} {}: not of the policy", change.name),
    }
}

fn names<'a, K: Ord, V>(live: &'a BTreeMap<K, V>, desired: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    live.keys().chain(desired.keys()).collect()
}

fn header(name: &str, spec: &SetSpec) -> String {
    render::set_header(name, spec)
}

fn flag_words(flags: u32) -> String {
    match flags {
        0 => "in force".to_owned(),
        1 => "dormant, no chain of it sees a packet".to_owned(),
        other => format!("flags {other:#x}"),
    }
}

/// `policy.yaml:17` of a comment that ends so.
fn origin(comment: Option<&String>) -> Option<String> {
    let (_, origin) = split_origin(comment?)?;
    let (_, line) = origin.rsplit_once(':')?;
    line.bytes().all(|byte| byte.is_ascii_digit()).then(|| origin.to_owned())
}
