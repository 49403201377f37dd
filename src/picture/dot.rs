//! DOT, which Graphviz reads.

use super::{Edge, Id, Node, Picture};
use crate::printable::printable;
use std::fmt::Write;

/// The picture in DOT: `dot -Tsvg` draws it.
#[must_use]
pub fn dot(picture: &Picture) -> String {
    let mut text =
        "digraph palisade {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  \
                    edge [fontname=\"sans-serif\"];\n"
            .to_owned();
    for frame in &picture.frames {
        let (word, title) = (frame.kind.word(), quoted(frame.kind.title()));
        let _ = write!(text, "  subgraph \"cluster {word}\" {{\n    label={title};\n    fontname=\"sans-serif\";\n");
        for Node { id, lines, denies } in &frame.nodes {
            let label: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            let color = if *denies { ", color=\"#b3261e\"" } else { "" };
            let _ = writeln!(text, "    {} [label=\"{}\"{color}];", name(id), label.join("\\n"));
        }
        text.push_str("  }\n");
    }
    for Edge { from, to, way } in &picture.edges {
        let word = way.word().map(|word| format!("label={}", quoted(word)));
        let shut = way.is_shut().then(|| "style=dashed, color=\"#b3261e\", arrowhead=tee".to_owned());
        let attributes: Vec<String> = word.into_iter().chain(shut).collect();
        let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        let _ = writeln!(text, "  {} -> {}{attributes};", name(from), name(to));
    }
    text + "}\n"
}

fn name(id: &Id) -> String {
    quoted(&format!("{} {}", id.kind.word(), id.name))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Text in a string in double quotes. Labels have escape sequences, such as `\N` for the node's name, and entities.
fn escaped(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}
