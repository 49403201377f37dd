//! SVG, which stands in a page as it is: colours are those of the page.

use super::html::escaped;
use super::{Frame, Id, Kind, Node, Picture};
use std::collections::BTreeMap;
use std::fmt::Write;

const NODE_WIDTH: usize = 260;
const BETWEEN_COLUMNS: usize = 84;
const LINE: usize = 16;
const PADDING: usize = 7;
const BETWEEN_NODES: usize = 9;
const TITLE: usize = 26;
const BETWEEN_FRAMES: usize = 18;
const MARGIN: usize = 10;
/// How many characters of a line fit in a node.
const FITTING: usize = 37;
/// How many nodes of a frame are drawn.
const MOST: usize = 40;
/// How many lines of a node are drawn.
const MOST_LINES: usize = 8;

/// Where a node is drawn: its left edge, and the middle of its height.
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    middle: usize,
}

/// The picture as an `svg` element: who opens on the left, lines of the policy in the middle, and where they lead on the
/// right. Of very many nodes the first are drawn, and the others counted.
#[must_use]
pub fn svg(picture: &Picture) -> String {
    let mut nodes = String::new();
    let mut places: BTreeMap<&Id, Place> = BTreeMap::new();
    let mut ends = [MARGIN; 3];
    for frame in &picture.frames {
        let column = column(frame.kind);
        if let Some(end) = ends.get_mut(column) {
            *end = draw_frame(frame, MARGIN + column * (NODE_WIDTH + BETWEEN_COLUMNS), *end, &mut nodes, &mut places);
        }
    }
    let height = ends.into_iter().max().unwrap_or_default();
    let width = 2 * MARGIN + 3 * NODE_WIDTH + 2 * BETWEEN_COLUMNS;
    let mut text = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"who reaches what\"><defs><marker id=\"to\" \
         viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" \
         d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
    );
    for edge in &picture.edges {
        let (Some(from), Some(to)) = (places.get(&edge.from), places.get(&edge.to)) else { continue };
        let (x, end) = (from.x + NODE_WIDTH, to.x);
        let bend = BETWEEN_COLUMNS / 2;
        let (class, tip) = if edge.way.is_shut() { ("shut", "") } else { ("open", " marker-end=\"url(#to)\"") };
        let _ = writeln!(
            text,
            "<path class=\"{class}\" d=\"M{x} {}C{} {} {} {} {end} {}\"{tip}/>",
            from.middle,
            x + bend,
            from.middle,
            end.saturating_sub(bend),
            to.middle,
            to.middle
        );
        if let Some(word) = edge.way.word() {
            let (x, y) = (end.saturating_sub(6), to.middle.saturating_sub(5));
            let _ = writeln!(text, "<text class=\"word\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{word}</text>");
        }
    }
    text + &nodes + "</svg>\n"
}

/// The column of a kind of nodes.
const fn column(kind: Kind) -> usize {
    match kind {
        Kind::From => 0,
        Kind::Block | Kind::Service | Kind::Outgoing | Kind::Forward | Kind::Otherwise => 1,
        Kind::Listener | Kind::To => 2,
    }
}

/// Draws a frame whose upper left corner is there, and returns where the next one begins.
fn draw_frame<'p>(
    frame: &'p Frame,
    x: usize,
    top: usize,
    text: &mut String,
    places: &mut BTreeMap<&'p Id, Place>,
) -> usize {
    let _ =
        writeln!(text, "<text class=\"title\" x=\"{x}\" y=\"{}\">{}</text>", top + 14, escaped(frame.kind.title()));
    let mut y = top + TITLE;
    for node in frame.nodes.iter().take(MOST) {
        let height = draw_node(node, x, y, text);
        places.insert(&node.id, Place { x, middle: y + height / 2 });
        y += height + BETWEEN_NODES;
    }
    if let Some(more) = frame.nodes.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(text, "<text x=\"{x}\" y=\"{}\">and {more} more</text>", y + LINE - 4);
        y += LINE;
    }
    y + BETWEEN_FRAMES
}

/// Draws a node, and returns its height.
fn draw_node(node: &Node, x: usize, y: usize, text: &mut String) -> usize {
    let class = if node.denies { "node denies" } else { "node" };
    let mut lines: Vec<String> = node.lines.iter().flat_map(|line| fitting(line)).collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        lines.push("…".to_owned());
    }
    let height = 2 * PADDING + lines.len() * LINE;
    let _ = writeln!(
        text,
        "<g class=\"{class}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{NODE_WIDTH}\" height=\"{height}\" rx=\"6\"/>",
        escaped(&node.lines.join(", "))
    );
    for (index, line) in lines.iter().enumerate() {
        let class = if index == 0 { " class=\"name\"" } else { "" };
        let (x, y) = (x + 10, y + PADDING + index * LINE + 12);
        let _ = writeln!(text, "<text{class} x=\"{x}\" y=\"{y}\">{}</text>", escaped(line));
    }
    text.push_str("</g>\n");
    height
}

/// A line as several that fit, parted at blanks. Of a word that does not fit, the beginning is left.
fn fitting(line: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut().filter(|last| last.chars().count() + 1 + word.chars().count() <= FITTING) {
            Some(last) => last.extend([" ", word]),
            None if word.chars().count() <= FITTING => lines.push(word.to_owned()),
            None => lines.push(word.chars().take(FITTING - 1).chain(['…']).collect()),
        }
    }
    lines
}
