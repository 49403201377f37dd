//! `palisade show`

use super::{Desired, Report};
use crate::cli::Format;
use crate::error::Error;
use crate::render;
use std::path::Path;

pub(super) fn run(path: &Path, format: Format) -> Result<Report, Error> {
    let desired = Desired::load(path)?;
    let json = render::json::table(&desired.id, &desired.table);
    let text = match format {
        Format::Nft => render::table(&desired.id, &desired.table),
        Format::Json => format!("{json:#}\n"),
    };
    Ok(Report::ok(text, json))
}
