//! `palisade schema`, `completions` and `man`: what is made from palisade itself.

use super::Report;
use crate::cli::Cli;
use crate::error::Error;
use crate::policy;
use clap::CommandFactory;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn schema() -> Result<Report, Error> {
    let schema = policy::schema();
    let json = serde_json::from_str(&schema).unwrap_or(Value::Null);
    Ok(Report::ok(schema, json))
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<Report, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "palisade", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json!({ "shell": shell.to_string(), "completions": &script });
    Ok(Report::ok(script, json))
}

pub(super) fn man(dir: &Path) -> Result<Report, Error> {
    let failed = |source| Error::Io { what: format!("can't write manual pages to {}", dir.display()), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    Ok(Report::ok(String::new(), json!({ "dir": dir.display().to_string() })))
}
