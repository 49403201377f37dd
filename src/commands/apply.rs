//! `palisade apply`

use super::{Desired, Report, lock, reader, writer};
use crate::access::lines;
use crate::confirm::{self, Terms};
use crate::delta::delta;
use crate::enforce::load;
use crate::error::Error;
use crate::lockout::sessions;
use crate::netlink::{Reading, Socket};
use crate::printable::{printable, time_in_words};
use crate::process::privileges::{Confinement, need_net_admin};
use crate::render;
use crate::render::changes::shown;
use crate::ruleset::Table;
use crate::state::State;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Make the kernel match the policy.
///
/// Sends the smallest change as one transaction, which the kernel carries out completely or not at all, and only on the
/// ruleset that the change was computed from. Then reads the table back to verify it. Unchanged rules keep their
/// counters, and applying again changes nothing. Connections that lose their access are ended; all others continue.
///
/// Exit status: 0 the kernel holds the policy; 1 it does not, and the old rules are in force unless the error says
/// otherwise.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the transaction as nft commands, without sending it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Apply the policy even if your own SSH session could not connect again.
    ///
    /// Without this option such a policy is refused: palisade tries a new connection like the session's on the compiled
    /// rules and on those of all other tables. A warning names other users who could not connect again.
    #[arg(long)]
    pub(crate) force: bool,
    /// Undo the change after TIME (`90s`, `5m`) unless `palisade confirm` is run from a new connection.
    ///
    /// For a change that could cut you off. When the time is over, the previous rules are in force again, whatever
    /// happens to the session, to palisade or to the machine. TIME is between 5 seconds and a day.
    #[arg(long, value_name = "TIME", value_parser = confirmation_time, conflicts_with = "dry_run")]
    pub(crate) confirm: Option<Duration>,
    /// First look up each element of large sets, as `diff --deep` does.
    #[arg(long)]
    pub(crate) deep: bool,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let Args { dry_run, force, confirm, deep } = *args;
    // Taken before the policy is read: of two concurrent applies, the later one loads the newer policy.
    let _lock = if dry_run { None } else { Some(lock(state, "apply")?) };
    need_net_admin("apply")?;
    // Needs other processes, so it comes before this one is confined.
    let terms = confirm.map(|time| Terms::new(time, state));
    let sessions = sessions::present();
    let confined = Confinement::begin(if dry_run { reader(state) } else { writer(state) });
    let (desired, warnings) = Desired::load_as_expected(path)?;
    confined.keep_net_admin("apply")?;
    let socket = Socket::open()?;
    match sessions::check(&socket, &desired.id, &desired.table, &sessions) {
        Err(lockouts) if dry_run || force => sessions::warn(&lockouts),
        kept => kept?,
    }
    let report = if dry_run {
        plan(&socket, state, &desired, deep)
    } else {
        confirm::settle(&socket, state)?;
        confirm::none_waits(state)?;
        match terms.filter(|_| differs(&socket, state, &desired, deep).unwrap_or(true)) {
            None => load_and_keep(&socket, state, &desired, path, deep),
            Some(terms) => load_for_a_while(&socket, state, &desired, path, (terms, deep)),
        }
    };
    report.map(|report| report.with("warnings", json!(warnings)))
}

fn differs(socket: &Socket, state: &State, desired: &Desired, deep: bool) -> Result<bool, Error> {
    let live = socket.snapshot_reading(&desired.id, Reading::new(&(&desired.table, state), deep))?.table;
    Ok(!delta(&desired.id, live.as_ref(), Some(&desired.table)).ops.is_empty())
}

fn load_and_keep(
    socket: &Socket,
    state: &State,
    desired: &Desired,
    path: &Path,
    deep: bool,
) -> Result<Report, Error> {
    let loaded = load::load(socket, state, Some(&desired.table), deep)?;
    let kept = keep(state, &desired.table, path);
    let json = json!({
        "applied": true,
        "operations": loaded.operations,
        "attempts": loaded.attempts,
        "connections_ended": loaded.ended,
        "in_sync": true,
        "kept": kept,
    });
    Ok(Report::ok(loaded.in_words(), json))
}

/// Loads a table that is undone unless it is confirmed.
fn load_for_a_while(
    socket: &Socket,
    state: &State,
    desired: &Desired,
    path: &Path,
    (terms, deep): (Terms, bool),
) -> Result<Report, Error> {
    let (change, timer) = confirm::begin(socket, state, (&desired.table, path), terms)?;
    let loaded = load::load(socket, state, Some(&desired.table), deep);
    let loaded = match loaded.map_err(Error::from).and_then(|loaded| Ok((loaded, state.note_loaded(&change)?))) {
        Ok((loaded, ())) => loaded,
        Err(error) => {
            let undone = confirm::undo(socket, state, &change, timer);
            let _ = undone.inspect_err(|error| tracing::error!("{error}; it is tried again when the time is over"));
            return Err(error);
        }
    };
    let left = change.left().unwrap_or_default();
    let mut text = loaded.in_words();
    text.push_str(&format!(
        "It is undone in {} unless you confirm it: open a NEW connection to this machine, and run `palisade confirm` \
         there. `palisade rollback` undoes it now.\n",
        time_in_words(left)
    ));
    let json = json!({
        "applied": true,
        "operations": loaded.operations,
        "attempts": loaded.attempts,
        "connections_ended": loaded.ended,
        "in_sync": true,
        "kept": false,
        "confirm": { "id": change.id, "seconds": left.as_secs(), "undone_by": change.keeper },
    });
    Ok(Report::ok(text, json))
}

/// Keeps the kernel's table for the next boot. A failure does not undo the rules that are in force.
fn keep(state: &State, table: &Table, policy: &Path) -> bool {
    let kept = state.keep(table, policy).and_then(|()| state.forget_boot());
    if let Err(error) = &kept {
        tracing::error!(
            "the rules are in force, but {error}: should the policy fail at the next boot, an older ruleset is loaded"
        );
    }
    kept.is_ok()
}

fn plan(socket: &Socket, state: &State, desired: &Desired, deep: bool) -> Result<Report, Error> {
    let live = socket.snapshot_reading(&desired.id, Reading::new(&(&desired.table, state), deep))?.table;
    let transaction = delta(&desired.id, live.as_ref(), Some(&desired.table));
    let (changes, access) = desired.differs_from(live.as_ref());
    let mut text = if transaction.ops.is_empty() {
        "# nothing to do: the kernel already holds this policy\n".to_owned()
    } else {
        render::transaction(&transaction)
    };
    text.extend(lines(&access).into_iter().map(|line| format!("# {}\n", printable(&line))));
    let commands = render::commands(&transaction);
    let json = json!({
        "applied": false,
        "in_sync": changes.is_empty(),
        "changes": shown(&desired.id, &changes),
        "access": access,
        "commands": commands,
    });
    Ok(Report::ok(text, json))
}

/// The time that a change may wait for confirmation.
fn confirmation_time(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(5)..=Duration::from_secs(24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(time) if bounds.contains(&time) => Ok(time),
        Ok(_) => Err("5 seconds at least, and a day at most".to_owned()),
        Err(error) => Err(format!("{error}; a time is written as `90s` or `5m`")),
    }
}
