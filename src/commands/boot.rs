//! `palisade boot`: loads the kept ruleset at once, then the policy if it can be read, or else the best there is.
//!
//! A kept ruleset is a few messages and their digest. The policy is text that somebody edited, and reading it takes
//! most of palisade's code. That runs in a separate process; however it ends, rules are in force meanwhile.

use super::{Report, writer};
use crate::apart::{Limits, Reader, confine, read_aloud};
use crate::compile::compile;
use crate::confirm;
use crate::enforce::load;
use crate::error::Error;
use crate::machine::ssh_ports;
use crate::names::Names;
use crate::netlink::{Reading, Socket};
use crate::printable::time_in_words;
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::resolve::lockdown::lockdown;
use crate::ruleset::{Table, TableId};
use crate::state::{Applied, Booted, Change, Identity, Lock, Source, State, StateError, Stored};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Protect this machine at boot, whatever state it is in. `palisade.service` runs this.
///
/// If palisade's rules are not loaded, loads the last good ruleset at once, or a lockdown that denies everything
/// incoming but SSH. Then replaces it by the policy. A separate process reads the policy, within a minute and half of the
/// memory. The last good ruleset stays if the policy is missing or invalid, if reading it takes longer or needs more
/// memory, if the kernel refuses it, or if it was undone because nobody confirmed it. A file of addresses that can't be
/// used is taken as it was last applied. An unmet expectation of the policy is only a warning. If anything but the policy
/// was loaded, standard error and `status` say so.
///
/// Exit status: 0 rules are loaded, 1 none are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only bring back rules that were in force since the machine started and are gone, without reading the policy.
    /// `nftables.service` is configured to run this after it has flushed all rules.
    #[arg(long)]
    pub missing: bool,
    /// Read the policy and print its meaning on standard output. `boot` runs this itself.
    #[arg(long, hide = true, conflicts_with = "missing")]
    pub read: bool,
    /// The limits of reading the policy.
    #[command(flatten)]
    pub limits: ReadingLimits,
}

/// The limits of reading the policy at boot.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ReadingLimits {
    /// The time for reading the policy.
    #[arg(long, hide = true, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "60s")]
    reading_time: Duration,
    /// The MiB of memory for reading the policy. The default is half of the machine's memory, and at most 2048.
    #[arg(long, hide = true, value_name = "MIB")]
    reading_memory: Option<u64>,
}

impl From<&ReadingLimits> for Limits {
    fn from(said: &ReadingLimits) -> Self {
        Self::new(said.reading_time, said.reading_memory)
    }
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let limits = Limits::from(&args.limits);
    if args.read { read(path, state, limits) } else { load(path, state, args.missing, limits) }
}

fn load(path: &Path, state: &State, missing: bool, limits: Limits) -> Result<Report, Error> {
    need_net_admin("boot")?;
    // Without the lock, loads anyway: rules that collide with another writer's are better than none.
    let patience = if missing { PATIENCE_WITHOUT_RULES } else { PATIENCE };
    let lock =
        state.lock_within("boot", patience).inspect_err(|error| tracing::error!("{error}; loading all the same"));
    if missing && !state.is_in_force() {
        return Ok(nothing_to_do("no rules of palisade's were in force since this machine was started"));
    }
    let waits = Unconfirmed::of(state);
    // Reads no policy while a change waits, nor to bring a kept ruleset back.
    let needless = matches!(waits, Unconfirmed::Waits(..)) || missing && state.last_good().is_some();
    // Started before this process gives up the right to start processes. It works while this process loads the kept
    // ruleset.
    let reader = (!needless).then(|| Reader::start(path, state, limits));
    let confined = Confinement::begin(writer(state));
    let ports = ssh_ports();
    confined.keep_net_admin("boot")?;
    let boot = Boot { socket: Socket::open()?, id: TableId::palisade(), state, path };

    let is_loaded = boot.is_loaded();
    match &waits {
        _ if missing && is_loaded => Ok(nothing_to_do("the rules are loaded")),
        Unconfirmed::Waits(_, left) if is_loaded => {
            Ok(nothing_to_do(&format!("a change waits for confirmation for another {}", time_in_words(*left))))
        }
        Unconfirmed::Waits(change, _) => boot.waiting(change, &ports),
        _ => boot.best(&waits, is_loaded, reader, &ports, lock.ok()),
    }
}

/// The separate process that reads the policy.
fn read(path: &Path, state: &State, limits: Limits) -> Result<Report, Error> {
    let failed = |source| Error::Io { what: "the policy is not read apart".to_owned(), source };
    confine(&limits).map_err(failed)?;
    // This process writes no file and starts no process.
    let _confined = Confinement::begin(Needs::default());
    read_aloud(path, state, &mut std::io::stdout().lock()).map_err(failed)?;
    Ok(Report { status: 0, text: String::new().into(), json: json!({}) })
}

