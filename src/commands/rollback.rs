//! `palisade rollback`: goes back to the ruleset that was loaded before.

use super::{Report, lock, reader, say, writer};
use crate::confirm;
use crate::confirm::{READY, Timer};
use crate::enforce::load;
use crate::error::Error;
use crate::lockout::sessions;
use crate::machine::Machine;
use crate::netlink::{Reading, Socket};
use crate::policy::{Problems, Sources};
use crate::preflight::{Remark, Weight, diagnostics, remarks_on_kept};
use crate::process::privileges::{Confinement, may_change_firewall};
use crate::ruleset::TableId;
use crate::state::{Change, Identity, State, clock};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// How long a watcher waits between two looks.
const BEAT: Duration = Duration::from_secs(1);
/// How many times a watcher tries to undo.
const ATTEMPTS: u32 = 600;

/// Go back to an earlier ruleset.
///
/// While a change waits for confirmation, goes back to the ruleset that it replaced. Otherwise goes back to the last but
/// one of the kept rulesets, or to the one named by --to. The policy file stays as it is, but boot does not load it until
/// it is applied or changed.
///
/// Exit status: 0 the kernel holds the earlier ruleset, 1 it does not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// List the kept rulesets, newest first, at most five, without changing anything.
    #[arg(long, conflicts_with_all = ["to", "undo"])]
    pub(crate) list: bool,
    /// The ruleset's number in the list.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) to: Option<u32>,
    /// Go back even if your own SSH session could not connect again, or if the ruleset does not fit this machine.
    ///
    /// Without this option such a ruleset is refused, as `apply` refuses such a policy: a bridge of a container engine
    /// that no rule names, a gateway or a name server that is blocked, SSH that nobody could reach. A change that waits
    /// for confirmation is always undone, even if sessions could not connect again.
    #[arg(long, conflicts_with_all = ["list", "undo"])]
    pub(crate) force: bool,
    /// Undo that change unless it is settled. For timers.
    #[arg(long, value_name = "ID", hide = true, conflicts_with = "to")]
    pub(crate) undo: Option<String>,
    /// First wait until the change's time is over.
    #[arg(long, hide = true, requires = "undo")]
    pub(crate) watch: bool,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    match args {
        Args { undo: Some(id), watch, .. } => undo(state, id, *watch),
        Args { list: true, .. } => list(state),
        Args { to, force, .. } => back(state, *to, *force),
    }
}

fn back(state: &State, to: Option<u32>, force: bool) -> Result<Report, Error> {
    let _lock = lock(state, "rollback")?;
    let present = sessions::present();
    let timer = Timer::of_pending(state);
    let waits = confirm::pending(state);
    // Needs other processes, so it comes before this one is confined. Undoing asks no machine.
    let machine = (waits.is_none() || to.is_some()).then(Machine::read);
    Confinement::begin(writer(state)).keep_net_admin("rollback")?;
    let socket = Socket::open()?;
    // Undoing was promised when the change was made: nothing may refuse it.
    if let (Some(change), None) = (&waits, to) {
        confirm::undo(&socket, state, change, timer)?;
        return Ok(undone(change));
    }
    let before = || Error::Declined("no older ruleset is kept: see `palisade rollback --list`".to_owned());
    let number = to.or_else(|| state.before_last_good()).ok_or_else(before)?;
    let kept = state.kept(number)?;
    let id = TableId::palisade();
    match sessions::check(&socket, (&id, &kept.table), None, &present) {
        Err(lockouts) if force => sessions::warn(&lockouts),
        checked => checked.map_err(|lockouts| Error::Declined(lockouts.of_ruleset(number)))?,
    }
    let remarks = machine.map(|machine| remarks_on_kept(&socket, &kept.table, &machine));
    let warnings = fits(number, remarks, force)?;
    if let Some(change) = waits {
        confirm::undo(&socket, state, &change, timer)?;
    }
    let left = socket.snapshot_reading(&id, Reading::ByDigest(state))?.table;
    let loaded = load::load(&socket, state, Some(&kept.table), false)?;
    let remembered = remember(state, number, &kept.about.identity, Identity::of(left.as_ref()).ok());
    let text = match loaded.operations {
        0 => format!("nothing to do: the kernel already holds ruleset {number}\n"),
        _ => format!("rolled back to ruleset {number}, loaded first at {}\n", kept.about.saved),
    };
    let json = json!({
        "rolled_back": true,
        "to": number,
        "operations": loaded.operations,
        "connections_ended": loaded.ended,
        "kept": remembered,
        "warnings": warnings.warnings(),
    });
    Ok(Report::ok(text, json))
}

/// Fails if this machine stands against a ruleset, as `apply` does with a policy, unless that is no reason to stop. Says
/// all else as warnings, and returns them.
fn fits(number: u32, remarks: Option<Vec<Remark>>, force: bool) -> Result<Problems, Error> {
    // Without a machine that was read, a change is being undone.
    let Some(remarks) = remarks else { return Ok(Problems::default()) };
    let said = remarks.iter().filter(|remark| remark.weight < Weight::Note);
    let (stops, warnings): (Vec<&Remark>, Vec<&Remark>) =
        said.partition(|remark| !force && remark.weight <= Weight::Refusal);
    if !stops.is_empty() {
        let reasons: String = stops.iter().map(|remark| format!("{}\n", remark.message)).collect();
        return Err(Error::Declined(format!(
            "ruleset {number} does not fit this machine: nothing was changed, the present rules are in force\n\n{reasons}\n\
             To go back to it all the same: palisade rollback --to {number} --force"
        )));
    }
    let said: Vec<Remark> = warnings.into_iter().map(|remark| of_ruleset(number, remark)).collect();
    let said = diagnostics(&said, &Sources::default());
    say(&said);
    Ok(said)
}

