//! `palisade metrics`

use super::measured::measured;
use super::{Desired, Report, reader, writer};
use crate::error::Error;
use crate::files::NewFile;
use crate::metrics::Metric;
use crate::printable::{command_word, printable};
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::state::State;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file: node_exporter reads those that end so.
const FILE: &str = "palisade.prom";

/// Print counters and the state of the firewall for Prometheus.
///
/// Whether palisade is active and in sync with the policy, whether the policy is valid, what each service has admitted and what
/// was denied, how large the groups are, when host names were last looked up, and what palisade-check.service has found.
/// docs/metrics.md lists all of them. What is not known is left out, and standard error says why; it is never a number that
/// looks well. No address is among them.
///
/// Exit status: 0 success, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write them to palisade.prom in this folder, which node_exporter reads.
    ///
    /// Everybody can read the file. It is written whole or not at all: if palisade fails, the one from before stays, and its
    /// time tells. `palisade disable` removes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) textfile: Option<PathBuf>,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    need_net_admin("metrics")?;
    let file = args.textfile.as_deref().map(textfile).transpose()?;
    let written = file.as_ref().map(|file| file.path().to_owned());
    let is_new = written.as_ref().is_some_and(|file| !state.textfiles().contains(file));
    let folder = written.as_ref().and_then(|file| file.parent());
    let needs = if is_new { writer(state) } else { reader(state) };
    let writes = needs.writes.iter().copied().chain(folder).collect();
    let confined = Confinement::begin(Needs { writes, ..needs });
    let desired = Desired::load(path, state).map(|desired| desired.with_temporary(state));
    confined.keep_net_admin("metrics")?;

    let samples = measured(path, state, &desired)?;
    samples.left_out().iter().for_each(|line| tracing::warn!("{line}"));
    let left_out = samples.left_out();
    let (Some(file), Some(written)) = (file, written) else {
        let json = json!({ "metrics": samples.families().map(family).collect::<Vec<_>>(), "left_out": left_out });
        return Ok(Report::ok(samples.text(), json));
    };
    let name = written.display().to_string();
    // Before the file: `disable` has to know of one that is there.
    if is_new {
        let _lock = state.lock("metrics")?;
        state.note_textfile(&written)?;
    }
    file.finish(samples.text().as_bytes()).map_err(|source| cannot(&name, source))?;
    let text = format!("{} is written, {} samples\n", printable(&name), samples.len());
    Ok(Report::ok(text, json!({ "written": name, "samples": samples.len(), "left_out": left_out })))
}

fn cannot(name: &str, source: io::Error) -> Error {
    Error::Io { what: format!("can't write {}", printable(name)), source }
}

/// The file in a folder, which has to be there: node_exporter reads no other.
fn textfile(folder: &Path) -> Result<NewFile, Error> {
    let path = folder.join(FILE);
    if folder.is_dir() {
        return NewFile::for_everyone(&path).map_err(|source| cannot(&path.display().to_string(), source));
    }
    let name = folder.display().to_string();
    let elsewhere = match command_word(&name) {
        Some(word) => {
            format!("`mkdir -p -m 0755 {word}`, and start node_exporter with `--collector.textfile.directory={word}`")
        }
        None => "make it, and start node_exporter with it as `--collector.textfile.directory`".to_owned(),
    };
    Err(Error::Declined(format!(
        "there is no folder {}: on Debian and Ubuntu `apt-get install prometheus-node-exporter` brings \
         /var/lib/prometheus/node-exporter; elsewhere {elsewhere}",
        printable(&name)
    )))
}

fn family((metric, samples): (&Metric, &BTreeMap<Vec<String>, u64>)) -> Value {
    let sample = |(values, value): (&Vec<String>, &u64)| {
        let labels = metric.labels.iter().zip(values).map(|(name, value)| json!({ "name": name, "value": value }));
        json!({ "labels": labels.collect::<Vec<_>>(), "value": value })
    };
    json!({
        "name": metric.name,
        "type": metric.kind.name(),
        "help": metric.help,
        "samples": samples.iter().map(sample).collect::<Vec<_>>(),
    })
}
