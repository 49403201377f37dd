//! A note that rules are being loaded whose connections have not been looked at yet.

use super::{State, files};

/// In the folder that a reboot empties: with it every connection is gone.
const REVOKING: &str = "revoking";

impl State {
    /// Notes that rules are about to be loaded; true when a process before was killed before it had ended the
    /// connections that lost their access by its rules.
    ///
    /// Where nothing can be noted nothing is lost but that.
    #[must_use]
    pub fn begin_revocation(&self) -> bool {
        let interrupted = files::exists(&self.run, REVOKING);
        if !interrupted && let Err(error) = files::write(&self.run, REVOKING, b"") {
            tracing::debug!("{error}");
        }
        interrupted
    }

    /// Takes the note back.
    pub fn end_revocation(&self) {
        if let Err(error) = files::remove(&self.run, REVOKING) {
            tracing::debug!("{error}");
        }
    }
}
