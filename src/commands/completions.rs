//! `palisade completions`

use super::Report;
use crate::error::Error;
use serde_json::json;

/// Print the completion script for a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `palisade`: the whole command line.
pub(crate) fn run(args: &Args, mut palisade: clap::Command) -> Result<Report, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut palisade, "palisade", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json!({ "shell": args.shell.to_string(), "completions": &script });
    Ok(Report::ok(script, json))
}
