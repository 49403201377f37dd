//! A note that rules are being loaded whose effect on connections has not been checked yet.

use super::{State, files};

/// In the folder that a reboot empties; a reboot ends every connection.
const REVOKING: &str = "revoking";

impl State {
    /// Notes that rules are about to be loaded. Returns true if an earlier process was killed before it had ended the
    /// connections that lost their access.
    ///
    /// If this fails, only the note is lost.
    #[must_use]
    pub fn begin_revocation(&self) -> bool {
        let interrupted = files::exists(&self.run, REVOKING);
        if !interrupted && let Err(error) = files::write(&self.run, REVOKING, b"") {
            tracing::debug!("{error}");
        }
        interrupted
    }

    /// Whether a process was killed before it had ended the connections that lost their access. Asked under the lock.
    #[must_use]
    pub fn is_revoking(&self) -> bool {
        files::exists(&self.run, REVOKING)
    }

    /// Removes the note.
    pub fn end_revocation(&self) {
        if let Err(error) = files::remove(&self.run, REVOKING) {
            tracing::debug!("{error}");
        }
    }
}
