//! `palisade show`

use super::{Desired, Report, reader, versioned};
use crate::desired::load;
use crate::error::Error;
use crate::names::Names;
use crate::picture::{self, Picture};
use crate::process::privileges::Confinement;
use crate::render;
use crate::ruleset::{Table, TableId};
use crate::state::State;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::path::Path;

/// Print the compiled ruleset, or a picture of the policy.
///
/// Needs no privileges. Each rule names the policy line that it comes from. A picture shows who reaches what by the policy:
/// it does not depend on the machine, and its lines are in such an order that two of them differ where the policies do. Host
/// names count as not looked up. What `nat` rewrites is not drawn: it allows nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The form of the output: `nft -f` loads `nft`; `json` is for programs; the other two draw the policy.
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
    /// A flowchart of Mermaid, as GitHub and GitLab draw it.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    match args.format {
        Format::Nft => rules(path, state, confined, render::table),
        Format::Json => rules(path, state, confined, |id, table| format!("{:#}\n", as_json(id, table))),
        Format::Mermaid => drawn(path, confined, picture::mermaid),
        Format::Dot => drawn(path, confined, picture::dot),
    }
}

fn rules(
    path: &Path,
    state: &State,
    confined: Confinement,
    text: impl Fn(&TableId, &Table) -> String,
) -> Result<Report, Error> {
    let Desired { id, table, .. } = Desired::load(path, state)?;
    confined.keep_nothing();
    Ok(Report::ok(text(&id, &table), as_json(&id, &table)))
}

fn as_json(id: &TableId, table: &Table) -> Value {
    versioned(render::json::table(id, table))
}

fn drawn(path: &Path, confined: Confinement, draw: impl Fn(&Picture) -> String) -> Result<Report, Error> {
    // What is known of host names is no part of the policy, and differs from machine to machine.
    let policy = load(path, &Names::default()).map_err(Error::Policy)?;
    confined.keep_nothing();
    let text = draw(&picture::of_policy(&policy));
    Ok(Report::ok(text.as_str(), json!({ "picture": text })))
}
