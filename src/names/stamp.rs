//! When something was written, in a way that a clock that is set does not upset.

use super::model::Seconds;
use serde::{Deserialize, Serialize};

/// An instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Which boot it was in; empty if that is not known.
    pub boot: String,
    /// The seconds since that boot began.
    pub up: Seconds,
    /// The seconds since 1970, as the clock said.
    pub clock: Seconds,
}

impl Stamp {
    /// How long it was from an earlier instant to this one. Within one boot nobody can set the time back or ahead. From
    /// one boot to another only the clock can tell, and it was at least as long as this boot has lasted.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Seconds {
        if !self.boot.is_empty() && self.boot == earlier.boot {
            return self.up.saturating_sub(earlier.up);
        }
        self.up.max(self.clock.saturating_sub(earlier.clock))
    }
}
