//! Texts that several findings share.

use crate::printable::shell_word;

/// A command in backquotes whose argument others have named; `None` if the name can't be copied safely.
pub(super) fn command(begin: &str, name: &str, end: &str) -> Option<String> {
    // A backquote in the name would end the quotation.
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