fn nothing_to_do(why: &str) -> Report {
    Report::ok(format!("nothing to do: {why}\n"), json!({ "booted_from": null, "why": why }))
}

/// How long to wait for another writer. The unit has 90 s for the whole boot, of which reading the policy takes up to
/// 60.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same while the machine has no rules: the other writer may be a boot that reads a policy.
const PATIENCE_WITHOUT_RULES: Duration = Duration::from_secs(1);

/// Why something has to be loaded although this is not the boot.
const GONE: &str = "palisade's rules were gone";

/// The state of a change that waited for confirmation.
enum Unconfirmed {
    /// There is no such change.
    None,
    /// It waits for this much longer: this is not the boot, the unit was started again.
    Waits(Change, Duration),
    /// Nobody confirmed it in time: the reason as text, and the table loaded before it, if there was one.
    Over(String, Option<Table>),
}

impl Unconfirmed {
    fn of(state: &State) -> Self {
        let Some(change) = confirm::pending(state) else { return Self::None };
        if let Some(left) = change.left() {
            return Self::Waits(change, left);
        }
        let why = format!("nobody has confirmed the change to {}", change.policy.display());
        let previous = state.previous().inspect_err(|error| tracing::error!("{error}")).ok();
        Self::Over(why, previous.and_then(|previous| previous.table))
    }
}

struct Boot<'a> {
    socket: Socket,
    id: TableId,
    state: &'a State,
    path: &'a Path,
}

/// The ruleset that was loaded instead of the policy.
struct Fallback {
    from: Source,
    operations: usize,
    /// Why nothing better was loaded.
    why: Option<String>,
}

