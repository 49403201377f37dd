//! A note that one of palisade's tables should be in the kernel: if another program flushes it, it is loaded again.

use super::{State, files};

/// In the folder that a reboot empties.
const IN_FORCE: &str = "in-force";

impl State {
    /// Notes that a table is about to be loaded. If this fails, only the note is lost.
    pub fn note_in_force(&self) {
        if !self.is_in_force()
            && let Err(error) = files::write(&self.run, IN_FORCE, b"")
        {
            tracing::debug!("{error}");
        }
    }

    /// Notes that no table should be in the kernel any more.
    pub fn note_lifted(&self) {
        if let Err(error) = files::remove(&self.run, IN_FORCE) {
            tracing::warn!("{error}: a restart of nftables.service loads the rules again");
        }
    }

    /// Whether a table was loaded since boot and not removed on purpose.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        files::exists(&self.run, IN_FORCE)
    }
}
