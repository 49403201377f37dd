//! The commands, one file each: a short pipeline, and the texts of its result.

pub(crate) mod apply;
pub(crate) mod boot;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod diff;
pub(crate) mod disable;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod exposure;
pub(crate) mod man;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod status;

use crate::access::{AccessChange, access_changes};
use crate::delta::{Change, changes};
use crate::desired::{Compiled, Loaded, compile_policy, load_and_prove};
use crate::error::Error;
use crate::machine::{self, Machine};
use crate::netlink::Socket;
use crate::policy::Problems;
use crate::preflight::{Remark, remarks_here};
use crate::printable::Text;
use crate::process::journal::Stderr;
use crate::process::privileges::{Needs, need_net_admin};
use crate::process::progress::doing;
use crate::resolve::Resolved;
use crate::ruleset::{Table, TableId};
use crate::state::{Lists, Lock, State};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use tracing::Level;

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
}

impl Desired {
    fn load(path: &Path) -> Result<Self, Error> {
        let Compiled { policy, table, lists, .. } = compile_policy(path).map_err(Error::Policy)?;
        Ok(Self { policy, id: TableId::palisade(), table, lists })
    }

    /// Like `load`, but fails if the policy does not meet its own expectations. Says the policy's warnings on standard
    /// error, and returns them.
    fn load_as_expected(path: &Path) -> Result<(Self, Problems), Error> {
        let Loaded { policy, table, unmet, warnings, lists } = load_and_prove(path).map_err(Error::Policy)?;
        if let Some(problems) = unmet {
            return Err(Error::Policy(problems.and(&warnings)));
        }
        say(&warnings);
        Ok((Self { policy, id: TableId::palisade(), table, lists }, warnings))
    }

    /// All remarks on the policy with its table on this machine, worst first.
    fn remarks(&self, socket: Option<&Socket>, machine: &Machine) -> Vec<Remark> {
        let _doing = doing("holding the policy against this machine");
        remarks_here(socket, &self.policy, &self.table, machine)
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
    Needs { writes: vec![state.folder(), state.run_folder()], reads, namespace: false }
}
