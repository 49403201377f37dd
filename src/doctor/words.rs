//! Words that several findings use.

use crate::printable::shell_word;

/// A command in backquotes about something that others have named; `None` where the name is none to be copied.
pub(super) fn command(begin: &str, name: &str, end: &str) -> Option<String> {
    // What stands between backquotes ends with the first.
    let name = shell_word(name).filter(|name| !name.contains('`'))?;
    Some(format!("`{begin}{name}{end}`"))
}

/// `a, b and c`, or `a, b, c and 4 more`.
pub(super) fn some(words: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let words: Vec<String> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if words.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        [first, second, third, rest @ ..] => format!("{first}, {second}, {third} and {} more", rest.len()),
        _ => words.join(" and "),
    }
}
