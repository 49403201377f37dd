//! `palisade suggest`

use super::denied::{NOT_KNOWN, applied, who_was_denied};
use super::explain::{Target, target};
use super::{Report, reader};
use crate::compile::Denial;
use crate::denied::{Denied, Refused, suggestion, why};
use crate::error::Error;
use crate::process::privileges::{Confinement, need_net_admin};
use crate::state::State;
use serde_json::json;
use std::net::IpAddr;

/// Print the lines of policy that would let in an address that was denied.
///
/// Goes by what `palisade denied` lists, and by the policy as it was applied. The lines open the port to that address
/// alone. Nothing is changed: put them into the policy, then `palisade check` and `palisade apply`.
///
/// Exit status: 0 success, 1 nothing was denied to that address, or an error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address that was denied.
    #[arg(value_name = "ADDR")]
    pub(crate) source: IpAddr,
    /// The port that it asked for (`9000/tcp`); all of them without.
    #[arg(value_name = "PORT/PROTO", value_parser = target)]
    pub(crate) port: Option<Target>,
    /// The address behind this machine that it asked for, for the line of `forward`: it is not remembered.
    #[arg(long, value_name = "ADDR")]
    pub(crate) to: Option<IpAddr>,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    need_net_admin("suggest")?;
    let confined = Confinement::begin(reader(state));
    let policy = applied(state);
    confined.keep_net_admin("suggest")?;
    let is_meant = |denied: &&Denied| {
        let port = Target::Port { protocol: denied.port.transport.number(), port: denied.port.first };
        denied.source == args.source && args.port.is_none_or(|asked| asked == port)
    };
    let Some(who) = who_was_denied()? else {
        return Ok(Report { status: 1, text: NOT_KNOWN.into(), json: json!({ "suggestions": null }) });
    };
    let meant: Vec<&Denied> = who.iter().filter(is_meant).collect();
    let Some(policy) = policy else {
        let text = "which lines would let it in is not known: the policy that was applied is not known\n";
        return Ok(Report { status: 1, text: text.into(), json: json!({ "suggestions": null }) });
    };
    if meant.is_empty() {
        let text = format!("{} was denied nothing within a day, as far as this is remembered\n", args.source);
        return Ok(Report { status: 1, text: text.into(), json: json!({ "suggestions": [] }) });
    }
    let lines = meant.iter().map(|denied| {
        let to = args.to.filter(|_| denied.towards == Denial::Forward);
        let refused = Refused { to, ..denied.refused() };
        let why = why(&policy, &refused).words;
        format!("# {} was denied {}: {why}\n{}", refused.source, refused.what, suggestion(&policy, &refused))
    });
    let lines: Vec<String> = lines.collect();
    Ok(Report::ok(lines.join("\n"), json!({ "suggestions": lines })))
}
