//! The names of users (passwd(5)).
//!
//! Read from the file alone. The C library would consult every source in nsswitch.conf, possibly a server on a
//! network that is not up yet, and block the boot.

use super::read_text_bounded;
use crate::printable::is_invisible;
use std::collections::BTreeMap;
use std::path::Path;

const PASSWD: &str = "/etc/passwd";
/// The maximum size that is read.
const MAX_BYTES: u64 = 16 << 20;

/// A user's name for messages; the number if the file has no name for it.
pub(crate) fn user_name(id: u32) -> String {
    let found = users(&passwd()).find(|(_, number)| *number == id).map(|(name, _)| name.to_owned());
    found.unwrap_or_else(|| id.to_string())
}

/// A user's number; `None` if the file does not have the name.
pub(crate) fn user_id(name: &str) -> Option<u32> {
    users(&passwd()).find(|(found, _)| *found == name).map(|(_, number)| number)
}

/// All users' numbers by name. Of a name that stands there twice the first line counts, as for the C library.
pub(crate) fn users_by_name() -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for (name, number) in users(&passwd()) {
        all.entry(name.to_owned()).or_insert(number);
    }
    all
}

fn passwd() -> String {
    read_text_bounded(Path::new(PASSWD), MAX_BYTES).unwrap_or_default()
}

/// `NAME:PASSWORD:UID:...`
fn users(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.contains(is_invisible))?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_the_name_in_the_file_or_by_the_number() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\n\n#\nbroken:x\n:x:7::/:\n+::::::\nalice:x:7:7::/:\nbob:x:7:7::/:\n";
        assert_eq!(users(text).collect::<Vec<_>>(), [("root", 0), ("alice", 7), ("bob", 7)]);
        assert_eq!((user_id("root"), user_id("")), (Some(0), None));
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(u32::MAX - 7), "4294967288");
    }
}
