//! Whom `block` names, exactly or more coarsely: a cloud firewall has no denials, so that everyone but a few addresses is a
//! long list of networks.

use super::place::Place;
use super::sources::Sources;
use super::{Asked, Refusal};
use crate::resolve::Resolved;

/// How coarsely whoever is blocked may be left out of everyone: the lengths of the networks, IPv4's and IPv6's. The first is
/// exact.
pub(super) const STEPS: [[u8; 2]; 4] = [[32, 128], [24, 48], [16, 32], [8, 16]];

/// How many networks a remark names.
const SHOWN: usize = 8;

/// The sources that are blocked.
#[derive(Clone)]
pub(super) struct Block {
    /// Exactly.
    pub(super) exact: Sources,
    /// With their neighbours.
    pub(super) coarse: Sources,
}

impl Block {
    pub(super) fn of(
        policy: &Resolved,
        place: &Place<'_>,
        asked: &Asked<'_>,
        step: [u8; 2],
    ) -> Result<Self, Refusal> {
        if asked.leave_block_to_host {
            return Ok(Self { exact: Sources::default(), coarse: Sources::default() });
        }
        let exact = place.sources(&policy.block)?;
        let coarse = exact.widened(step);
        Ok(Self { exact, coarse })
    }

    /// Who is shut out besides those who are blocked, in words; `None` for nobody.
    pub(super) fn also(&self) -> Option<String> {
        let also: Vec<String> = self.coarse.networks().iter().map(ToString::to_string).collect();
        if self.coarse == self.exact {
            return None;
        }
        let more = also.len().saturating_sub(SHOWN);
        let mut text = also.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        Some(text)
    }
}
