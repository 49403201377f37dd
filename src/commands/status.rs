//! `palisade status`

use super::added::list_as_json;
use super::counted::{Count, Counted, counted};
use super::denied::{applied, as_json, table, who_was_denied};
use super::standing::{Standing, next_boot};
use super::{Desired, Report, names, reader};
use crate::compile::drops_blocked;
use crate::delta::changes;
use crate::denied::Denied;
use crate::desired::DEFAULT_PATH;
use crate::enforce::stamp;
use crate::error::Error;
use crate::netlink::{Reading, Socket};
use crate::printable::{printable, time_in_words};
use crate::process::privileges::{Confinement, need_net_admin};
use crate::resolve::{Resolved, lockdown};
use crate::ruleset::{Table, TableId};
use crate::state::{Booted, Identity, Source, State, moment};
use crate::temporary::{holds, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// How many of those who were denied are told.
const SHOWN: usize = 5;

/// What is said where palisade's table is not there.
pub(super) const NOT_ACTIVE: &str = "not active: `palisade apply` loads the policy\n";

/// Show what is loaded, since when, whether it is in sync, and how much it has allowed and denied.
///
/// Exit status: 0 palisade is active, 3 it is not, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("status")?;
    let confined = Confinement::begin(reader(state));
    let desired = Desired::load(path, state).map(|desired| desired.with_temporary(state));
    confined.keep_net_admin("status")?;
    let Some(status) = status(path, state, &desired)? else {
        let json = json!({ "active": false, "in_sync": false, "services": [], "denied": {} });
        return Ok(Report { status: 3, text: NOT_ACTIVE.into(), json });
    };
    let Status { mut text, lines, denied, json, .. } = status;
    let width = lines.width().max(denied.keys().map(|name| name.len()).max().unwrap_or_default());
    lines.write(&mut text, width);
    denied_table(&mut text, width, &denied);
    let lately = lately_denied(&mut text, state);
    let names = desired.as_ref().map(|desired| desired.policy.names.clone()).unwrap_or_default();
    text.push_str(&names::table(&names));
    Ok(Report::ok(text, json).with("lately_denied", json!(lately)).with("names", names::json(&names)))
}

/// What is loaded.
pub(super) struct Status {
    /// From which policy, since when, and what waits or ends, a fact a line.
    pub(super) text: String,
    /// How often each line of the policy has been met.
    pub(super) lines: Counted,
    /// What each of palisade's denying chains has counted.
    pub(super) denied: BTreeMap<&'static str, Count>,
    /// The policy that it was made from, if that is known.
    pub(super) policy: Option<Resolved>,
    /// All of it for programs.
    json: Value,
}

/// What is loaded, beside the policy at a path; `None` if palisade is not active.
pub(super) fn status(path: &Path, state: &State, desired: &Result<Desired, Error>) -> Result<Option<Status>, Error> {
    let id = TableId::palisade();
    let nothing = Table::default();
    let known = (desired.as_ref().map_or(&nothing, |desired| &desired.table), state);
    let Some(live) = Socket::open()?.snapshot_reading(&id, Reading::ByDigest(&known))?.table else {
        return Ok(None);
    };
    let in_sync = desired.as_ref().is_ok_and(|desired| changes(&id, Some(&live), Some(&desired.table)).is_empty());
    let standing = Standing::of(&live, state);
    let next_boot = next_boot(path, state, desired);
    let lines = Counted::new(&live, standing.policy.as_ref());
    let denied = denied(&live);
    let (mut text, file, since) = loaded_from(&live, state, desired, in_sync);
    text.push_str(&standing.text());
    let booted = state.booted();
    let unlike = |booted: &&Booted| booted.from != Source::Policy || booted.why.is_some();
    if let Some(booted) = booted.as_ref().filter(unlike) {
        let _ = writeln!(text, "loaded at boot: {}", booted.from.with(booted.why.as_deref().unwrap_or_default()));
    }
    let pending = state.pending().ok().flatten().and_then(|change| change.left());
    if let Some(left) = pending {
        let left = time_in_words(left);
        let _ = writeln!(text, "undone in {left} unless `palisade confirm` comes from a new connection");
    }
    // With which other policy a unit boots is not known.
    let boot =
        if path == Path::new(DEFAULT_PATH) { "the next boot loads" } else { "a boot with this --policy loads" };
    let _ = writeln!(text, "{boot} {}", printable(&next_boot));
    let temporary = temporary(&mut text, state, &live);
    let json = json!({
        "active": true,
        "in_sync": in_sync,
        "policy_valid": desired.is_ok(),
        "file": file,
        "since": since,
        "applied": { "policy": standing.path, "at": standing.applied },
        "defaults": standing.defaults(),
        "next_boot": next_boot,
        "booted": booted,
        "undone_in": pending.map(|left| left.as_secs()),
        "temporary": temporary,
        "services": lines.services,
        "outgoing": lines.outgoing,
        "forward": lines.forward,
        "nat": lines.nat,
        "denied": denied,
    });
    Ok(Some(Status { text, lines, denied, policy: standing.policy, json }))
}

