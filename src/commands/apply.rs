//! `palisade apply`

use super::console::{End, Waiting};
use super::exposure::Found;
use super::planned::{Shown, is_shown, own_sessions};
use super::prompt::{agreed, is_person};
use super::{Desired, Report, lock, names, reader, say, writer};
use crate::confirm::{self, Terms};
use crate::delta::delta;
use crate::enforce::load;
use crate::error::Error;
use crate::lockout::sessions::{self, Change};
use crate::machine::{Machine, Session};
use crate::netlink::{Reading, Socket};
use crate::policy::{Problems, quote};
use crate::preflight::{Remark, Weight, diagnostics};
use crate::printable::time_in_words;
use crate::process::privileges::{Confinement, need_net_admin};
use crate::state::{State, moment};
use crate::temporary::{Entry, holds, until};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Make the kernel match the policy.
///
/// Sends the smallest change as one transaction, which the kernel carries out completely or not at all, and only on the
/// ruleset that the change was computed from. Then reads the table back to verify it. Unchanged rules keep their
/// counters, and applying again changes nothing. Connections that lose their access are ended; all others continue.
///
/// On a terminal it begins with the plan, as `diff` shows it, and asks if somebody loses a port that somebody listens on.
///
/// Exit status: 0 the kernel holds the policy; 1 it does not, and the old rules are in force unless the error says
/// otherwise; with --dry-run, 4 it would be refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print what would be done, and whether it would be refused, without doing it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the transaction as nft commands, too.
    #[arg(long, requires = "dry_run")]
    pub(crate) nft: bool,
    /// Do not ask on a terminal whether to apply what somebody loses a port by.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Apply the policy even if your own SSH session could not connect again, or if it does not fit this machine.
    ///
    /// Without this option such a policy is refused: palisade tries a new connection like the session's on the compiled
    /// rules and on those of all other tables. A warning names other users who could not connect again. Also refused: a
    /// bridge of a container engine that no line names, a published port that is expected to be open and is shut on this
    /// machine, a gateway or a name server in `block`, SSH that nobody could reach, and a file of addresses that is empty
    /// and was not when it was last applied.
    #[arg(long)]
    pub(crate) force: bool,
    /// Undo the change after TIME (`90s`, `5m`) unless `palisade confirm` is run from a new connection.
    ///
    /// For a change that could cut you off. When the time is over, the previous rules are in force again, whatever
    /// happens to the session, to palisade or to the machine. TIME is between 5 seconds and a day. At the console, with
    /// no SSH between, palisade asks in the same terminal whether the change stays.
    #[arg(long, value_name = "TIME", value_parser = confirmation_time, conflicts_with = "dry_run")]
    pub(crate) confirm: Option<Duration>,
    /// First look up each element of large sets, as `diff --deep` does.
    #[arg(long)]
    pub(crate) deep: bool,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let Args { dry_run, force, confirm, deep, .. } = *args;
    // Taken before the policy is read: of two concurrent applies, the later one loads the newer policy.
    let mut locked = if dry_run { None } else { Some(lock(state, "apply")?) };
    need_net_admin("apply")?;
    // Needs other processes, so it comes before this one is confined.
    let terms = confirm.map(|time| Terms::new(time, state));
    let sessions = sessions::present();
    let machine = Machine::read();
    let asker = names::asker(path);
    let known = (dry_run || is_shown()).then(|| Found::with(machine.listeners.clone()));
    let confined = Confinement::begin(if dry_run { reader(state) } else { writer(state) });
    let (desired, warnings) = Desired::load_as_expected(path, &names::with_new(path, state.names()?, asker))?;
    // What is expected is proved without whoever is let in for a time.
    let desired = desired.with_temporary(state);
    confined.keep_net_admin("apply")?;
    let socket = Socket::open()?;
    let change = Change { policy: &desired.policy, machine: &machine, is_confirmed: confirm.is_some() };
    let kept = sessions::check(&socket, (&desired.id, &desired.table), Some(change), &sessions);
    let own = own_sessions(&sessions, &kept);
    let mut refusals = Refusals { goes_on: force, is_dry: dry_run, why: Vec::new() };
    refusals.unless(kept.map_err(Error::from), |error| match error {
        Error::Lockout(lockouts) => sessions::warn(lockouts),
        other => tracing::warn!("{other}"),
    })?;
    warn_of_temporary(&socket, &desired, &sessions);
    let filled = emptied(state, &desired).map_or(Ok(()), |why| Err(Error::Declined(why)));
    refusals.unless(filled, |why| tracing::warn!("{why}"))?;
    let remarks = desired.remarks(Some(&socket), &machine);
    refusals.unless(fits(&remarks, &warnings), |_| {})?;
    let said = said(remarks, &warnings);
    let warnings = warnings.and(&said);
    let shown = known.map(|known| Shown::new((&socket, state), &desired, &known, own, deep)).transpose()?;
    let report = if let (true, Some(shown)) = (dry_run, &shown) {
        Ok(shown.report(&desired, &refusals.why, args.nft))
    } else {
        let asks = is_person() && !args.yes && confirm.is_none();
        let to_agree_on = shown.as_ref().filter(|_| asks).and_then(Shown::takes_away);
        if let Some(plan) = &to_agree_on {
            // Nobody has to wait for the answer.
            drop(locked.take());
            agreed(&format!("{plan}\nApply this? [y/N] "), "not applied")?;
            locked = Some(lock(state, "apply")?);
            shown.iter().try_for_each(|shown| shown.still_holds((&socket, state), &desired, deep))?;
        }
        confirm::settle(&socket, state)?;
        confirm::none_waits(state)?;
        let after_plan =
            |report| shown.iter().fold(report, |report, shown| shown.before(report, to_agree_on.is_some()));
        match terms.filter(|_| differs(&socket, state, &desired, deep).unwrap_or(true)) {
            None => load_and_keep(&socket, state, &desired, deep).map(after_plan),
            Some(terms) => load_for_a_while(&socket, state, &desired, (terms, deep)).and_then(|(report, waiting)| {
                // Whoever keeps or undoes it elsewhere needs the lock.
                drop(locked.take());
                waited(&socket, state, (&desired, deep), after_plan(report), waiting)
            }),
        }
    };
    drop(locked);
    let report = report?.with("warnings", json!(warnings.warnings())).with("notes", json!(warnings.notes()));
    Ok(report.with("names", names::json(&desired.policy.names)))
}

