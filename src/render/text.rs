//! Names, quoted strings and times as nft writes them.

use crate::printable::printable;
use std::borrow::Cow;

/// A chain's or set's name. A name that nft could not read as one word is shown in quotes, which nft refuses.
pub(super) fn name(name: &str) -> Cow<'_, str> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(quoted(name))
    }
}

/// A quoted string. nft has no escapes, so a quote becomes an apostrophe. Characters that could deceive a reader at a
/// terminal are spelled out.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    out.push_str(&printable(text).replace('"', "'"));
    out.push('"');
    out
}

/// A duration in milliseconds as nft reads it: `1d2h3m4s5ms`, without zero parts.
pub(super) fn duration(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = milliseconds;
    let mut out = String::new();
    for (size, unit) in UNITS {
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}
