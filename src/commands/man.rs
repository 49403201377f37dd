//! `palisade man`

use super::{Report, man_pages};
use crate::error::Error;
use serde_json::json;
use std::path::PathBuf;

/// Write the manual pages to a folder: those of the commands in section 8, and palisade.yaml(5) on the policy.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder. It is created if it does not exist.
    pub(crate) dir: PathBuf,
}

/// `palisade`: the whole command line.
pub(crate) fn run(args: &Args, palisade: clap::Command) -> Result<Report, Error> {
    let dir = args.dir.as_path();
    let failed = |source| Error::Io { what: format!("can't write manual pages to {}", dir.display()), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    man_pages::write(palisade, dir).map_err(failed)?;
    Ok(Report::ok(String::new(), json!({ "dir": dir.display().to_string() })))
}
