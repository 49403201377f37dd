//! `palisade disable`

use super::prompt::agreed;
use super::{Report, lock, writer};
use crate::confirm;
use crate::confirm::Timer;
use crate::enforce::enforce;
use crate::error::Error;
use crate::machine::{UnitState, unit_state};
use crate::netlink::{Reading, Socket};
use crate::printable::printable;
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::ruleset::TableId;
use crate::state::State;
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Remove palisade's table, and with it every restriction that it enforces.
///
/// Asks first, and says whether the next boot loads the policy again. The rules of other firewalls and of container engines
/// stay as they are. A file that `palisade metrics` has written for node_exporter is removed, too; palisade-metrics.timer,
/// where it is enabled, writes it anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    need_net_admin("disable")?;
    let timer = Timer::of_pending(state);
    // Asked before this process is confined.
    let at_boot = unit_state("palisade.service") == UnitState::Enabled;
    let textfiles = state.textfiles();
    let needs = writer(state);
    let writes = needs.writes.iter().copied().chain(textfiles.iter().filter_map(|file| file.parent())).collect();
    Confinement::begin(Needs { writes, ..needs }).keep_net_admin("disable")?;
    let socket = Socket::open()?;
    let id = TableId::palisade();
    if socket.snapshot_reading(&id, Reading::ByDigest(state))?.table.is_none()
        && state.pending().is_ok_and(|change| change.is_none())
    {
        remove(&textfiles);
        let json = json!({ "disabled": false, "active": false });
        return Ok(Report::ok(format!("{id} is not loaded: nothing to disable\n"), json));
    }
    if !args.yes {
        let question = format!("Remove {id}? Everything that only palisade denies will be open. [y/N] ");
        agreed(&question, "not disabled")?;
    }
    // Taken only after the prompt: the answer may take an hour.
    let _lock = lock(state, "disable")?;
    enforce(&socket, &id, None, Reading::ByDigest(state))?;
    state.note_lifted();
    if let Some(change) = confirm::pending(state) {
        // Undoing it later would bring a table back.
        confirm::cancel(state, &change, timer);
    }
    remove(&textfiles);
    let again = "the next boot loads the policy again; so that it does not: systemctl disable palisade.service\n";
    let text = format!("{id} is gone: palisade restricts nothing now\n{}", if at_boot { again } else { "" });
    Ok(Report::ok(text, json!({ "disabled": true, "active": false, "loads_at_boot": at_boot })))
}

/// Removes what `metrics` has written: node_exporter would tell its numbers for ever.
fn remove(textfiles: &[PathBuf]) {
    for file in textfiles {
        match fs::remove_file(file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let name = printable(&file.display().to_string()).into_owned();
                tracing::warn!("{name} can't be removed: {error}; node_exporter goes on to tell what is in it");
            }
        }
    }
}
