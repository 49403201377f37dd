//! Texts that several findings share.

pub(super) use crate::preflight::some;

use crate::printable::shell_word;

/// A command in backquotes whose argument others have named; `None` if the name can't be copied safely.
pub(super) fn command(begin: &str, name: &str, end: &str) -> Option<String> {
    // A backquote in the name would end the quotation.
    let name = shell_word(name).filter(|name| !name.contains('`'))?;
    Some(format!("`{begin}{name}{end}`"))
}