/// What is loaded, since when, and whether it is the policy; the file and the time for programs.
fn loaded_from(
    live: &Table,
    state: &State,
    desired: &Result<Desired, Error>,
    in_sync: bool,
) -> (String, Option<String>, Option<String>) {
    let (file, since) = live.comment.as_deref().map_or((None, None), stamp::read);

    // A policy applied over a lockdown changes only the rules that differ: the table keeps the lockdown's comment.
    let policy = (file == Some(lockdown::FILE)).then(|| policy_of(live, state)).flatten();
    let file = policy.as_deref().or(file);
    let mut text = format!("active, loaded from {}", file.unwrap_or("an unknown policy"));
    if let Some(since) = since {
        let _ = write!(text, " at {since}");
    }
    text.push_str(match (desired, in_sync) {
        (Err(_), _) => "; the policy has problems, see `palisade check`\n",
        (Ok(_), true) => "; in sync with the policy\n",
        (Ok(_), false) => "; differs from the policy, see `palisade diff`\n",
    });
    let file = file.map(str::to_owned);
    (text, file, since.map(str::to_owned))
}

/// Tells who is let in or blocked for a time. Returns the same for programs; `None` if it is not known.
fn temporary(text: &mut String, state: &State, live: &Table) -> Option<Vec<Value>> {
    let now = moment();
    match state.temporary() {
        Ok(who) => {
            for entry in who.iter() {
                let by = entry.by.as_deref().map(|by| format!(", by {}", printable(by))).unwrap_or_default();
                let end = until(entry, &now, holds(live, entry));
                let _ = writeln!(text, "for a time: {} in {}, {end}{by}", entry.address, entry.group);
            }
            Some(list_as_json(&who, live))
        }
        Err(error) => {
            let _ = writeln!(text, "who is let in or blocked for a time is not known: {error}");
            None
        }
    }
}

/// Tells the last ones who were denied. Returns the same for programs; `None` if nobody is remembered.
fn lately_denied(text: &mut String, state: &State) -> Option<Vec<Value>> {
    let who = who_was_denied().ok().flatten()?;
    let policy = (!who.is_empty()).then(|| applied(state)).flatten();
    let last: Vec<&Denied> = who.iter().take(SHOWN).collect();
    if !last.is_empty() {
        let _ = write!(text, "\n{}", table(&last, policy.as_ref()));
    }
    if let Some(more) = who.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more: `palisade denied` lists all");
    }
    Some(last.into_iter().map(|denied| as_json(denied, policy.as_ref())).collect())
}

/// The file name of the policy, if the live table is the last good ruleset.
fn policy_of(live: &Table, state: &State) -> Option<String> {
    let (_, kept) = state.last_good()?;
    let path =
        kept.about.policy.filter(|_| Identity::of(Some(live)).is_ok_and(|live| live == kept.about.identity))?;
    Some(Path::new(&path).file_name()?.to_string_lossy().into_owned())
}

/// The counters of each of palisade's denying chains.
pub(super) fn denied(live: &Table) -> BTreeMap<&'static str, Count> {
    let chains = [
        ("incoming", "default-incoming"),
        ("containers", "default-containers"),
        ("forward", "default-forward"),
        ("outgoing", "default-outgoing"),
        ("invalid", "invalid"),
    ];
    let count = |chain: &str| live.chains.get(chain).map(|chain| counted(&chain.rules));
    let blocked = live.chains.iter().filter(|(name, _)| drops_blocked(name)).flat_map(|(_, chain)| &chain.rules);
    let blocked = live.chains.contains_key("filter-prerouting").then(|| ("blocked", counted(blocked)));
    chains.into_iter().filter_map(|(name, chain)| Some((name, count(chain)?))).chain(blocked).collect()
}

fn denied_table(text: &mut String, width: usize, denied: &BTreeMap<&'static str, Count>) {
    let _ = writeln!(text, "\n{:>4}  {:width$}  {:>12}  {:>12}", "", "denied", "packets", "bytes");
    for (name, Count { packets, bytes }) in denied {
        let _ = writeln!(text, "{:>4}  {name:width$}  {packets:>12}  {bytes:>12}", "");
    }
}
