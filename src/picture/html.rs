//! Text in HTML and in SVG.

use crate::printable::printable;

/// Text between tags or in an attribute's double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            c => written.push(c),
        }
    }
    written
}

/// The same, with what stands in backquotes as code.
pub(super) fn with_code(text: &str) -> String {
    let parts: Vec<String> = escaped(text).split('`').map(str::to_owned).collect();
    // One backquote without another is itself.
    if parts.len().is_multiple_of(2) {
        return escaped(text);
    }
    let tagged = parts
        .iter()
        .enumerate()
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.clone() });
    tagged.collect()
}
