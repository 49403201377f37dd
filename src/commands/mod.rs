//! The commands, one file each: a short pipeline, and the texts of its result.

pub(crate) mod add;
pub(crate) mod allow;
pub(crate) mod apply;
pub(crate) mod block;
pub(crate) mod boot;
pub(crate) mod check;
pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod denied;
pub(crate) mod diff;
pub(crate) mod disable;
pub(crate) mod doctor;
pub(crate) mod edit;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod exposure;
pub(crate) mod group;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod man;
pub(crate) mod metrics;
pub(crate) mod refresh;
pub(crate) mod remove;
pub(crate) mod report;
pub(crate) mod revoke;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod suggest;

mod added;
mod console;
mod counted;
mod edited;
mod first_policy;
mod man_pages;
mod measured;
mod names;
mod offered;
mod planned;
mod prompt;
mod pull_request;
mod standing;

use crate::access::{self, AccessChange, access_changes};
use crate::delta::{Change, changes};
use crate::desired::{Compiled, Loaded, compile_policy};
use crate::enforce::with_present;
use crate::error::Error;
use crate::machine::{self, Machine};
use crate::names::Names;
use crate::net::beside_addresses;
use crate::netlink::Socket;
use crate::policy::Problems;
use crate::preflight::{Remark, remarks_here};
use crate::printable::{Text, printable};
use crate::process::journal::Stderr;
use crate::process::privileges::{Needs, need_net_admin};
use crate::process::progress::doing;
use crate::resolve::{Line, Resolved};
use crate::ruleset::{Table, TableId};
use crate::state::{Applied, Lists, Lock, State, moment};
use crate::temporary::Entries;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use tracing::Level;

/// The version of the form of every document of `--json`: `docs/json.md` says what it promises.
const FORMAT_VERSION: u32 = 1;

/// A document with the version of its form.
#[must_use]
pub fn versioned(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.insert("format_version".to_owned(), FORMAT_VERSION.into());
    }
    document
}

/// The output of a command. `main` prints the text or the JSON, and exits with the status.
#[derive(Debug)]
pub struct Report {
    /// The exit status.
    pub status: u8,
    /// For people; may be empty.
    pub text: Text,
    /// For programs.
    pub json: Value,
}

impl Report {
    fn ok(text: impl Into<Text>, json: Value) -> Self {
        Self { status: 0, text: text.into(), json }
    }

    /// The report of a change that waited for confirmation, and waits no more.
    fn kept(mut self, text: impl Into<Text>) -> Self {
        if let Some(fields) = self.json.as_object_mut() {
            fields.remove("confirm");
        }
        Self { text: text.into(), ..self }.with("kept", true.into())
    }

    /// Adds a field to what programs get.
    fn with(mut self, field: &str, value: Value) -> Self {
        if let Some(fields) = self.json.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
        self
    }
}

/// A policy and its table.
struct Desired {
    policy: Resolved,
    id: TableId,
    table: Table,
    /// The addresses of the files that the policy names.
    lists: Lists,
    /// What is kept of the policy, without the digests of its files.
    applied: Applied,
    /// Who is in its groups for a time, see [`Self::with_temporary`].
    temporary: Entries,
}

impl From<Compiled> for Desired {
    fn from(Compiled { policy, table, lists, applied, .. }: Compiled) -> Self {
        Self { policy, id: TableId::palisade(), table, lists, applied, temporary: Entries::default() }
    }
}

impl Desired {
    /// Who may not read palisade's state has to read it for a policy with host names only.
    fn load(path: &Path, state: &State) -> Result<Self, Error> {
        let names = state.names();
        let none = Names::default();
        let known = names.as_ref().unwrap_or(&none);
        let desired = compile_policy(path, known).map(Self::from).map_err(Error::Policy)?;
        match names {
            Err(error) if desired.policy.names.iter().next().is_some() => Err(error.into()),
            _ => Ok(desired),
        }
    }

    /// Like `load`, but fails if the policy does not meet its own expectations. Says the policy's warnings on standard
    /// error, and returns them.
    fn load_as_expected(path: &Path, names: &Names) -> Result<(Self, Problems), Error> {
        compile_policy(path, names).and_then(Self::as_expected).map_err(Error::Policy)
    }

