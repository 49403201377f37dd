//! `palisade schema`

use super::Report;
use crate::error::Error;
use crate::policy;
use serde_json::Value;

/// Print the JSON Schema of the policy, for editors.
///
/// With `# yaml-language-server: $schema=FILE` as a policy's first line, editors complete and check it while you type. The schema
/// is the same for every policy and knows no names of its own groups: `palisade check` tells which of them is misspelt.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run() -> Result<Report, Error> {
    let schema = policy::schema();
    let json = serde_json::from_str(&schema).unwrap_or(Value::Null);
    Ok(Report::ok(schema, json))
}
