//! What this process may do, and giving up what it no longer needs.

use crate::error::Error;
use caps::{CapSet, Capability, CapsHashSet};

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

/// Gives up every capability but CAP_NET_ADMIN, for the rest of this process's life.
///
/// Called once all files are read: from there on a mistake in parsing what the kernel says can do no more than a
/// firewall's mistake.
///
/// # Errors
/// [`Error::Privilege`] when CAP_NET_ADMIN itself is missing.
pub fn keep_net_admin_alone(command: &'static str) -> Result<(), Error> {
    if !may_change_firewall() {
        return Err(Error::Privilege { command });
    }
    let one = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
    let none = CapsHashSet::new();
    // Permitted last: what is effective must be permitted. A process that may not lower them has nothing to lower.
    let kept = caps::set(None, CapSet::Inheritable, &none)
        .and_then(|()| caps::set(None, CapSet::Effective, &one))
        .and_then(|()| caps::set(None, CapSet::Permitted, &one));
    if let Err(error) = kept {
        tracing::warn!("could not give up the other capabilities: {error}");
    }
    Ok(())
}

fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}
