//! What this process may do, and giving up what it no longer needs.
//!
//! A command is confined in two steps, each as early as the command allows:
//!
//! 1. [`Confinement::begin`], before the policy and what palisade keeps are read. From here on this process starts no
//!    program, writes below its own folders alone, and makes no system call that could give it more. It
//!    still reads every file as root does.
//! 2. [`Confinement::keep_net_admin`], once everything is read. Of the capabilities CAP_NET_ADMIN is left, no file is read
//!    but those of [`Needs`], and no socket is made but a netlink socket.
//!
//! What is looked up in other processes (the SSH session that a command is run from, who listens on a port) and what is
//! asked of container engines comes before the first step: Landlock keeps a confined process from looking into any that is
//! not confined with it. So does every program that the command will need: see [`crate::confirm`].
//!
//! # What it is worth
//!
//! A process whose parser of YAML or of the kernel's answers was taken over can do what a firewall can: change and remove
//! the rules, routes and interfaces of its network namespace, which is what CAP_NET_ADMIN is for. It can read root's files
//! until the second step, and spoil what palisade keeps, which is read with care ([`crate::state`]). It can't become root
//! again by starting a program, change another file, or hand its wishes to a program that trusts root over a socket.
//!
//! Without Landlock (before 5.13, or where `lsm=` leaves it out) root's files stay writable: capabilities do not protect
//! what belongs to root from root. Everything else holds, and `-v` says so. Before 5.19 Landlock lets no file move from
//! one folder to another; [`crate::state`] copies instead. Before 6.2 it does not watch truncation; the system calls do.
//!
//! Nothing of it is a reason not to load rules: what can't be given up is a warning.

mod calls;
mod files;
mod filter;

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use std::fmt::Display;
use std::path::Path;

/// What reading takes beside CAP_NET_ADMIN: files of others. Whoever does not have these does without.
const WHILE_READING: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH];

/// A command needs the right to change the firewall and does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`palisade {command}` needs the capability CAP_NET_ADMIN, which this process does not have: run it as root")]
pub struct NoNetAdmin {
    /// The command's name.
    pub command: &'static str,
}

/// What a command still does once it is confined, beside talking to the kernel over netlink. Paths that do not exist are
/// passed over.
#[derive(Clone, Debug, Default)]
pub struct Needs<'a> {
    /// Folders below which it reads and writes.
    pub writes: Vec<&'a Path>,
    /// Files, and folders below which it reads, after the second step.
    pub reads: Vec<&'a Path>,
    /// Whether it makes a network namespace between the steps, to try rules in.
    pub namespace: bool,
}

/// A process after the first step. There is no way back, and none when it is dropped.
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

/// Fails when this process may not change the firewall.
///
/// # Errors
/// [`NoNetAdmin`].
pub fn need_net_admin(command: &'static str) -> Result<(), NoNetAdmin> {
    if may_change_firewall() { Ok(()) } else { Err(NoNetAdmin { command }) }
}

impl<'a> Confinement<'a> {
    /// The first step: no programs, no writes but below [`Needs::writes`], nothing that gives more rights.
    ///
    /// Files are a matter of each thread: this one and those that it starts from now on. A thread that is there already
    /// confines itself ([`renounce`]).
    pub fn begin(needs: Needs<'a>) -> Self {
        // While it has CAP_SETPCAP, which that takes.
        warn("empty the bounding set of capabilities", empty_bounding_set());
        let namespace = needs.namespace.then_some(Capability::CAP_SYS_ADMIN);
        warn("give up the capabilities that reading does not take", keep(WHILE_READING.into_iter().chain(namespace)));
        warn("rule out new privileges", nix::sys::prctl::set_no_new_privs());
        let landlock = files::write_below(&needs.writes);
        if let Ok(Some(why)) = landlock {
            tracing::info!("Landlock {why}: what belongs to root is not protected from a mistake in palisade");
        }
        warn("confine what is written", landlock);
        warn("confine the system calls", calls::refuse_while_reading(needs.namespace));
        Self { needs }
    }

    /// The second step: CAP_NET_ADMIN alone, no reads but those of [`Needs`], no sockets but those of netlink.
    ///
    /// # Errors
    /// [`NoNetAdmin`] when CAP_NET_ADMIN itself is missing.
    pub fn keep_net_admin(self, command: &'static str) -> Result<(), NoNetAdmin> {
        need_net_admin(command)?;
        self.keep(Some(Capability::CAP_NET_ADMIN));
        Ok(())
    }

    /// The second step of a command that does not ask the kernel: no capability at all.
    pub fn keep_nothing(self) {
        self.keep(None);
    }

    fn keep(self, capability: Option<Capability>) {
        warn("give up the other capabilities", keep(capability));
        warn("confine what is read", files::read_below(&self.needs.reads, &self.needs.writes));
        warn("confine the system calls further", calls::refuse_after_reading());
    }
}

/// Gives up everything, for a thread that writes to what is open already and does nothing else. Its system calls are
/// confined with those of the thread that begins a [`Confinement`].
pub fn renounce() {
    warn("empty the bounding set of a thread", empty_bounding_set());
    warn("give up the capabilities of a thread", keep([]));
    warn("rule out new privileges of a thread", nix::sys::prctl::set_no_new_privs());
    warn("confine the files of a thread", files::write_below(&[]).and_then(|_| files::read_below(&[], &[])));
}

fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Keeps those of the capabilities that this process has, and lets no program that it starts inherit any.
fn keep(capabilities: impl IntoIterator<Item = Capability>) -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = capabilities.into_iter().filter(|one| permitted.contains(one)).collect();
    // An ambient capability is inheritable and permitted, and what is effective must be permitted.
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// Leaves nothing that a program could be given, where this process may: the unit's bounding set lacks CAP_SETPCAP, and is
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
