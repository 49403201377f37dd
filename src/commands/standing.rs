//! Of what policy the present rules are, and what the next boot loads.

use super::Desired;
use crate::desired::{compile_as_applied, compile_at_boot};
use crate::error::Error;
use crate::printable::printable;
use crate::resolve::{Action, Containers, Defaults, Resolved};
use crate::ruleset::Table;
use crate::state::{Identity, State, Stored};
use serde_json::{Value, json};
use std::path::Path;

/// The policy that the live table was made from.
pub(super) struct Standing {
    /// The policy; `None` if it is not known, or can't be read any more.
    pub(super) policy: Option<Resolved>,
    /// Its path.
    pub(super) path: Option<String>,
    /// When it was applied.
    pub(super) applied: Option<String>,
}

impl Standing {
    /// Known if the live table is the one that was kept when a policy was applied.
    pub(super) fn of(live: &Table, state: &State) -> Self {
        let is_live = |stored: &Stored| Identity::of(Some(live)).is_ok_and(|live| live == stored.about.identity);
        let Some(stored) = state.in_force().filter(is_live) else {
            return Self { policy: None, path: None, applied: None };
        };
        let compiled = stored.applied.as_ref().and_then(|applied| compile_as_applied(applied, state).ok());
        Self {
            policy: compiled.map(|compiled| compiled.policy),
            path: stored.about.policy,
            applied: Some(stored.about.saved),
        }
    }

    /// The lines about it.
    pub(super) fn text(&self) -> String {
        let mut text = match (&self.path, &self.applied) {
            (Some(path), Some(time)) => format!("applied from {} at {time}\n", printable(path)),
            _ => "the policy that these rules were made from is not known: they were changed since, or loaded by \
                  another program\n"
                .to_owned(),
        };
        if let Some(Resolved { defaults, containers, .. }) = &self.policy {
            text.push_str(&format!("defaults: {}\n", in_words(defaults, containers)));
        }
        text
    }

    /// The defaults for programs; null if they are not known.
    pub(super) fn defaults(&self) -> Value {
        self.policy.as_ref().map_or(Value::Null, |policy| {
            let Defaults { incoming, outgoing, forward, ping, .. } = policy.defaults;
            json!({ "incoming": incoming.name(), "outgoing": outgoing.name(), "forward": forward.name(), "ping": ping.name() })
        })
    }
}

/// `incoming deny, outgoing allow, forward deny, ping allow`
fn in_words(defaults: &Defaults, containers: &Containers) -> String {
    let Defaults { incoming, outgoing, forward, ping, .. } = defaults;
    let all = [("incoming", incoming), ("outgoing", outgoing), ("forward", forward), ("ping", ping)];
    let mut words: Vec<String> = all.iter().map(|(name, action)| format!("{name} {}", action.name())).collect();
    words.extend(
        (containers.outgoing != Action::Allow)
            .then(|| format!("containers' outgoing {}", containers.outgoing.name())),
    );
    words.join(", ")
}

/// What `palisade boot` loads when this machine starts, in words.
pub(super) fn next_boot(path: &Path, state: &State, desired: &Result<Desired, Error>) -> String {
    let kept = state.last_good().map(|(number, kept)| {
        let of = kept.about.policy.map(|path| format!(" of {path}")).unwrap_or_default();
        format!("ruleset {number}{of}")
    });
    let kept = kept.unwrap_or_else(|| "nothing but SSH, since no ruleset is kept".to_owned());
    if state.pending().ok().flatten().is_some() {
        return "the ruleset from before the change that waits for confirmation".to_owned();
    }
    let path_in_words = path.display();
    let (table, how) = match desired {
        Ok(desired) => (desired.table.without_timed(), ""),
        // Files of addresses that can't be used are taken as they were last applied.
        Err(_) => match compile_at_boot(path, state) {
            Ok(compiled) => (compiled.table, ", with the addresses of its files as they were last applied"),
            Err(_) => return format!("{kept}, since {path_in_words} has problems"),
        },
    };
    match Identity::of(Some(&table)) {
        Ok(identity) if state.is_undone(&identity) => {
            format!("{kept}, since {path_in_words} was undone and not applied since")
        }
        Ok(_) => format!("{path_in_words}{how}"),
        Err(error) => format!("not known: {error}"),
    }
}
