//! `palisade show`

use super::{Desired, Report, reader, versioned};
use crate::error::Error;
use crate::process::privileges::Confinement;
use crate::render;
use crate::state::State;
use clap::ValueEnum;
use std::path::Path;

/// Print the compiled ruleset.
///
/// Needs no privileges. Each rule names the policy line that it comes from.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The form of the output: `nft -f` loads `nft`; `json` is for programs.
    #[arg(long, value_enum, default_value_t = Format::Nft)]
    pub(crate) format: Format,
}

/// How `show` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Commands for `nft -f`.
    Nft,
    /// One JSON document.
    Json,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let desired = Desired::load(path, state)?;
    confined.keep_nothing();
    let json = versioned(render::json::table(&desired.id, &desired.table));
    let text = match args.format {
        Format::Nft => render::table(&desired.id, &desired.table),
        Format::Json => format!("{json:#}\n"),
    };
    Ok(Report::ok(text, json))
}
