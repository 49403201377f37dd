//! Mermaid, which GitHub and GitLab draw in a page of Markdown.

use super::{Edge, Id, Node, Picture, Way};
use crate::printable::printable;
use std::fmt::Write;

/// The picture as a flowchart of Mermaid.
#[must_use]
pub fn mermaid(picture: &Picture) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for frame in &picture.frames {
        let _ = writeln!(text, "  subgraph all_{}[\"{}\"]", frame.kind.word(), escaped(frame.kind.title()));
        for Node { id, lines, denies } in &frame.nodes {
            let label: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            let class = if *denies { ":::denies" } else { "" };
            let _ = writeln!(text, "    {}[\"{}\"]{class}", name(id), label.join("<br/>"));
        }
        text.push_str("  end\n");
    }
    for Edge { from, to, way } in &picture.edges {
        let word = way.word().map(|word| format!("|{word}|")).unwrap_or_default();
        let _ = writeln!(text, "  {} {}{word} {}", name(from), arrow(*way), name(to));
    }
    if picture.frames.iter().flat_map(|frame| &frame.nodes).any(|node| node.denies) {
        text.push_str("  classDef denies stroke:#b3261e,stroke-dasharray:5\n");
    }
    text
}

const fn arrow(way: Way) -> &'static str {
    match way {
        Way::Allowed | Way::Forwarded => "-->",
        Way::Denied | Way::Rejected => "--x",
        Way::Excepted => "-.-x",
    }
}

/// A name of letters, digits and `_`, another one for each node. It begins with no word of Mermaid's own, such as `end`.
fn name(id: &Id) -> String {
    id.name.chars().fold(format!("{}_", id.kind.word()), |mut name, c| {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else {
            let _ = write!(name, "_{:x}_", u32::from(c));
        }
        name
    })
}

/// Text in a label in double quotes. Whatever could end the label, be HTML or be Markdown is written as a number.
fn escaped(text: &str) -> String {
    let text = printable(text);
    let mut rest = text.chars().peekable();
    let mut written = String::with_capacity(text.len());
    let mut is_first = true;
    while let Some(c) = rest.next() {
        let is_plain = match c {
            ' ' | ',' | '/' | ':' | '(' | ')' | '_' => true,
            // Before a blank they are the beginning of a list, `1. ` or `- `.
            '.' | '-' => !is_first && rest.peek().is_some_and(|next| *next != ' '),
            c => c.is_alphanumeric(),
        };
        if is_plain {
            written.push(c);
        } else {
            let _ = write!(written, "#{};", u32::from(c));
        }
        is_first = false;
    }
    written
}
