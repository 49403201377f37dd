//! `palisade denied`

use super::{Report, reader, with_file};
use crate::compile::Denial;
use crate::denied::{Denied, Why, why};
use crate::desired::compile_as_applied;
use crate::error::Error;
use crate::net::Version;
use crate::netlink::{NetlinkError, counted_elements};
use crate::printable::printable;
use crate::process::privileges::{Confinement, need_net_admin};
use crate::resolve::Resolved;
use crate::ruleset::TableId;
use crate::state::State;
use crate::temporary::period_in_words;
use nix::errno::Errno;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, SystemTime};

/// What is said where the rules in force remember nobody.
pub(super) const NOT_KNOWN: &str = "who was denied is not known: palisade is not loaded, its rules are those of an older version, or nothing is denied\n";

/// How often the kernel is asked who else was denied.
const EVERY: Duration = Duration::from_secs(1);

/// Show who was denied which port, how often, when last, and by which line of the policy.
///
/// The kernel remembers for a day the address, the protocol and the port of what the rules deny; for a port that a
/// container publishes, the port that was asked for. It remembers at most 20 packets a second of each protocol, so that a
/// flood costs nothing more: then it counts fewer packets than were denied. Not listed: whom `block` drops, pings, and what
/// this machine and its containers send. They are forgotten when the table is removed, by
/// `disable` or a restart.
///
/// Exit status: 0 success, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on, and print a line for each packet that is denied from now on, until interrupted.
    #[arg(long, conflicts_with = "json")]
    pub(crate) follow: bool,
}

pub(crate) fn run(state: &State, args: &Args) -> Result<Report, Error> {
    need_net_admin("denied")?;
    let confined = Confinement::begin(reader(state));
    let policy = applied(state);
    confined.keep_net_admin("denied")?;
    let who = who_was_denied()?;
    if args.follow {
        return Ok(follow(&who.unwrap_or_default(), policy.as_ref()));
    }
    let Some(who) = who else { return Ok(Report::ok(NOT_KNOWN, json!({ "policy": null, "denied": null }))) };
    let text = if who.is_empty() {
        "nobody was denied within a day, as far as this is remembered\n".to_owned()
    } else {
        table(&who.iter().collect::<Vec<_>>(), policy.as_ref())
    };
    let denied: Vec<Value> = who.iter().map(|denied| as_json(denied, policy.as_ref())).collect();
    let file = policy.as_ref().map(|policy| policy.file.as_str());
    Ok(Report::ok(text, json!({ "policy": file, "denied": denied })))
}

/// The policy that the present rules were made from; `None` with a warning where it is not known.
pub(super) fn applied(state: &State) -> Option<Resolved> {
    let Some(stored) = state.in_force() else {
        tracing::warn!("no policy was applied by this version of palisade: why they were denied is not known");
        return None;
    };
    match stored.applied.as_ref().map(|applied| compile_as_applied(applied, state)) {
        Some(Ok(compiled)) => Some(compiled.policy),
        Some(Err(_)) | None => {
            tracing::warn!("the policy that was applied can't be read any more: why they were denied is not known");
            None
        }
    }
}

/// Who was denied, the last one first; `None` if the rules in force remember nobody.
pub(super) fn who_was_denied() -> Result<Option<Vec<Denied>>, Error> {
    let (mut who, mut remembers) = (Vec::new(), false);
    let table = TableId::palisade();
    for (towards, version) in Denial::ALL.into_iter().flat_map(|one| Version::ALL.map(|version| (one, version))) {
        let elements = match counted_elements(&table, &towards.set(version)) {
            // A policy that denies nothing of that kind has no such set.
            Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => continue,
            elements => elements?,
        };
        remembers = true;
        who.extend(
            elements.iter().filter_map(|element| {
                Denied::read(towards, version, &element.key, element.packets, element.expires_ms)
            }),
        );
    }
    who.sort_by_key(|denied| (denied.ago, denied.source, denied.port));
    Ok(remembers.then_some(who))
}

