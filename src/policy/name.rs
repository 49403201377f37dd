//! Names of groups, services and interfaces.

use crate::printable::is_invisible;

/// Whether the text is a valid name for a group or a service.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// A name as YAML, quoted if necessary; `None` if no policy can contain it.
#[must_use]
pub fn in_a_policy(name: &str) -> Option<String> {
    // YAML does not read these as names.
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !words.contains(&name.to_ascii_lowercase().as_str())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let refused = |c: char| c.is_whitespace() || is_invisible(c) || "/:\"'\\`*".contains(c);
    match name {
        _ if plain => Some(name.to_owned()),
        _ if name.contains(refused) => None,
        _ => Some(format!("\"{name}\"")),
    }
}
