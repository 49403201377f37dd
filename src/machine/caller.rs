//! Which SSH connection this process serves, found by walking up its ancestors.

use super::processes::Process;
use super::sessions::{SSH_CONNECTION, serves_ssh};
use crate::files::user_name;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where a command is run from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caller {
    /// An SSH connection, identified by the sshd process that serves it.
    Ssh {
        /// The process.
        pid: u32,
        /// When the process started, in milliseconds since boot: when the connection was made.
        started_ms: u64,
    },
    /// A former SSH connection; tmux, screen and mosh hide the current one.
    Detached,
    /// No SSH connection: the console or a job.
    Local,
}

impl Caller {
    /// The session of this process. Needs the right to read other processes' environments, which root has.
    #[must_use]
    pub fn of_this_process() -> Self {
        let mut over_ssh = false;
        for (process, stat) in Process::ancestry() {
            if serves_ssh(&process) {
                return Self::Ssh { pid: process.pid, started_ms: milliseconds(stat.started) };
            }
            over_ssh |= process.variable(SSH_CONNECTION).is_some();
        }
        if over_ssh { Self::Detached } else { Self::Local }
    }

    /// Why this session can't confirm a change that `applied` loaded, or `None` if it can. `loaded` is the time
    /// between boot and the load.
    ///
    /// The session has to show that a new connection gets in. One at the console needs no such proof.
    #[must_use]
    pub fn cannot_confirm(self, applied: Self, loaded: Duration) -> Option<&'static str> {
        match (applied, self) {
            (Self::Local, _) | (_, Self::Local) => None,
            (_, Self::Ssh { started_ms, .. }) if u128::from(started_ms) > loaded.as_millis() => None,
            (_, Self::Ssh { .. }) => Some(
                "this connection was there before the change, and does not show that a new one gets in: open a new SSH \
                 connection and run `palisade confirm` there",
            ),
            (_, Self::Detached) => Some(
                "this shell has outlived the connection that it was opened by (tmux, screen or mosh), and does not show \
                 that a new one gets in: open a new SSH connection and run `palisade confirm` there, outside of tmux",
            ),
        }
    }
}

/// The user who runs this process: as whom they logged in, whatever sudo or su made of them since, else whom sudo names,
/// else the user of this process. A user without a name is told by number.
#[must_use]
pub fn operator() -> String {
    // The audit's id, which no one can change once it is set (kernel/auditsc.c); 4294967295 is unset.
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let logged_in = login.filter(|&user: &u32| user != u32::MAX).map(user_name);
    let by_sudo = || std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    logged_in.or_else(by_sudo).unwrap_or_else(|| user_name(nix::unistd::getuid().as_raw()))
}

fn milliseconds(ticks: u64) -> u64 {
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    let per_second = per_second.and_then(|ticks| u64::try_from(ticks).ok()).filter(|&ticks| ticks > 0).unwrap_or(100);
    ticks.saturating_mul(1000) / per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_or_a_console_confirms_and_an_old_connection_does_not() {
        let loaded = Duration::from_millis(5000);
        let ssh = |started_ms| Caller::Ssh { pid: 7, started_ms };
        let can = |applied: Caller, confirming: Caller| confirming.cannot_confirm(applied, loaded).is_none();
        for applied in [ssh(1000), Caller::Detached] {
            assert!(can(applied, ssh(5001)));
            assert!(can(applied, Caller::Local));
            assert!(!can(applied, ssh(1000)));
            assert!(!can(applied, ssh(5000)), "a tick is ten milliseconds: when in doubt, it is older");
            assert!(!can(applied, Caller::Detached));
        }
        for confirming in [ssh(1000), ssh(5001), Caller::Detached, Caller::Local] {
            assert!(can(Caller::Local, confirming));
        }
    }
}
