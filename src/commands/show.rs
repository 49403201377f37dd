//! `palisade show`

use super::{Desired, Report, reader};
use crate::cli::Format;
use crate::error::Error;
use crate::process::privileges::Confinement;
use crate::render;
use crate::state::State;
use std::path::Path;

pub(super) fn run(path: &Path, state: &State, format: Format) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let desired = Desired::load(path)?;
    confined.keep_nothing();
    let json = render::json::table(&desired.id, &desired.table);
    let text = match format {
        Format::Nft => render::table(&desired.id, &desired.table),
        Format::Json => format!("{json:#}\n"),
    };
    Ok(Report::ok(text, json))
}
