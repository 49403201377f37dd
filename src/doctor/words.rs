//! Texts that several findings share.

pub(super) use crate::preflight::some;

use super::Facts;
use crate::names::{Known, Trouble};
use crate::printable::command_word;
use crate::resolve::{Line, Resolved};

/// The host names of the policy whose trouble is one of these.
pub(super) fn names_in_trouble<'f>(facts: &'f Facts<'_>, is_one: fn(&Trouble) -> bool) -> Vec<(String, &'f Known)> {
    let names = facts.host.policy.valid().into_iter().flat_map(|policy| policy.names.iter());
    let troubled = names.filter(|(_, known)| known.trouble().is_some_and(|trouble| is_one(&trouble)));
    troubled.map(|(name, known)| (name.to_owned(), known)).collect()
}

/// A line of the policy, with the path of its file.
pub(super) fn place(facts: &Facts<'_>, policy: &Resolved, line: Line) -> String {
    format!("{}:{}", policy.path_of(&facts.host.path, line), line.number)
}

/// A command in backquotes whose argument others have named; `None` if the name can't be copied safely.
pub(super) fn command(begin: &str, name: &str, end: &str) -> Option<String> {
    let name = command_word(name)?;
    Some(format!("`{begin}{name}{end}`"))
}

/// The commands that set a sysctl now, and for the next boot.
pub(super) fn set_sysctl(name: &str, value: u8) -> String {
    format!(
        "`sysctl -w {name}={value}`, and for the next boot `echo {name}={value} >>/etc/sysctl.d/90-palisade.conf`"
    )
}
