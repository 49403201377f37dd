//! XML files with the lines of their elements.

use crate::printable::printable;
use roxmltree::{Document, Node, ParsingOptions};

/// How many elements, texts and comments a file may have.
const MOST_NODES: u32 = 200_000;
/// How long a rule's text in the report may be.
const LONGEST: usize = 240;

/// Something that firewalld could not read either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) why: String,
}

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of an element, counted from 1.
    pub(super) fn of_node(&self, node: Node<'_, '_>) -> usize {
        self.0.partition_point(|end| *end < node.range().start) + 1
    }

    /// What is wrong with an element.
    pub(super) fn fault(&self, node: Node<'_, '_>, why: impl Into<String>) -> Fault {
        Fault { line: self.of_node(node), why: why.into() }
    }

    /// The value of an attribute that has to be there.
    pub(super) fn required<'a>(&self, node: Node<'a, '_>, name: &str) -> Result<&'a str, Fault> {
        let element = node.tag_name().name();
        node.attribute(name).ok_or_else(|| self.fault(node, format!("`{}` has no `{name}`", printable(element))))
    }
}

/// Reads a file whose outermost element has this name. Document types are refused: they could name other files, and grow.
pub(super) fn read<T>(
    text: &str,
    root: &str,
    take: impl FnOnce(Node<'_, '_>, &Lines) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let line = usize::try_from(error.pos().row).unwrap_or(1).max(1);
        Fault { line, why: format!("it is no XML: {}", printable(&error.to_string())) }
    })?;
    let lines = Lines::of(text);
    let outermost = document.root_element();
    let name = outermost.tag_name().name();
    if name != root {
        return Err(lines.fault(outermost, format!("`{root}` is expected, and not `{}`", printable(name))));
    }
    take(outermost, &lines)
}

/// The elements directly below one.
pub(super) fn elements<'a, 'input>(node: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(Node::is_element)
}

/// Whether an attribute says yes, as firewalld reads it.
pub(super) fn is_yes(node: Node<'_, '_>, name: &str) -> bool {
    node.attribute(name).is_some_and(|value| ["yes", "true"].contains(&value.to_lowercase().as_str()))
}

/// An element as `firewall-cmd` writes rules: `rule family="ipv4" source address="192.0.2.7" service name="ssh" accept`.
pub(super) fn words(node: Node<'_, '_>) -> String {
    let mut text = String::new();
    // Rules hold actions, and these a limit: nothing stands deeper.
    let below = |node: Node<'_, '_>| elements(node).take(16).map(one).collect::<String>();
    text.push_str(&one(node));
    for child in elements(node).take(16) {
        text.push_str(&one(child));
        text.push_str(&below(child));
    }
    let text: String = text.trim_start().chars().take(LONGEST).collect();
    printable(&text).to_string()
}

fn one(node: Node<'_, '_>) -> String {
    let attributes = node.attributes().map(|attribute| format!(" {}=\"{}\"", attribute.name(), attribute.value()));
    format!(" {}{}", node.tag_name().name(), attributes.collect::<String>())
}
