//! The differences between two tables as text, for people and for programs.

use super::{chain_header, element, gaps, rule, set_header};
use crate::delta::{Change, ChangeOp, Object, Thing};
use crate::ruleset::provenance::without_prefix;
use crate::ruleset::{SetSpec, Table, TableFlags, TableId};
use serde::Serialize;

/// A difference as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeText {
    /// What `apply` would do.
    pub op: ChangeOp,
    /// What kind of thing differs.
    pub object: Object,
    /// Its name; for a rule the name of its chain, for an element that of its set.
    pub name: String,
    /// The thing as nft text: as the policy wants it or, for `remove`, as it is in the kernel.
    pub text: String,
    /// For `change`, the thing as it is in the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The policy line that the thing comes from, `policy.yaml:17`; `None` if it comes from no line.
    pub origin: Option<String>,
}

impl ChangeText {
    /// The text of a difference in a table with that name.
    #[must_use]
    pub fn new(id: &TableId, change: &Change) -> Self {
        // Show a comment only if it is the difference, or is removed.
        let comment = match (&change.was, &change.is) {
            (Some(was), Some(is)) => comment_of(was) != comment_of(is),
            (was, _) => was.is_some(),
        };
        let text = |thing: &Thing| text(id, &change.name, thing, comment);
        let (was, is) = (change.was.as_ref().map(text), change.is.as_ref().map(text));
        let (text, was) = match is {
            Some(is) => (is, was),
            None => (was.unwrap_or_default(), None),
        };
        Self {
            op: change.op,
            object: change.object,
            name: change.name.clone(),
            text,
            was,
            origin: change.origin.clone(),
        }
    }
}

/// The differences of a table as text.
#[must_use]
pub fn shown(id: &TableId, changes: &[Change]) -> Vec<ChangeText> {
    changes.iter().map(|change| ChangeText::new(id, change)).collect()
}

/// Whether the text of a difference is complete: nothing in it is in angle brackets because nft can't express it.
#[must_use]
pub fn is_complete(id: &TableId, change: &Change) -> bool {
    [&change.was, &change.is].into_iter().flatten().all(|thing| match thing {
        Thing::Rule(rule) => !gaps::in_rule(id.family, rule),
        Thing::Set(spec) => !gaps::in_set(spec),
        Thing::Element { element, .. } => !gaps::in_element(element),
        Thing::Table { .. } | Thing::Flags(_) | Thing::Chain { .. } | Thing::Place { .. } | Thing::Other(_) => true,
    })
}

fn comment_of(thing: &Thing) -> Option<&String> {
    match thing {
        Thing::Chain { comment, .. } => comment.as_ref(),
        Thing::Set(spec) => spec.comment.as_ref(),
        _ => None,
    }
}

/// The text of a thing with that name, including its comment if `comment` is true.
fn text(id: &TableId, name: &str, thing: &Thing, comment: bool) -> String {
    match thing {
        Thing::Table { chains, sets } => format!("{id}: {chains} chains, {sets} sets and maps"),
        Thing::Flags(flags) => format!("{id}: {}", flag_words(*flags)),
        Thing::Chain { base, comment: of_chain } => {
            chain_header(id.family, name, base.as_ref(), of_chain.as_deref().filter(|_| comment))
        }
        Thing::Rule(one) => rule(id.family, one),
        Thing::Place { was, is } => format!("the same rule at place {was} of the chain instead of {is}"),
        Thing::Set(spec) => {
            let comment = spec.comment.clone().filter(|_| comment);
            set_header(name, &SetSpec { comment, ..spec.clone() })
        }
        Thing::Element { spec, element: one } => element(spec, one),
        Thing::Other(what) => what.clone(),
    }
}

/// How many elements of a set are shown. The rest is only counted.
const SHOWN_ELEMENTS: usize = 50;

/// The differences as a unified diff under their chains and sets. `sides` names what has the lines with `-` and what has
/// those with `+`: `kernel: table inet palisade` and `policy: policy.yaml`.
///
/// Shows at most 50 elements of each set, then the number of further ones that differ.
#[must_use]
pub fn unified(changes: &[Change], id: &TableId, desired: &Table, sides: [&str; 2]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let [before, after] = sides;
    let mut lines = vec![format!("--- {before}"), format!("+++ {after}")];
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
                lines_of(id, change, &mut lines);
            }
        }
        if elements > SHOWN_ELEMENTS {
            lines.push(format!(" and {} more elements, see --json", elements - SHOWN_ELEMENTS));
        }
        if !group.iter().all(|change| is_complete(id, change)) {
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

/// Adds the one or two lines of a change.
fn lines_of(id: &TableId, change: &Change, lines: &mut Vec<String>) {
    let shown = ChangeText::new(id, change);
    let noun = match change.object {
        Object::Element | Object::Other => format!("{} ", change.object),
        _ => String::new(),
    };
    if let Some(was) = shown.was {
        lines.push(format!("-{noun}{was}"));
    }
    let sign = if change.op == ChangeOp::Remove { '-' } else { '+' };
    lines.push(format!("{sign}{noun}{}", shown.text));
}

/// The heading of a change: its chain or set, with the comment on it.
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
    let comment = comment.map_or("not of the policy", |comment| without_prefix(comment));
    format!("{} {}: {comment}", place(change, desired), change.name)
}

/// nft's noun for the place of a change.
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

fn flag_words(flags: TableFlags) -> String {
    match flags {
        flags if flags.is_empty() => "in force".to_owned(),
        TableFlags::DORMANT => "dormant, no chain of it sees a packet".to_owned(),
        TableFlags::OWNER => "owned by another program, which alone can change it".to_owned(),
        other => format!("flags {:#x}", other.0),
    }
}
