//! `palisade allow`

use super::added::{Asked, Effect, Whose, add, as_json, blocks, for_how_long, opens, policy_as_applied, whose};
use super::{Report, reader};
use crate::error::Error;
use crate::printable::printable;
use crate::process::privileges::Confinement;
use crate::resolve::Resolved;
use crate::state::{State, moment};
use crate::temporary::{Entry, Moment, until};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Let an address in for a time.
///
/// Adds it to a group that takes addresses for a time, `{ temporary: 12h }`, and that a service or a rule of `forward`
/// names in `from`. `me` is the address of the SSH session that the command is run from, through sudo, too. After that
/// time the kernel forgets it by itself, and connections that are still open end within a minute, where
/// `palisade-refresh.timer` runs; `palisade revoke` takes it out before. Once more begins the time anew.
///
/// Works on the policy as it was last applied. `palisade apply`, a restart and a reboot leave it alone.
///
/// Refused: what would break an expectation of the policy; networks, which are a change of the policy.
///
/// Exit status: 0 it is let in, or was already; 1 it is not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `me`, or an address.
    #[arg(value_name = "me|ADDR", value_parser = whose, required_unless_present = "list")]
    pub(crate) who: Option<Whose>,
    /// The service, or the rule of `forward`, that is to be reached: its `from` names the group.
    #[arg(long, value_name = "SERVICE|RULE")]
    pub(crate) to: Option<String>,
    /// The group, if several fit.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// For how long (`90m`, `8h`, `2d`): a minute at least, and at most for as long as the group takes addresses, which is
    /// the default.
    #[arg(long = "for", value_name = "TIME", value_parser = for_how_long)]
    pub(crate) time: Option<Duration>,
    /// List who is let in or blocked for a time: in which group, what that opens, until when, by whom.
    #[arg(long, conflicts_with_all = ["who", "to", "group", "time"])]
    pub(crate) list: bool,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    match args.who {
        Some(who) => {
            add(state, true, who, &Asked { to: args.to.as_deref(), group: args.group.as_deref() }, args.time)
        }
        None => list(state),
    }
}

fn list(state: &State) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let entries = state.temporary()?;
    // The list is worth as much without the policy.
    let policy = policy_as_applied(state).map(|(_, policy, _)| policy);
    let policy = policy.inspect_err(|error| tracing::warn!("what they may reach is not known: {error}")).ok();
    confined.keep_nothing();
    let now = moment();
    let mut text = String::new();
    for entry in entries.iter() {
        let _ = writeln!(text, "{}", line(entry, policy.as_ref(), &now));
    }
    if entries.is_empty() {
        text.push_str("nobody is let in or blocked for a time\n");
    }
    let listed: Vec<Value> = entries.iter().map(|entry| listed(entry, policy.as_ref(), &now)).collect();
    Ok(Report::ok(text, json!({ "temporary": listed })))
}

/// `198.51.100.20  owner  until 18:20 UTC (8h left)  dashboard (9000/tcp)  by alice`
fn line(entry: &Entry, policy: Option<&Resolved>, now: &Moment) -> String {
    let effects = policy.map(|policy| effects(entry, policy)).unwrap_or_default();
    let effects = effects.iter().map(|Effect { name, ports }| match ports.as_str() {
        "" => name.clone(),
        ports => format!("{name} ({ports})"),
    });
    let effects = effects.collect::<Vec<_>>().join(", ");
    let by = entry.by.as_deref().map(|by| format!("by {}", printable(by))).unwrap_or_default();
    let Entry { address, group, .. } = entry;
    let holds = policy.is_some_and(|policy| blocks(policy, group));
    let columns = [address.to_string(), printable(group).into_owned(), until(entry, now, holds), effects, by];
    columns.into_iter().filter(|column| !column.is_empty()).collect::<Vec<_>>().join("  ")
}

/// What whoever is in the group may reach, or that it is blocked.
fn effects(entry: &Entry, policy: &Resolved) -> Vec<Effect> {
    let blocked = blocks(policy, &entry.group).then(|| Effect { name: "blocked".to_owned(), ports: String::new() });
    opens(policy, &entry.group).into_iter().chain(blocked).collect()
}

/// An entry for programs, and what it opens.
fn listed(entry: &Entry, policy: Option<&Resolved>, now: &Moment) -> Value {
    let mut value = as_json(entry, now, policy.is_some_and(|policy| blocks(policy, &entry.group)));
    let opens = policy.map(|policy| opens(policy, &entry.group));
    let opens =
        opens.map(|opens| opens.into_iter().map(|Effect { name, ports }| json!({ "name": name, "ports": ports })));
    if let Some(fields) = value.as_object_mut() {
        fields.insert("blocked".to_owned(), json!(policy.map(|policy| blocks(policy, &entry.group))));
        fields.insert("opens".to_owned(), json!(opens.map(Vec::from_iter)));
    }
    value
}
