//! What is known of this machine before its rules are followed.

use super::{Enabled, Engine};
use crate::machine::{DockerOptions, Flush, Gaps, UnitState};
use crate::netlink::RoutedLink;
use crate::resolve::Resolved;
use std::time::Duration;

/// What is known of this machine. What could not be read stands in `gaps`, and in its own place is as if nothing were
/// there.
#[derive(Clone, Debug)]
pub struct Host {
    /// The policy.
    pub policy: PolicyState,
    /// Its path, as it was typed.
    pub path: String,
    /// Whether this kernel takes the rules.
    pub kernel: Kernel,
    /// What is loaded.
    pub loaded: Loaded,
    /// How long a change still waits for confirmation.
    pub waits: Option<Duration>,
    /// What `palisade.service` does at boot; `None` where systemd does not run.
    pub boot: Option<UnitState>,
    /// Other firewalls that are loaded at boot.
    pub enabled: Enabled,
    /// Where the rules that `nftables.service` loads at boot flush those of everyone; `None` where they do not, or it is
    /// not enabled.
    pub flush: Option<Flush>,
    /// Whether palisade's rules are then loaded again, as the package's drop-in has it.
    pub flush_is_mended: bool,
    /// The tables of the older iptables that are loaded.
    pub legacy: Vec<String>,
    /// How Docker's daemon was started; `None` where it does not run.
    pub docker: Option<DockerOptions>,
    /// What the container engines say of themselves.
    pub engines: Vec<Engine>,
    /// The sysctls.
    pub sysctls: Sysctls,
    /// The interfaces.
    pub links: Vec<RoutedLink>,
    /// What could not be found out, and why.
    pub gaps: Gaps,
}

/// A policy, or what is wrong with it.
#[derive(Clone, Debug)]
pub enum PolicyState {
    /// It is valid.
    Valid(Box<Resolved>),
    /// There is none.
    Missing {
        /// What to do.
        help: Option<String>,
    },
    /// Someone else could have written it.
    Writable {
        /// What can be written, and by whom.
        message: String,
        /// The command that changes that.
        help: Option<String>,
    },
    /// It can't be read, does not mean anything, or does not do what it says is expected of it: the first problem.
    Invalid {
        /// How many problems there are.
        problems: usize,
        /// The first one.
        message: String,
        /// The line it is at, `policy.yaml:17`.
        at: Option<String>,
    },
}

impl PolicyState {
    /// The policy, where there is one.
    pub(super) fn valid(&self) -> Option<&Resolved> {
        if let Self::Valid(policy) = self { Some(policy) } else { None }
    }
}

/// Whether this kernel takes the policy's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It was tried in a namespace where no packet comes, or there is nothing to try.
    Takes,
    /// It refuses them, in a sentence that names the object and the kernel's reason.
    Refuses(String),
}

/// How what is loaded compares with the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// There is no table of palisade's.
    Nothing,
    /// There is one, and no policy to compare it with.
    Something,
    /// It is the policy.
    Policy,
    /// It differs in so many places.
    Differs(usize),
}

/// The sysctls that matter; `None` where there is none of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward`.
    pub forwards_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_v6: Option<bool>,
    /// `net.bridge.bridge-nf-call-iptables`.
    pub bridge_calls_iptables: Option<bool>,
}
