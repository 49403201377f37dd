//! The names of users (passwd(5)).
//!
//! Read from the file alone. The C library would ask whatever nsswitch.conf names, which may be a server on a network that is
//! not up yet, and boot would wait for it.

use nix::fcntl::OFlag;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

const PASSWD: &str = "/etc/passwd";
/// How much of it is read.
const MAX_BYTES: u64 = 1 << 20;

/// What a user is called in messages: the name, or the number where the file has none.
pub(super) fn user_name(id: u32) -> String {
    let mut bytes = Vec::new();
    // O_NONBLOCK: were it a pipe, opening it would wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(PASSWD);
    // What could be read is as good as all of it: this is for people.
    let _ = file.and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    find(&String::from_utf8_lossy(&bytes), id).map_or_else(|| id.to_string(), str::to_owned)
}

/// `NAME:PASSWORD:UID:...`
fn find(text: &str, id: u32) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.contains(char::is_control))?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_the_name_in_the_file_or_by_the_number() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\n\n#\nbroken:x\n:x:7::/:\n+::::::\nalice:x:7:7::/:\nbob:x:7:7::/:\n";
        assert_eq!([0, 7, 8].map(|id| find(text, id)), [Some("root"), Some("alice"), None]);
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(u32::MAX - 7), "4294967288");
    }
}