/// Warns if the session that this command is run from is let in for a time only.
fn warn_of_temporary(socket: &Socket, desired: &Desired, present: &[Session]) {
    let without = desired.table.without_timed();
    let own: Vec<Session> = present.iter().filter(|session| session.own).cloned().collect();
    if own.is_empty() || without == desired.table {
        return;
    }
    if sessions::check(socket, (&desired.id, &without), None, &own).is_err() {
        tracing::warn!("your SSH session is let in for a time only: `palisade allow --list` tells until when");
    }
}

/// Ends the time of those whom the policy takes no more, and cuts that of those whom it takes for a shorter time.
/// Returns whose, in words.
fn cut_temporary(state: &State, desired: &Desired) -> Vec<String> {
    let now = moment();
    let Ok(before) = state.temporary() else { return Vec::new() };
    let after = before.under(&desired.applied.limits());
    let said = before.iter().filter_map(|entry| {
        let Entry { address, group, .. } = entry;
        match after.get(group, *address) {
            None => Some(format!("{address} is no longer in the group {group}, which takes nobody for a time now")),
            Some(cut) if cut != entry => {
                let end = until(cut, &now, holds(&desired.table, cut));
                Some(format!("{address} is in the group {group} {end} now"))
            }
            Some(_) => None,
        }
    });
    let said = said.collect();
    if let Err(error) = state.keep_temporary(&after) {
        tracing::error!("the rules are in force, but {error}: `palisade refresh` tries again");
    }
    said
}

/// What a refusal stops: the command or, of a dry run, nothing.
struct Refusals {
    /// Whether it goes on all the same.
    goes_on: bool,
    is_dry: bool,
    /// What would stop the command.
    why: Vec<Error>,
}

impl Refusals {
    /// Fails as `result` does, unless the command goes on; then it warns.
    fn unless(&mut self, result: Result<(), Error>, warn: impl Fn(&Error)) -> Result<(), Error> {
        let Err(error) = result else { return Ok(()) };
        if !self.goes_on && !self.is_dry {
            return Err(error);
        }
        warn(&error);
        self.why.extend(Some(error).filter(|_| !self.goes_on));
        Ok(())
    }
}

/// Fails if this machine stands against the policy.
fn fits(remarks: &[Remark], warnings: &Problems) -> Result<(), Error> {
    let stops = remarks.iter().filter(|remark| remark.weight <= Weight::Refusal);
    let reasons: Vec<Remark> = stops.map(|remark| Remark { weight: Weight::Error, ..remark.clone() }).collect();
    if reasons.is_empty() { Ok(()) } else { Err(Error::Misfit(diagnostics(&reasons, &warnings.sources))) }
}

/// Says how this machine stands against the policy as warnings, and returns them.
fn said(remarks: Vec<Remark>, warnings: &Problems) -> Problems {
    let remarks = remarks.into_iter().filter(|remark| remark.weight < Weight::Note);
    let remarks: Vec<Remark> = remarks.map(|remark| Remark { weight: Weight::Warning, ..remark }).collect();
    let said = diagnostics(&remarks, &warnings.sources);
    say(&said);
    said
}

