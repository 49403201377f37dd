//! `palisade revoke`

use super::Report;
use super::added::{Whose, Work, access_lines, whose};
use crate::enforce::load::ended_in_words;
use crate::error::Error;
use crate::policy::list;
use crate::state::State;
use crate::temporary::Entry;
use serde_json::json;
use std::net::IpAddr;

/// Take back what `palisade allow` and `palisade block` have added.
///
/// Connections that lose their access by it are ended, as by `palisade apply`. Refused if your own SSH session stands on
/// it.
///
/// Exit status: 0 it is taken back, or there was nothing to take back; 1 it is not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `me`, for the address of your SSH session, or an address.
    #[arg(value_name = "me|ADDR", value_parser = whose, required_unless_present = "all")]
    pub(crate) who: Option<Whose>,
    /// Every address.
    #[arg(long, conflicts_with = "who")]
    pub(crate) all: bool,
    /// Only in this group.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Take it back even if your own SSH session could not connect again.
    #[arg(long)]
    pub(crate) force: bool,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    let work = Work::begin(state, "revoke")?;
    let address = args.who.map(|who| work.address(who)).transpose()?;
    let is_meant = |entry: &Entry| {
        address.is_none_or(|address| entry.address == address)
            && args.group.as_ref().is_none_or(|group| entry.group == *group)
    };
    let mut after = work.entries.clone();
    let taken = after.take(is_meant);
    if taken.is_empty() {
        return Ok(nothing(address, args.group.as_deref()));
    }
    if !args.force {
        let remedy = format!("To take it back all the same: palisade revoke{} --force", typed(args, address));
        work.keeps_session(&after, "taking it back", &remedy)?;
    }
    let changes = work.access(&after);
    let who: Vec<String> =
        taken.iter().map(|entry| format!("{} in the group {}", entry.address, entry.group)).collect();
    let loaded = work.finish(&after, &format!("revoked {}", who.join(", ")))?;
    let lines: String = who.iter().map(|who| format!("revoked: {who}\n")).collect();
    let text = access_lines(&changes, "") + &lines + &ended_in_words(loaded.ended);
    let json = json!({
        "revoked": taken.iter().map(|entry| json!({ "address": entry.address, "group": entry.group })).collect::<Vec<_>>(),
        "access": changes,
        "operations": loaded.operations,
        "connections_ended": loaded.ended,
    });
    Ok(Report::ok(text, json))
}

/// The arguments again, for a remedy that can be copied.
fn typed(args: &Args, address: Option<IpAddr>) -> String {
    let who = address.map_or_else(|| " --all".to_owned(), |address| format!(" {address}"));
    let group = args.group.as_ref().map(|group| format!(" --group {group}")).unwrap_or_default();
    who + &group
}

fn nothing(address: Option<IpAddr>, group: Option<&str>) -> Report {
    let who = address.map_or_else(|| "nobody".to_owned(), |address| address.to_string());
    let group = group.map(|group| format!(" in {}", list([group]))).unwrap_or_default();
    let is = if address.is_some() { "is not let in or blocked" } else { "is let in or blocked" };
    let text = format!("nothing to do: {who} {is} for a time{group}\n");
    Report::ok(text, json!({ "revoked": [] }))
}
