//! `palisade block`

use super::Report;
use super::added::{Asked, Whose, add, for_how_long, whose};
use crate::error::Error;
use crate::state::State;
use std::time::Duration;

/// Block an address for a time.
///
/// Adds it to a group that `block` names and that takes addresses for a time, `{ temporary: 7d }`. The address is dropped
/// at once, and its connections are ended. After that time the kernel forgets it by itself; `palisade revoke` takes it
/// out before. Works on the policy as it was last applied.
///
/// Refused: an address of your own SSH session, and one without which the policy would not be as it expects to be.
///
/// Exit status: 0 it is blocked, or was already; 1 it is not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address.
    #[arg(value_name = "ADDR", value_parser = whose)]
    pub(crate) who: Whose,
    /// The group, if several fit.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// For how long (`90m`, `8h`, `2d`): a minute at least, and at most for as long as the group takes addresses, which is
    /// the default.
    #[arg(long = "for", value_name = "TIME", value_parser = for_how_long)]
    pub(crate) time: Option<Duration>,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    add(state, false, args.who, &Asked { to: None, group: args.group.as_deref() }, args.time)
}
