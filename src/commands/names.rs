//! Host names in what commands do and say.

use crate::desired::host_names;
use crate::files::{MAX_POLICY, read_bounded};
use crate::names::{Asker, Known, Names, Trouble};
use crate::net::Version;
use crate::printable::time_in_words;
use crate::state::State;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// How long `apply` spends on names that were never looked up.
const NEW: Duration = Duration::from_secs(5);

/// The process that looks up new names for a policy; `None` if the policy has no names, or no process can be started. It
/// is started before the policy is read with care, so it goes by what a policy with names has in its text: they may also
/// stand in a file that it includes.
pub(super) fn asker(policy: &Path) -> Option<Asker> {
    let text = read_bounded(policy, MAX_POLICY).ok()?;
    let has = |word: &[u8]| text.windows(word.len()).any(|bytes| bytes == word);
    (has(b"dns") || has(b"include")).then(|| started(NEW))?
}

/// A process that spends so long on all names; `None` with a warning if it can't be started.
pub(super) fn started(within: Duration) -> Option<Asker> {
    Asker::start(within).inspect_err(|error| tracing::warn!("names can't be looked up: {error}")).ok()
}

/// What is known, with what is found out about the names of a policy that were never looked up.
pub(super) fn with_new(policy: &Path, known: Names, asker: Option<Asker>) -> Names {
    let Some(asker) = asker else { return known };
    let mut names = known.only(&host_names(policy));
    let new = names.never_asked();
    if !new.is_empty() {
        asker.ask(&new, &mut names);
    }
    names.beside(&known)
}

/// Keeps what is known of the names of the policy that was just loaded, beside what is known of others.
pub(super) fn keep(state: &State, names: &Names) {
    let known = state.names().unwrap_or_default();
    if names.all().is_empty() && known.all().is_empty() {
        return;
    }
    match state.keep_names(&names.clone().beside(&known)) {
        Ok(()) => state.note_refreshed(),
        Err(error) => {
            tracing::warn!("the rules are in force, but {error}: the next refresh looks the names up again")
        }
    }
}

/// The names with their addresses and the age of the last answer, as a table; empty if there are none.
pub(super) fn table(names: &Names) -> String {
    let mut text = String::new();
    let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, known) in names.iter() {
        let _ = if text.is_empty() { writeln!(text, "\nnames") } else { Ok(()) };
        let _ = writeln!(text, "  {name:width$}  {}", said(known));
    }
    text
}

/// `198.51.100.20, looked up 3 min ago`, and what is wrong.
fn said(known: &Known) -> String {
    let addresses: Vec<String> = known.addresses().map(|address| address.to_string()).collect();
    let mut parts = Vec::new();
    match known.nobody() {
        Some(why) => parts.push(format!("nobody: {why}")),
        None => parts.push(addresses.join(", ")),
    }
    parts.extend(known.asked().map(|age| format!("looked up {} ago", time_in_words(Duration::from_secs(age)))));
    match known.trouble() {
        Some(Trouble::Stale(failure, since)) => {
            let since = time_in_words(Duration::from_secs(since));
            parts.push(format!("last answered {since} ago, since then {failure}"));
        }
        Some(Trouble::Rotates) => parts.push("every answer names other addresses".to_owned()),
        Some(Trouble::Unknown(_) | Trouble::Over(_)) | None => {}
    }
    for answers in Version::ALL.map(|version| known.over(version)) {
        let ignored: Vec<String> = answers.ignored.iter().map(ToString::to_string).collect();
        if !ignored.is_empty() {
            parts.push(format!("ignored {}", ignored.join(", ")));
        }
        if answers.surplus > 0 {
            parts.push(format!("{} more left out", answers.surplus));
        }
    }
    parts.join("; ")
}

/// What is known of each name.
pub(super) fn json(names: &Names) -> Value {
    let one = |(name, known): (&str, &Known)| {
        let ignored: Vec<String> =
            Version::ALL.iter().flat_map(|version| &known.over(*version).ignored).map(ToString::to_string).collect();
        let failure = Version::ALL.map(|version| known.over(version).failure.map(|failure| failure.to_string()));
        let [v4, v6] = failure;
        json!({
            "name": name,
            "addresses": known.addresses().collect::<Vec<_>>(),
            "looked_up_seconds_ago": known.asked(),
            "answered_seconds_ago": known.answered(),
            "failure_over_ipv4": v4,
            "failure_over_ipv6": v6,
            "ignored": ignored,
            "left_out": known.v4.surplus + known.v6.surplus,
        })
    };
    names.iter().map(one).collect()
}
