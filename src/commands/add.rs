//! `palisade add`

use super::{Report, edited};
use crate::error::Error;
use crate::policy::edit::Edit;
use crate::state::State;
use std::path::Path;

/// Add a service to the policy's file.
///
/// The file is edited where it stands: comments and order stay. Shows the lines that change and who gains access by
/// them, and asks before it writes. The result has to be valid, with all that the policy expects. Nothing is loaded:
/// `palisade apply` does that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  palisade add 9000/tcp --from trusted --name dashboard\n  \
    palisade add 80/tcp 443/tcp --from any --name web\n  palisade add dns --from '{ interface: eth1 }'")]
pub struct Args {
    /// The ports: `9000/tcp`, `8000-8010/tcp`, `dns`, `esp/proto`.
    #[arg(required = true, value_name = "PORT")]
    pub(crate) ports: Vec<String>,
    /// Who may reach them: addresses, networks, groups, `any`, `private`, `containers`, `'{ interface: eth1 }'`.
    #[arg(long, required = true, num_args = 1.., value_name = "PEER")]
    pub(crate) from: Vec<String>,
    /// The service's name; without it, one that is made of the first port: `tcp-9000`.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    let first = args.ports.first().map(String::as_str).unwrap_or_default();
    let name = args.name.clone().unwrap_or_else(|| named(first));
    edited::change(path, state, &Edit::AddService { name: &name, ports: &args.ports, from: &args.from }, args.yes)
}

/// A name for the service of a port: `tcp-9000` for `9000/tcp`, `dns` for itself.
fn named(port: &str) -> String {
    match port.split_once('/') {
        Some((port, protocol)) => format!("{protocol}-{port}"),
        None => port.to_owned(),
    }
}