impl Boot<'_> {
    /// Whether the kernel holds palisade's table. If it does not answer, a table is loaded.
    fn is_loaded(&self) -> bool {
        let snapshot = self.socket.snapshot_reading(&self.id, Reading::ByDigest(self.state));
        snapshot.is_ok_and(|snapshot| snapshot.table.is_some())
    }

    /// Loads the best ruleset that can be loaded.
    fn best(
        &self,
        waits: &Unconfirmed,
        is_loaded: bool,
        reader: Option<Result<Reader, String>>,
        ports: &BTreeSet<u16>,
        lock: Option<Lock>,
    ) -> Result<Report, Error> {
        let mut reasons = Vec::new();
        if let Unconfirmed::Over(why, previous) = waits {
            reasons.push(why.clone());
            match self.previous(previous.as_ref()) {
                Ok(operations) => return Ok(self.instead(Source::Previous, reasons, operations)),
                Err(why) => reasons.push(why),
            }
        }
        let Some(reader) = reader else {
            let Fallback { from, operations, why } = self.fallback(ports)?;
            let why = [GONE.to_owned()].into_iter().chain(why).collect::<Vec<_>>().join("; ");
            return Ok(said(&Booted { from, why: Some(why) }, operations));
        };
        // Loading the kept ruleset first shortens the time without rules. Rules that are loaded already stay: the
        // kept ones may be older.
        let at_once = if is_loaded { None } else { Some(self.fallback(ports)) };
        let locked = matches!(&at_once, Some(Ok(Fallback { from: Source::Lockdown, .. })));
        match (reader.and_then(|mut reader| Ok((self.policy(&mut reader, locked)?, reader))), at_once) {
            (Ok(((table, applied, operations), reader)), at_once) => {
                let before = at_once.and_then(Result::ok).map_or(0, |fallback| fallback.operations);
                Ok(self.finish((&table, &applied), before + operations, reader, lock))
            }
            (Err(why), at_once) => {
                reasons.push(why);
                let Fallback { from, operations, why } = at_once.unwrap_or_else(|| Ok(self.rather_than_live()))?;
                reasons.extend(why);
                Ok(self.instead(from, reasons, operations))
            }
        }
    }

    /// Loads the table from before an unconfirmed change, and forgets the change.
    fn previous(&self, table: Option<&Table>) -> Result<usize, String> {
        let loaded = table.map(|table| self.load(table));
        let forgotten = confirm::forget(self.state, self.state.previous().ok().as_ref());
        let _ = forgotten.inspect_err(|error| tracing::error!("{error}: the next boot undoes the change again"));
        let loaded = loaded.ok_or("it replaced no ruleset")?;
        loaded.map_err(|error| format!("the ruleset that it replaced could not be loaded: {error}"))
    }

    /// Loads the table of a waiting change, or the table that it replaces if the change was not in force yet. Undoing
    /// the change works with either.
    fn waiting(&self, change: &Change, ports: &BTreeSet<u16>) -> Result<Report, Error> {
        let load = |stored: Result<Stored, StateError>| {
            let table = stored.map_err(|error| error.to_string())?.table.ok_or("it replaced no ruleset")?;
            self.load(&table).map_err(|error| error.to_string())
        };
        let why = vec![format!("{GONE} while a change waits for confirmation")];
        let (from, loaded) = match change.loaded() {
            Some(_) => (Source::Waiting, load(self.state.desired())),
            None => (Source::Previous, load(self.state.previous())),
        };
        match loaded {
            Ok(operations) => Ok(said(&Booted { from, why: Some(why.join("; ")) }, operations)),
            Err(error) => {
                let fallback = self.fallback(ports)?;
                let reasons = why.into_iter().chain([error]).chain(fallback.why);
                let why = reasons.collect::<Vec<_>>().join("; ");
                Ok(said(&Booted { from: fallback.from, why: Some(why) }, fallback.operations))
            }
        }
    }

    /// Loads the last good ruleset, or a lockdown.
    fn fallback(&self, ports: &BTreeSet<u16>) -> Result<Fallback, Error> {
        match self.last_good() {
            Ok(operations) => Ok(Fallback { from: Source::LastGood, operations, why: None }),
            Err(why) => {
                let operations = self.load(&compile(&lockdown(ports)))?;
                Ok(Fallback { from: Source::Lockdown, operations, why: Some(why) })
            }
        }
    }

    /// Loads the last good ruleset. If there is none, the live one stays.
    fn rather_than_live(&self) -> Fallback {
        match self.last_good() {
            Ok(operations) => Fallback { from: Source::LastGood, operations, why: None },
            Err(why) => Fallback { from: Source::Live, operations: 0, why: Some(why) },
        }
    }

    fn last_good(&self) -> Result<usize, String> {
        let (number, kept) = self.state.last_good().ok_or("no ruleset is kept to fall back on")?;
        self.load(&kept.table).map_err(|error| format!("the kept ruleset {number} could not be loaded: {error}"))
    }

    fn policy(&self, reader: &mut Reader, locked: bool) -> Result<(Table, Applied, usize), String> {
        let (table, applied) = reader.table()?;
        let identity = Identity::of(Some(&table)).map_err(|error| error.to_string())?;
        if self.state.is_undone(&identity) {
            return Err(
                "the policy was undone and not applied since; `palisade apply` loads it all the same".to_owned()
            );
        }
        let loaded = if locked { self.replace(&table) } else { self.load(&table) };
        let operations = loaded.map_err(|error| format!("the policy could not be loaded: {error}"))?;
        Ok((table, applied, operations))
    }

    /// Keeps the policy's table after it is loaded, and reports unmet expectations.
    fn finish(
        &self,
        (table, applied): (&Table, &Applied),
        operations: usize,
        mut reader: Reader,
        lock: Option<Lock>,
    ) -> Report {
        if lock.is_some() {
            let kept = self.state.keep(table, applied);
            let _ = kept.inspect_err(|error| tracing::error!("{error}: the ruleset to fall back on is an older one"));
        }
        self.note_names(applied);
        let instead = reader.instead();
        let booted = Booted { from: Source::Policy, why: (!instead.is_empty()).then(|| instead.join("; ")) };
        self.note(&booted);
        // Others may be waiting for the lock, and the proof changes nothing.
        drop(lock);
        match reader.unmet() {
            Ok(None) => {}
            Ok(Some(problems)) => tracing::warn!("the policy is loaded although it is not as expected\n{problems}"),
            Err(why) => tracing::error!("the policy is loaded, and nobody knows whether it is as expected: {why}"),
        }
        let text = format!("loaded {}, {}\n", Source::Policy, self.path.display());
        Report { text: text.into(), ..said(&booted, operations) }
    }

    /// Has `refresh` look up the names of a policy that was edited and never applied.
    fn note_names(&self, applied: &Applied) {
        self.state.note_refreshed();
        if applied.texts().any(|text| text.contains("dns")) && !self.state.knows_names() {
            let kept = self.state.keep_names(&Names::default());
            let _ = kept.inspect_err(|error| tracing::warn!("{error}: host names are not looked up"));
        }
    }

    /// Reports why another ruleset than the policy was loaded.
    fn instead(&self, from: Source, reasons: Vec<String>, operations: usize) -> Report {
        let booted = Booted { from, why: Some(reasons.join("; ")) };
        self.note(&booted);
        said(&booted, operations)
    }

    fn note(&self, booted: &Booted) {
        let noted = self.state.note_boot(booted);
        let _ = noted.inspect_err(|error| tracing::warn!("{error}: `palisade status` will not say so"));
    }

    fn load(&self, table: &Table) -> Result<usize, Error> {
        Ok(load::load(&self.socket, self.state, Some(table), false)?.operations)
    }

    fn replace(&self, table: &Table) -> Result<usize, Error> {
        Ok(load::replace(&self.socket, self.state, table)?.operations)
    }
}

fn said(booted: &Booted, operations: usize) -> Report {
    if let Some(why) = &booted.why {
        tracing::error!("loaded {}", booted.from.with(why));
    }
    Report::ok("", json!({ "booted_from": booted.from, "why": booted.why, "operations": operations }))
}