    /// The same of a policy that is compiled already.
    fn as_expected(compiled: Compiled) -> Result<(Self, Problems), Problems> {
        let Loaded { policy, table, unmet, warnings, lists, applied } = compiled.into();
        if let Some(problems) = unmet {
            return Err(problems.and(&warnings));
        }
        say(&warnings);
        let desired = Self { policy, id: TableId::palisade(), table, lists, applied, temporary: Entries::default() };
        Ok((desired, warnings))
    }

    /// What is kept of the policy.
    fn kept(&self) -> Applied {
        self.applied.clone().with_lists(&self.lists)
    }

    /// All remarks on the policy with its table on this machine, worst first.
    fn remarks(&self, socket: Option<&Socket>, machine: &Machine) -> Vec<Remark> {
        let _doing = doing("holding the policy against this machine");
        remarks_here(socket, &self.policy, &self.table, machine)
    }

    /// Adds whoever is in a group for a time: they are intended as the policy is.
    fn with_temporary(self, state: &State) -> Self {
        let limits = self.applied.limits();
        // Where the state can't be read, that is said there.
        let temporary = state.temporary().map(|all| all.under(&limits)).unwrap_or_default();
        Self { table: with_present(state, &self.table, Some(&limits)), temporary, ..self }
    }

    /// Changes of access as lines, with the names of addresses, and until when they are let in.
    fn access_lines(&self, changes: &[AccessChange]) -> Vec<String> {
        access::lines(changes).iter().map(|line| self.beside_addresses(line)).collect()
    }

    /// A line with the names of addresses, and until when they are let in.
    fn beside_addresses(&self, line: &str) -> String {
        let now = moment();
        let known = |address| {
            let names = self.policy.names.of(address).map(str::to_owned);
            names.chain(self.temporary.ends_of(address, &now)).collect()
        };
        printable(&beside_addresses(line, known)).into_owned()
    }

    /// How the live table differs, and who gains and loses access when this one replaces it.
    fn differs_from(&self, live: Option<&Table>) -> (Vec<Change>, Vec<AccessChange>) {
        let changes = changes(&self.id, live, Some(&self.table));
        if changes.is_empty() {
            return (changes, Vec::new());
        }
        let _doing = doing("comparing who has access");
        (changes, access_changes(&self.id, live, Some(&self.table)))
    }
}

/// Says warnings on standard error, unless only errors are wanted there.
fn say(warnings: &Problems) {
    if warnings.diagnostics.is_empty() || !tracing::enabled!(Level::WARN) {
        return;
    }
    // Nothing can be done if standard error can't be written to.
    let _ = Stderr::detect().at(Level::WARN).write_all(warnings.render(Stderr::is_colored()).as_bytes());
}

/// What is said of a line, for programs: with its file, if that is not the policy itself.
fn with_file(mut said: Value, line: Option<(&Resolved, Line)>) -> Value {
    let file = line.and_then(|(policy, line)| policy.included_file(line));
    if let (Some(said), Some(file)) = (said.as_object_mut(), file) {
        said.insert("file".to_owned(), file.into());
    }
    said
}

/// What is known of host names. Who may not read palisade's state still wants an answer about a policy.
fn names_as_known(state: &State) -> Names {
    state.names().unwrap_or_else(|error| {
        tracing::info!("{error}: host names count as not looked up");
        Names::default()
    })
}

/// Takes the lock for a command that changes the firewall. Nobody else changes it until the lock is dropped.
fn lock(state: &State, command: &'static str) -> Result<Lock, Error> {
    need_net_admin(command)?;
    Ok(state.lock(command)?)
}

/// Paths that a confined command still reads, for: the boot ID, the CPUs that threads may use, the owner of a file,
/// and the ports that a lockdown leaves open.
const STILL_READ: [&str; 6] = [
    "/proc/self",
    "/proc/sys/kernel/random/boot_id",
    "/sys/fs/cgroup",
    "/etc/passwd",
    machine::SSHD,
    machine::SSHD_MORE,
];

/// The rights of a command that changes nothing.
fn reader(state: &State) -> Needs<'_> {
    let kept = [state.folder(), state.run_folder()];
    Needs { reads: STILL_READ.iter().map(Path::new).chain(kept).collect(), ..Needs::default() }
}

/// The rights of a command that records what it does.
fn writer(state: &State) -> Needs<'_> {
    // The confined process can't create them any more.
    state.make_folders();
    let reads = STILL_READ.iter().map(Path::new).collect();
    Needs { writes: vec![state.folder(), state.run_folder()], reads, ..Needs::default() }
}
