//! Trees without places, and what is typed on a command line as YAML.

use super::super::diagnostic::{Diagnostic, quote};
use super::super::lines::is_break;
use super::super::yaml::{Node, Value, read};
use crate::printable::is_invisible;

/// A tree without places. A mapping without entries counts as empty: a section whose lines are gone is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Empty,
    Text(String),
    List(Vec<Self>),
    Mapping(Vec<(Self, Self)>),
}

impl Plain {
    pub(super) fn of(node: &Node) -> Self {
        match &node.value {
            Value::Empty => Self::Empty,
            Value::Text(text) => Self::Text(text.clone()),
            Value::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Mapping(entries) if entries.is_empty() => Self::Empty,
            Value::Mapping(entries) => {
                Self::Mapping(entries.iter().map(|(key, value)| (Self::of(key), Self::of(value))).collect())
            }
        }
    }

    /// The peers of a group: a list, or a single one in its place.
    pub(super) fn peers(node: &Node) -> Vec<Self> {
        match Self::of(node) {
            Self::Empty => Vec::new(),
            Self::List(peers) => peers,
            one => vec![one],
        }
    }

    /// A word.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Empty | Self::List(_) | Self::Mapping(_) => None,
        }
    }

    /// Sets an entry of a section, or removes it. New ones are the last.
    pub(super) fn set(&mut self, section: &str, name: &str, value: Option<Self>) {
        let Some(entries) = self.entries() else { return };
        let at = entries.iter().position(|(key, _)| key.text() == Some(section)).unwrap_or_else(|| {
            entries.push((Self::Text(section.to_owned()), Self::Empty));
            entries.len() - 1
        });
        let Some((_, of)) = entries.get_mut(at) else { return };
        let Some(named) = of.entries() else { return };
        match (named.iter().position(|(key, _)| key.text() == Some(name)), value) {
            (Some(at), Some(value)) => named.iter_mut().skip(at).take(1).for_each(|(_, old)| *old = value.clone()),
            (Some(at), None) => drop(named.remove(at)),
            (None, Some(value)) => named.push((Self::Text(name.to_owned()), value)),
            (None, None) => {}
        }
        if named.is_empty() {
            *of = Self::Empty;
        }
    }

    /// The entries of a mapping. Nothing becomes one.
    fn entries(&mut self) -> Option<&mut Vec<(Self, Self)>> {
        if *self == Self::Empty {
            *self = Self::Mapping(Vec::new());
        }
        match self {
            Self::Mapping(entries) => Some(entries),
            Self::Empty | Self::Text(_) | Self::List(_) => None,
        }
    }
}

/// An argument as it is written in a policy, and what it is: a word, quoted if necessary, or a peer in braces.
///
/// # Errors
/// What no policy can contain.
pub(super) fn item(typed: &str) -> Result<(String, Plain), Box<Diagnostic>> {
    let refused = || Box::new(Diagnostic::general(format!("{} can't stand in a policy", quote(typed))));
    if typed.is_empty() || typed.contains(|c: char| is_break(c) || is_invisible(c)) {
        return Err(refused());
    }
    if typed.starts_with('{') {
        let node = read(typed)?.filter(|node| matches!(node.value, Value::Mapping(_)));
        return node.map(|node| (typed.to_owned(), Plain::of(&node))).ok_or_else(refused);
    }
    let is_plain = typed.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !typed.eq_ignore_ascii_case("null")
        && typed.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    match typed {
        _ if is_plain => Ok((typed.to_owned(), Plain::Text(typed.to_owned()))),
        _ if typed.contains(['"', '\\']) => Err(refused()),
        _ => Ok((format!("\"{typed}\""), Plain::Text(typed.to_owned()))),
    }
}

/// Several arguments: a single one stands alone, more are a list.
///
/// # Errors
/// As [`item`].
pub(super) fn items(typed: &[String]) -> Result<(String, Plain), Box<Diagnostic>> {
    let all: Vec<(String, Plain)> = typed.iter().map(|typed| item(typed)).collect::<Result<_, _>>()?;
    match <[_; 1]>::try_from(all) {
        Ok([one]) => Ok(one),
        Err(all) => {
            let (texts, plain): (Vec<String>, Vec<Plain>) = all.into_iter().unzip();
            Ok((format!("[{}]", texts.join(", ")), Plain::List(plain)))
        }
    }
}
