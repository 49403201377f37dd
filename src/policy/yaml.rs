//! YAML as a tree in which every node knows its place.
//!
//! The whole tree is read before anything is decoded, so that all problems of a file are reported at once; a serde
//! reader stops at the first. Scalars keep the text that the author wrote: `22/tcp`, `0x10`, `off` and `1.1.1.1` are
//! neither numbers nor booleans here.

use super::diagnostic::{Diagnostic, Span, quote};
use super::place::{MAX_DEPTH, MAX_NODES, span_of};
use super::syntax;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, NonFiniteFloatPolicy, Options, Spanned};

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its place; for an alias, the place of its anchor.
    pub span: Span,
    /// Its content.
    pub value: Value,
    /// Whether it is a scalar in quotes.
    pub is_quoted: bool,
}

/// The content of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    /// A scalar as it was written, with quotes and escapes undone.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file. Keys may repeat.
    Mapping(Vec<(Node, Node)>),
}

impl Value {
    /// The kind of node, for messages.
    #[must_use]
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Text(_) => "a single value",
            Self::List(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

/// Reads one YAML document; `None` for a file without content.
///
/// # Errors
/// The first problem of the syntax, or a file that is too deep, too large or expands to too much.
pub(super) fn read(text: &str) -> Result<Option<Node>, Box<Diagnostic>> {
    let raw = serde_saphyr::from_str_with_options::<Option<Raw>>(text, options());
    match raw {
        Ok(None) => Ok(None),
        Ok(Some(raw)) => Ok(Some(raw.into_node(text))),
        Err(error) => Err(Box::new(syntax::explain(error.without_snippet(), text))),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_anchors: 1_000,
            max_aliases: 10_000,
            max_merge_keys: 1_000,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        // Keep all repeated keys, so that each is reported with the place of the first.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Merge,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// A node as the reader gives it.
struct Raw {
    content: Content,
    /// The place; for an alias, the place of its anchor.
    defined: Location,
}

enum Content {
    Empty,
    /// A scalar that the reader took for a number or a boolean. Its text has to be read from the source.
    Typed,
    Text(String),
    List(Vec<Raw>),
    Mapping(Vec<(Raw, Raw)>),
}

impl Raw {
    fn into_node(self, text: &str) -> Node {
        let mut span = span_of(self.defined, text);
        let value = match self.content {
            Content::Empty => Value::Empty,
            Content::Typed => Value::Text(text.get(span.start..span.end).unwrap_or("").trim().to_owned()),
            Content::Text(text) => Value::Text(text),
            Content::List(items) => Value::List(items.into_iter().map(|item| item.into_node(text)).collect()),
            Content::Mapping(entries) => Value::Mapping(
                entries.into_iter().map(|(key, value)| (key.into_node(text), value.into_node(text))).collect(),
            ),
        };
        // The reader reports only the first byte of a collection as its place.
        span.end = span.end.max(match &value {
            Value::List(items) => items.last().map_or(span.start, |item| item.span.end),
            Value::Mapping(entries) => entries.last().map_or(span.start, |(_, value)| value.span.end),
            Value::Empty | Value::Text(_) => span.end,
        });
        span.end = closed(text, span);
        let is_quoted = matches!(&value, Value::Text(_))
            && text.get(span.start..).is_some_and(|rest| rest.starts_with(['"', '\'']));
        Node { span, value, is_quoted }
    }
}

/// The end of a collection with its closing bracket.
fn closed(text: &str, span: Span) -> usize {
    let close = match text.as_bytes().get(span.start) {
        Some(b'[') => ']',
        Some(b'{') => '}',
        _ => return span.end,
    };
    let rest = text.get(span.end..).unwrap_or("");
    let tail = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    if tail.starts_with(close) { text.len() - tail.len() + 1 } else { span.end }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(|Spanned { value: content, defined, .. }| Self { content, defined })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Empty)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Empty)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Content::Mapping(mapping))
    }
}

/// The name of a key.
///
/// # Errors
/// A key that is not a scalar.
pub(super) fn key(node: &Node) -> Result<&str, Box<Diagnostic>> {
    let problem = match &node.value {
        Value::Text(text) => return Ok(text),
        Value::Empty => Diagnostic::at(node.span, "a key is missing here").help("write a name before the colon"),
        other => Diagnostic::at(node.span, format!("a key has to be a name, and this is {}", other.kind()))
            .help("write `name: value`"),
    };
    Err(Box::new(problem))
}

/// The problem of a repeated key.
#[must_use]
pub(super) fn repeated(key: &Node, name: &str, first: &Node) -> Diagnostic {
    Diagnostic::at(key.span, format!("the key {} is there twice", quote(name)))
        .label("again here")
        .note(first.span, "first here")
        .help("keep one of the two, with what both should say")
}

/// Whether readers of YAML 1.1 take a word for true or false.
pub(super) fn is_truth(word: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "y", "n"].iter().any(|truth| word.eq_ignore_ascii_case(truth))
}