/// A remark as a warning that names the ruleset.
fn of_ruleset(number: u32, remark: &Remark) -> Remark {
    let message = format!("ruleset {number}: {}", remark.message);
    Remark { weight: Weight::Warning, message, ..remark.clone() }
}

/// Makes the ruleset the last good one, and marks the one that it replaced as undone, so that boot does not load it.
fn remember(state: &State, number: u32, identity: &Identity, left: Option<Identity>) -> bool {
    let last = state.last_good().map(|(_, kept)| kept.about.identity);
    let undone = [left, last].into_iter().flatten().filter(|other| other != identity);
    let kept = undone.into_iter().try_for_each(|other| state.remember_undone(&other));
    let kept = kept.and_then(|()| state.keep_again(number, identity)).and_then(|()| state.forget_boot());
    if let Err(error) = &kept {
        tracing::error!("the rules are in force, but {error}: the next boot may load others");
    }
    kept.is_ok()
}

fn settled() -> Report {
    Report::ok("nothing to undo: the change is settled\n", json!({ "rolled_back": false }))
}

fn undone(change: &Change) -> Report {
    let text =
        format!("undone: {} was not confirmed; the ruleset from before it is in force\n", change.policy.display());
    Report::ok(text, json!({ "rolled_back": true, "to": null }))
}

/// The identity of the table in the kernel.
fn live(state: &State) -> Result<Identity, Error> {
    let table = Socket::open()?.snapshot_reading(&TableId::palisade(), Reading::ByDigest(state))?.table;
    Ok(Identity::of(table.as_ref())?)
}

fn list(state: &State) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let may_ask = may_change_firewall();
    if may_ask {
        confined.keep_net_admin("rollback")?
    } else {
        confined.keep_nothing()
    }
    // Kept rulesets are listed even if the kernel can't be asked; then none is marked live.
    let live = may_ask.then(|| live(state)).transpose().unwrap_or_else(|error| {
        tracing::warn!("which of them is in force can't be told: {error}");
        None
    });
    let mut text = String::new();
    let mut rulesets = Vec::new();
    for entry in state.list()? {
        let about = match entry.about {
            Ok(about) => about,
            Err(error) => {
                let _ = writeln!(text, "{:>6}  {error}", entry.number);
                rulesets.push(json!({ "number": entry.number, "error": error }));
                continue;
            }
        };
        let is_live = live.as_ref() == Some(&about.identity);
        let marks = [(is_live, "live"), (entry.last_good, "last good")];
        let marks: Vec<_> = marks.into_iter().filter_map(|(is, mark)| is.then_some(mark)).collect();
        let policy = about.policy.unwrap_or_default();
        let line = format!("{:>6}  {}  {policy}  {}", entry.number, about.saved, marks.join(", "));
        let _ = writeln!(text, "{}", line.trim_end());
        let (number, last_good, saved) = (entry.number, entry.last_good, about.saved);
        let ruleset =
            json!({ "number": number, "saved": saved, "policy": policy, "live": is_live, "last_good": last_good });
        rulesets.push(ruleset);
    }
    if text.is_empty() {
        text.push_str("no ruleset is kept yet: `palisade apply` keeps the first\n");
    }
    Ok(Report::ok(text, json!({ "rulesets": rulesets })))
}

/// Undoes the change with that ID if it still waits. Timers run this, and a watcher once the time is over.
fn undo(state: &State, id: &str, watch: bool) -> Result<Report, Error> {
    if watch {
        begin_watch().map_err(|source| Error::Io { what: "can't watch".to_owned(), source })?;
        if !keep_watch(state, id) {
            return Ok(settled());
        }
    }
    let (mut attempts, mut confined) = (0, false);
    loop {
        attempts += 1;
        match undo_now(state, id, &mut confined) {
            Err(error) if watch && attempts < ATTEMPTS => tracing::error!("{error}"),
            result => return result,
        }
        std::thread::sleep(BEAT);
    }
}

fn undo_now(state: &State, id: &str, confined: &mut bool) -> Result<Report, Error> {
    let _lock = lock(state, "rollback")?;
    // Confines itself once, and only now: while the watcher waited, others may have created the folders anew.
    if !std::mem::replace(confined, true) {
        Confinement::begin(writer(state)).keep_net_admin("rollback")?;
    }
    match state.pending()?.filter(|change| change.id == id) {
        None => Ok(settled()),
        Some(change) => {
            confirm::undo(&Socket::open()?, state, &change, Timer::elapsed())?;
            Ok(undone(&change))
        }
    }
}

/// Starts a session of its own, to outlive the caller's, and reports that it is ready.
fn begin_watch() -> std::io::Result<()> {
    nix::unistd::setsid()?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}")?;
    stdout.flush()
}

/// Waits until the change's time is over; false if the change waits no more.
fn keep_watch(state: &State, id: &str) -> bool {
    loop {
        match state.pending() {
            Ok(Some(change)) if change.id == id => {
                if change.left().is_none() {
                    return true;
                }
                clock::sleep_until(change.deadline().min(clock::since_start() + BEAT));
            }
            Ok(_) => return false,
            // If the change can't be read, let the undo try and report why.
            Err(_) => return true,
        }
    }
}
