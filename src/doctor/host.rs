//! Facts about this machine, without its live rules.

use super::{Enabled, Engine};
use crate::machine::{DockerOptions, Flush, Gaps, Machine, Sysctls, UnitState};
use crate::netlink::RoutedLink;
use crate::policy::Problem;
use crate::resolve::Resolved;
use std::time::Duration;

/// Facts about this machine. A fact that could not be read has an entry in `gaps`, and its field looks as if nothing
/// were there.
#[derive(Clone, Debug)]
pub struct Host {
    /// The policy.
    pub policy: PolicyState,
    /// What a valid policy probably does not mean.
    pub warnings: Vec<Problem>,
    /// Its path, as typed.
    pub path: String,
    /// Whether this kernel accepts the policy's rules.
    pub kernel: Kernel,
    /// How the loaded table compares with the policy.
    pub loaded: Loaded,
    /// Whether the policy's ruleset is one that was undone, and not applied since.
    pub undone: bool,
    /// How long a pending change still waits for confirmation.
    pub waits: Option<Duration>,
    /// What `palisade.service` does at boot; `None` if systemd does not run.
    pub boot: Option<UnitState>,
    /// What `palisade-refresh.timer` does at boot; `None` if systemd does not run.
    pub refresh: Option<UnitState>,
    /// Other firewalls that are started at boot.
    pub enabled: Enabled,
    /// Where `nftables.service` flushes the rules of all programs at boot; `None` if it does not, or is not enabled.
    pub flush: Option<Flush>,
    /// Whether palisade's rules are then loaded again, by the package's drop-in.
    pub flush_is_mended: bool,
    /// The iptables-legacy tables that are loaded.
    pub legacy: Vec<String>,
    /// How Docker's daemon was started; `None` if it does not run.
    pub docker: Option<DockerOptions>,
    /// The container engines, as they describe themselves.
    pub engines: Vec<Engine>,
    /// The sysctls.
    pub sysctls: Sysctls,
    /// The interfaces.
    pub links: Vec<RoutedLink>,
    /// The facts that the policy is held against.
    pub machine: Machine,
    /// What could not be found out, and why.
    pub gaps: Gaps,
}

/// A policy, or what is wrong with it.
#[derive(Clone, Debug)]
pub enum PolicyState {
    /// It is valid.
    Valid(Box<Resolved>),
    /// It does not exist.
    Missing {
        /// The remedy.
        help: Option<String>,
    },
    /// Someone other than root could have written it.
    Writable {
        /// What is writable, and by whom.
        message: String,
        /// The command that changes that.
        help: Option<String>,
    },
    /// It can't be read or compiled, or does not meet its own expectations. Describes the first problem.
    Invalid {
        /// The number of problems.
        problems: usize,
        /// The first problem.
        message: String,
        /// Its line, `policy.yaml:17`.
        at: Option<String>,
        /// What to write instead.
        help: Option<String>,
    },
}

impl PolicyState {
    /// The policy, if it is valid.
    pub(super) fn valid(&self) -> Option<&Resolved> {
        if let Self::Valid(policy) = self { Some(policy) } else { None }
    }
}

/// Whether this kernel accepts the policy's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It accepted them in a namespace without traffic, or there was nothing to try.
    Takes,
    /// It refused them; the sentence names the object and the kernel's reason.
    Refuses(String),
}

/// How the loaded table compares with the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Palisade's table is not loaded.
    Nothing,
    /// A table is loaded, but there is no policy to compare it with.
    Something,
    /// It matches the policy.
    Policy,
    /// It differs from the policy in this many places.
    Differs(usize),
}
