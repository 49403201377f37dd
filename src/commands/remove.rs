//! `palisade remove`

use super::{Report, edited};
use crate::error::Error;
use crate::policy::edit::Edit;
use crate::state::State;
use std::path::Path;

/// Remove a service from the policy's file.
///
/// The lines of the service go, with the comments in them; all else stays. Shows them and who loses access by it, and
/// asks before it writes. Nothing is loaded: `palisade apply` does that.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service's name, as `palisade status` lists it.
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    edited::change(path, state, &Edit::RemoveService { name: &args.service }, args.yes)
}