/// The file of addresses that is empty, and was not when it was last applied.
fn emptied(state: &State, desired: &Desired) -> Option<String> {
    let was_filled = |path: &Path| {
        let before = state.list_as_applied(path).inspect_err(|error| tracing::warn!("{error}"));
        before.ok().flatten().filter(|before| !before.is_empty()).map(|before| before.ranges().count())
    };
    let empty = desired.lists.iter().filter(|(_, addresses)| addresses.is_empty());
    let (path, count) = empty.map(|(path, _)| path).find_map(|path| Some((path, was_filled(path)?)))?;
    let what =
        if count == 1 { "one address or network".to_owned() } else { format!("{count} addresses and networks") };
    Some(format!(
        "the file {} is empty, and held {what} when it was last applied: fill it again, or, if that is meant, \
         `palisade apply --force`",
        quote(&path.display().to_string())
    ))
}

fn differs(socket: &Socket, state: &State, desired: &Desired, deep: bool) -> Result<bool, Error> {
    let live = socket.snapshot_reading(&desired.id, Reading::new(&(&desired.table, state), deep))?.table;
    Ok(!delta(&desired.id, live.as_ref(), Some(&desired.table)).ops.is_empty())
}

fn load_and_keep(socket: &Socket, state: &State, desired: &Desired, deep: bool) -> Result<Report, Error> {
    let loaded = load::load_under(socket, state, (&desired.table, &desired.applied.limits()), deep)?;
    let kept = keep(state, desired);
    names::keep(state, &desired.policy.names);
    let cut = cut_temporary(state, desired);
    let lines: String = cut.iter().map(|line| format!("{line}\n")).collect();
    let json = json!({
        "applied": true,
        "operations": loaded.operations,
        "attempts": loaded.attempts,
        "connections_ended": loaded.ended,
        "in_sync": true,
        "kept": kept,
    });
    let report = Report::ok(loaded.in_words() + &lines, json);
    Ok(if cut.is_empty() { report } else { report.with("temporary", json!(cut)) })
}

/// Loads a table that is undone unless it is confirmed.
fn load_for_a_while(
    socket: &Socket,
    state: &State,
    desired: &Desired,
    (terms, deep): (Terms, bool),
) -> Result<(Report, Waiting), Error> {
    let (change, timer) = confirm::begin(socket, state, (&desired.table, &desired.kept()), terms)?;
    let loaded = load::load_under(socket, state, (&desired.table, &desired.applied.limits()), deep);
    let loaded = match loaded.map_err(Error::from).and_then(|loaded| Ok((loaded, state.note_loaded(&change)?))) {
        Ok((loaded, ())) => loaded,
        Err(error) => {
            let undone = confirm::undo(socket, state, &change, timer);
            let _ = undone.inspect_err(|error| tracing::error!("{error}; it is tried again when the time is over"));
            return Err(error);
        }
    };
    keep_lists(state, desired);
    names::keep(state, &desired.policy.names);
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
    Ok((Report::ok(text, json), Waiting { change, timer }))
}

/// Asks at the console whether a change that was loaded for a while stays. Elsewhere, and without an answer, it waits.
fn waited(
    socket: &Socket,
    state: &State,
    (desired, deep): (&Desired, bool),
    report: Report,
    waiting: Waiting,
) -> Result<Report, Error> {
    if !waiting.is_at_console() {
        return Ok(report);
    }
    let elsewhere = "undone, or another ruleset was loaded: `palisade status` tells what is in force";
    let too_late = "undone, since nobody kept it in time: the ruleset from before the change is in force";
    let what = match waiting.count_down(socket, state, &report)? {
        End::Unanswered => return Ok(report),
        End::Kept => None,
        End::Elsewhere => Some(elsewhere),
        End::TooLate => Some(too_late),
    };
    if let Some(what) = what
        && differs(socket, state, desired, deep)?
    {
        return Err(Error::Declined(what.to_owned()));
    }
    Ok(report.kept(format!("confirmed: {} stays\n", desired.applied.path.display())))
}

/// Keeps the kernel's table for the next boot. A failure does not undo the rules that are in force.
fn keep(state: &State, desired: &Desired) -> bool {
    let kept = state.keep(&desired.table, &desired.kept()).and_then(|()| state.forget_boot());
    keep_lists(state, desired);
    if let Err(error) = &kept {
        tracing::error!(
            "the rules are in force, but {error}: should the policy fail at the next boot, an older ruleset is loaded"
        );
    }
    kept.is_ok()
}

/// Keeps the addresses of files for the next boot, at which one of them may be broken.
fn keep_lists(state: &State, desired: &Desired) {
    if let Err(error) = state.keep_lists(&desired.lists) {
        tracing::error!(
            "the rules are in force, but {error}: should a file of addresses be broken at the next boot, an \
                         older ruleset is loaded"
        );
    }
}

/// The time that a change may wait for confirmation.
fn confirmation_time(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(5)..=Duration::from_secs(24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(time) if bounds.contains(&time) => Ok(time),
        Ok(_) => Err("5 seconds at least, and a day at most".to_owned()),
        Err(_) if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => {
            Err(format!("it has no unit: did you mean `{text}s`?"))
        }
        Err(error) => Err(format!("{error}; a time is written as `90s` or `5m`")),
    }
}
