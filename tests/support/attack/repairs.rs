//! The rules that these attacks are about, which a control takes away.

use crate::support::namespace::{Namespace, output};

/// What the comments say of rules that keep out what connection tracking and the policy's services would let in.
pub const REPAIRS: &[&str] = &[
    "nobody else has an address of this machine",
    "what is for this machine does not pass through it",
    "this machine's loopback is not for others",
    "sources that are containers' addresses",
    "a container's address comes from its bridge alone",
    "a container's source that does not route back to it",
    "what would change routes and addresses",
];
/// The rule that asks the services for ports that are published behind a bridge without a name.
pub const PUBLISHED: &[&str] = &["a published port obeys the services"];
/// The rule that stops what a container hands another for the outside, where containers may send nothing out.
pub const CLOSED: &[&str] = &["to the outside, although a container is handed it"];
/// The rule that asks for the way back, where a policy wants it asked for.
pub const STRICT: &[&str] = &["sources that don't route back by where they came in"];

/// Deletes these, which the policy must have, and has what is related to a connection let in whatever it is.
#[track_caller]
pub fn take_away(host: &Namespace, repairs: &[&str]) {
    let listing =
        output(host.command("nft").args(["--handle", "--terse", "list", "table", "inet", "palisade"])).success();
    let mut chain = "";
    let mut changes = String::new();
    for line in listing.lines() {
        if let Some(name) = line.strip_prefix("\tchain ") {
            chain = name.split(' ').next().unwrap_or(name);
        }
        let is_one = |sentence: &&str| line.contains(&format!("comment \"palisade: {sentence}"));
        if let Some((_, handle)) = line.rsplit_once("# handle ").filter(|_| repairs.iter().any(is_one)) {
            changes += &format!("delete rule inet palisade {chain} handle {handle}\n");
        }
    }
    for sentence in repairs {
        assert!(listing.contains(&format!("palisade: {sentence}")), "no rule says {sentence:?}:\n{listing}");
    }
    for chain in ["filter-input", "filter-forward"] {
        changes += &format!("insert rule inet palisade {chain} ct state related accept\n");
    }
    host.nft_load(&changes);
}
