//! `palisade group`

use super::{Report, edited};
use crate::error::Error;
use crate::policy::edit::Edit;
use crate::state::State;
use clap::ValueEnum;
use std::path::Path;

/// Add a peer to a group in the policy's file, or remove one.
///
/// The file is edited where it stands: comments and order stay. Shows the lines that change and who gains or loses
/// access by them, and asks before it writes. Nothing is loaded: `palisade apply` does that. To let somebody in for a
/// time, without an edit of the policy: `palisade allow`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  palisade group add trusted 203.0.113.9\n  palisade group add office 203.0.113.0/24 --new\n  \
    palisade group remove trusted 203.0.113.9"
)]
pub struct Args {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) action: Action,
    /// The group.
    pub(crate) group: String,
    /// An address, a network, a range, another group, or a peer in braces: `'{ interface: eth1 }'`.
    pub(crate) peer: String,
    /// Make the group if it is not there.
    #[arg(long)]
    pub(crate) new: bool,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What happens to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    /// It is in the group from now on.
    Add,
    /// It is not any more.
    Remove,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let (group, peer) = (args.group.as_str(), args.peer.as_str());
    let edit = match args.action {
        Action::Add => Edit::AddPeer { group, peer, make: args.new },
        Action::Remove => Edit::RemovePeer { group, peer },
    };
    edited::change(path, state, &edit, args.yes)
}
