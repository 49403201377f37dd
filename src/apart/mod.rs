//! Reads the policy in a separate process. A bug in palisade itself, a policy that takes for ever and one that
//! exhausts memory end only that process.
//!
//! `boot` starts it before giving up its own rights, loads the kept ruleset, and then waits for the other process to
//! report: first the problems of the policy or its table, then whether the table meets the expectations. See `words`.

mod reader;
mod words;

pub use reader::Reader;
pub use words::{Words, tell};

use crate::desired::compile_at_boot;
use crate::policy::{Problems, Severity};
use crate::state::State;
use caps::CapSet;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::alarm;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// The highest default limit, in MiB; a million addresses take 60.
const MOST_MEMORY: u64 = 2048;
/// The lowest default limit, in MiB, for a machine with hardly any memory.
const LEAST_MEMORY: u64 = 128;

/// The limits of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its last report.
    pub time: Duration,
    /// Of memory, in MiB.
    pub memory: u64,
}

impl Limits {
    /// Half of this machine's memory, unless `memory` is given.
    #[must_use]
    pub fn new(time: Duration, memory: Option<u64>) -> Self {
        let half = || match procfs_memory() {
            Some(bytes) => ((bytes / 2) >> 20).clamp(LEAST_MEMORY, MOST_MEMORY),
            None => MOST_MEMORY,
        };
        Self { time, memory: memory.unwrap_or_else(half) }
    }
}

fn procfs_memory() -> Option<u64> {
    use procfs::Current;
    procfs::Meminfo::current().ok().map(|memory| memory.mem_total)
}

/// Confines this process to reading: it keeps no rights but those of its user, and ends when it exceeds a limit or
/// when the process that waits for it ends.
///
/// # Errors
/// The kernel, or one of systemd's system call filters, refuses a limit.
pub fn confine(limits: &Limits) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // If memory runs out all the same, the kernel's OOM killer picks this process first.
    let first = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = first.inspect_err(|error| tracing::debug!("can't be the first that a lack of memory ends: {error}"));
    // The waiting process is confined by then and can't signal this one.
    alarm::set(u32::try_from(limits.time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1));
    let memory = limits.memory << 20;
    setrlimit(Resource::RLIMIT_DATA, memory, memory)?;
    setrlimit(Resource::RLIMIT_CPU, limits.time.as_secs() + 1, limits.time.as_secs() + 2)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    Ok(())
}

/// What the process does: reports the policy's table or problems, and then whether the expectations are met.
///
/// # Errors
/// The process that waits has gone.
pub fn read_aloud(path: &Path, state: &State, to: &mut impl Write) -> io::Result<()> {
    let compiled = match compile_at_boot(path, state) {
        Ok(compiled) => compiled,
        Err(problems) => return tell(to, &invalid(&problems)),
    };
    if !compiled.instead.is_empty() {
        tell(to, &Words::Instead { lists: compiled.instead.clone() })?;
    }
    let applied = compiled.applied.clone().with_lists(&compiled.lists);
    tell(to, &Words::Table(compiled.table.clone(), Box::new(applied)))?;
    let unmet = compiled.unmet().map(|problems| problems.render(false).trim_end().to_owned());
    tell(to, &Words::Proved { unmet })
}

fn invalid(problems: &Problems) -> Words {
    let shown = problems.for_log(Severity::Error);
    let problems = problems.problems();
    let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
    let why = match problems.len() {
        0 | 1 => format!("the policy is not valid: {first}"),
        more => format!("the policy is not valid: {first}, and {} more", more - 1),
    };
    Words::Invalid { problems: shown, why }
}
