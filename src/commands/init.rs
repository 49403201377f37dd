//! `palisade init`

use super::exposure::published;
use super::first_policy::Found;
use super::{Report, reader};
use crate::error::Error;
use crate::machine::{Machine, ssh_sessions};
use crate::netlink::connected_sockets;
use crate::process::privileges::Confinement;
use crate::state::State;
use serde_json::json;

/// Print a first policy, from what this machine runs.
///
/// SSH is open in it, at the ports where this machine's SSH servers listen. Whatever else listens, and whatever
/// containers publish, is offered below, commented out, with whose it is and who is connected to it now; so are the
/// interfaces, by their role. Writes no file: `palisade init > /etc/palisade/policy.yaml`.
///
/// Needs no privileges. Without root it does not see whose the sockets of others are.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(state: &State) -> Result<Report, Error> {
    let machine = Machine::read();
    let (published, sessions) = (published(), ssh_sessions());
    let connected = connected_sockets().unwrap_or_else(|error| {
        tracing::warn!("who is connected is unknown: {error}");
        Vec::new()
    });
    Confinement::begin(reader(state)).keep_nothing();
    for gap in machine.gaps.iter() {
        tracing::warn!("{} can't be read: {}", gap.what, gap.why);
    }
    let found = Found {
        links: machine.links.unwrap_or_default(),
        listeners: machine.listeners.unwrap_or_default(),
        ssh_ports: machine.ssh_ports,
        published,
        connected,
        sessions,
    };
    let text = found.policy("# ");
    Ok(Report::ok(text.as_str(), json!({ "policy": text })))
}