/// Prints who is denied from now on, a line for each source and port in each second, until the process is interrupted or
/// standard output is closed.
fn follow(known: &[Denied], policy: Option<&Resolved>) -> Report {
    let key = |denied: &Denied| (denied.towards, denied.source, denied.port);
    let mut counted: BTreeMap<_, u64> = known.iter().map(|denied| (key(denied), denied.packets)).collect();
    loop {
        thread::sleep(EVERY);
        let Ok(Some(who)) = who_was_denied().inspect_err(|error| tracing::warn!("{error}")) else { continue };
        for denied in who.iter().rev() {
            let before = counted.insert(key(denied), denied.packets).unwrap_or_default();
            // A smaller count is that of a new element: the old one has run out.
            let packets = denied.packets.checked_sub(before).unwrap_or(denied.packets);
            if packets == 0 {
                continue;
            }
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            let (source, port, why) = (denied.source, denied.port, said(denied, policy));
            if writeln!(io::stdout(), "{time} {source} {port}, {}: {why}", in_packets(packets)).is_err() {
                return Report::ok("", Value::Null);
            }
        }
        counted.retain(|known, _| who.iter().any(|denied| key(denied) == *known));
    }
}

/// Why the policy denies, with its line.
pub(super) fn said(denied: &Denied, policy: Option<&Resolved>) -> String {
    let Some(policy) = policy else { return "it is not known why".to_owned() };
    let Why { line, words, .. } = why(policy, &denied.refused());
    match line {
        Some(line) => format!("{words} ({})", printable(&policy.place(line))),
        None => format!("{words} ({}, by default)", printable(&policy.file)),
    }
}

fn in_packets(count: u64) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}

/// A table of these, one line each, in their order. Those for machines behind this one come last, under their own heading.
pub(super) fn table(who: &[&Denied], policy: Option<&Resolved>) -> String {
    let mut text = String::new();
    for (towards, heading) in
        [(Denial::Incoming, "denied"), (Denial::Forward, "denied on the way through this machine")]
    {
        let rows: Vec<[String; 4]> =
            who.iter().filter(|denied| denied.towards == towards).map(|denied| row(denied)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let (source, port, packets, ago) = (width(0), width(1), width(2), width(3));
        let of_these = who.iter().filter(|denied| denied.towards == towards);
        for (index, (row, denied)) in rows.iter().zip(of_these).enumerate() {
            if index == 0 {
                let _ = writeln!(text, "{heading}");
            }
            let why = said(denied, policy);
            let _ = writeln!(
                text,
                "  {:source$}  {:port$}  {:>packets$}  {:>ago$}  {why}",
                row[0], row[1], row[2], row[3]
            );
        }
    }
    text
}

/// Who, which port, how many packets, and how long ago.
pub(super) fn row(denied: &Denied) -> [String; 4] {
    let ago = format!("{} ago", period_in_words(Duration::from_secs(denied.ago.as_secs())));
    [denied.source.to_string(), denied.port.to_string(), in_packets(denied.packets), ago]
}

/// For programs.
pub(super) fn as_json(denied: &Denied, policy: Option<&Resolved>) -> Value {
    let why = policy.map(|policy| why(policy, &denied.refused()));
    let json = json!({
        "direction": match denied.towards {
            Denial::Incoming => "incoming",
            Denial::Forward => "forward",
        },
        "source": denied.source,
        "protocol": denied.port.transport.name(),
        "port": denied.port.first,
        "packets": denied.packets,
        "seconds_ago": denied.ago.as_secs(),
        "service": why.as_ref().and_then(|why| why.name.as_deref()),
        "line": why.as_ref().and_then(|why| why.line),
        "why": why.as_ref().map(|why| why.words.as_str()),
    });
    with_file(json, policy.zip(why.and_then(|why| why.line)))
}
