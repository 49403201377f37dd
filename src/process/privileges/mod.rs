//! The privileges of this process, and dropping those that it no longer needs.
//!
//! A command is confined in two steps, each as early as possible:
//!
//! 1. [`Confinement::begin`], before the policy and palisade's state are read. From here on this process starts no
//!    program, writes only below its own folders, and makes no system call that could grant it more. It still reads
//!    every file as root does.
//! 2. [`Confinement::keep_net_admin`], once everything is read. The process keeps CAP_NET_ADMIN alone, reads no files
//!    but those of [`Needs`], and opens no sockets but netlink sockets.
//!
//! Other processes (the SSH session that a command is run from, the listeners on a port) and container engines are
//! queried before the first step: Landlock keeps a confined process from inspecting any that is not confined with it.
//! Every program that the command will need is started before it, too: see [`crate::confirm`].
//!
//! # Threat model
//!
//! If an attacker takes over the parser of YAML or of the kernel's answers, the process can do what a firewall can:
//! change and remove the rules, routes and interfaces of its network namespace, which is what CAP_NET_ADMIN allows.
//! It can read root's files until the second step, and corrupt palisade's state, which is read with care
//! ([`crate::state`]). It can't regain root by starting a program, change another file, or pass requests over a
//! socket to a program that trusts root.
//!
//! Without Landlock (before 5.13, or where `lsm=` leaves it out) root's files stay writable: dropping capabilities
//! does not protect root's files from root. Everything else holds, and `-v` says so. Before 5.19 Landlock forbids
//! moving a file to another folder; [`crate::state`] copies instead. Before 6.2 it does not cover truncation; the
//! system call filter does.
//!
//! No failure here stops the rules from being loaded: a privilege that can't be dropped is a warning.

mod calls;
mod files;
mod filter;

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use std::fmt::Display;
use std::path::Path;

/// What reading other users' files takes, beside CAP_NET_ADMIN. A process without these reads what it can.
const WHILE_READING: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH];

/// The command needs the right to change the firewall and lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`palisade {command}` needs the capability CAP_NET_ADMIN, which this process does not have: run it as root")]
pub struct NoNetAdmin {
    /// The command's name.
    pub command: &'static str,
}

/// What a command still does once it is confined, beside talking to the kernel over netlink. Missing paths are
/// ignored.
#[derive(Clone, Debug, Default)]
pub struct Needs<'a> {
    /// Folders below which it reads and writes.
    pub writes: Vec<&'a Path>,
    /// Files, and folders below which it reads, after the second step.
    pub reads: Vec<&'a Path>,
    /// Whether it makes a network namespace between the steps, to try out rules.
    pub namespace: bool,
    /// Whether it looks up names: it talks to name servers, and after the second step it still connects to the sockets of
    /// local resolvers below [`reads`](Self::reads).
    pub looks_up: bool,
}

/// A process after the first step. Confinement can't be undone, not even by dropping this value.
#[derive(Debug)]
#[must_use = "after the first step comes the second"]
pub struct Confinement<'a> {
    needs: Needs<'a>,
}

/// Whether this process may change the firewall of its network namespace.
#[must_use]
pub fn may_change_firewall() -> bool {
    has(Capability::CAP_NET_ADMIN)
}

/// Whether this process may make a network namespace.
#[must_use]
pub fn may_make_namespaces() -> bool {
    has(Capability::CAP_SYS_ADMIN)
}

/// Fails if this process may not change the firewall.
///
/// # Errors
/// [`NoNetAdmin`].
pub fn need_net_admin(command: &'static str) -> Result<(), NoNetAdmin> {
    if may_change_firewall() { Ok(()) } else { Err(NoNetAdmin { command }) }
}

impl<'a> Confinement<'a> {
    /// The first step: no programs, no writes outside [`Needs::writes`], no system calls that grant more rights.
    ///
    /// Landlock applies per thread: to this one and to those that it starts from now on. An existing thread confines
    /// itself ([`renounce`]).
    pub fn begin(needs: Needs<'a>) -> Self {
        // Dropping from the bounding set takes CAP_SETPCAP, so do it first.
        warn("empty the bounding set of capabilities", empty_bounding_set());
        let namespace = needs.namespace.then_some(Capability::CAP_SYS_ADMIN);
        warn("give up the capabilities that reading does not take", keep(WHILE_READING.into_iter().chain(namespace)));
        warn("rule out new privileges", nix::sys::prctl::set_no_new_privs());
        let landlock = files::write_below(&needs.writes, needs.looks_up);
        if let Ok(Some(why)) = landlock {
            tracing::info!("Landlock {why}: what belongs to root is not protected from a mistake in palisade");
        }
        warn("confine what is written", landlock);
        warn("confine the system calls", calls::refuse_while_reading(needs.namespace));
        Self { needs }
    }

    /// The second step: CAP_NET_ADMIN alone, no reads outside [`Needs`], no sockets but netlink sockets.
    ///
    /// # Errors
    /// [`NoNetAdmin`] when CAP_NET_ADMIN itself is missing.
    pub fn keep_net_admin(self, command: &'static str) -> Result<(), NoNetAdmin> {
        need_net_admin(command)?;
        self.keep(Some(Capability::CAP_NET_ADMIN));
        Ok(())
    }

    /// The second step of a command that does not talk to the kernel: no capability at all.
    pub fn keep_nothing(self) {
        self.keep(None);
    }

    /// The second step of a process that looks up names: no capability at all, no reads outside [`Needs`].
    pub fn keep_look_ups(self) {
        warn("give up all capabilities", keep([]));
        warn("confine what is read", files::look_up_below(&self.needs.reads));
    }

    fn keep(self, capability: Option<Capability>) {
        warn("give up the other capabilities", keep(capability));
        warn("confine what is read", files::read_below(&self.needs.reads, &self.needs.writes));
        warn("confine the system calls further", calls::refuse_after_reading());
    }
}

/// Drops everything, for a thread that only writes to an open file. The system call filter reaches it through the
/// thread that begins a [`Confinement`].
pub fn renounce() {
    warn("empty the bounding set of a thread", empty_bounding_set());
    warn("give up the capabilities of a thread", keep([]));
    warn("rule out new privileges of a thread", nix::sys::prctl::set_no_new_privs());
    warn("confine the files of a thread", files::write_below(&[], false).and_then(|_| files::read_below(&[], &[])));
}

fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Drops all other capabilities, and the inheritance of any by programs that it starts.
fn keep(capabilities: impl IntoIterator<Item = Capability>) -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = capabilities.into_iter().filter(|one| permitted.contains(one)).collect();
    // An ambient capability must be inheritable and permitted, and an effective one permitted.
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// Empties the bounding set, where this process may: under the unit CAP_SETPCAP is missing, and the set is
/// CAP_NET_ADMIN alone already.
fn empty_bounding_set() -> Result<(), CapsError> {
    if !has(Capability::CAP_SETPCAP) {
        tracing::debug!("the bounding set stays as it is: to empty it takes CAP_SETPCAP");
        return Ok(());
    }
    caps::clear(None, CapSet::Bounding)
}

fn warn<T, E: Display>(what: &str, done: Result<T, E>) {
    if let Err(error) = done {
        tracing::warn!("could not {what}: {error}");
    }
}
