//! What the commands say, in short lines: of a message what stands before its first colon.

use crate::support::namespace::Output;
use crate::support::planted::Said;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

fn text(of: &Value) -> &str {
    of.as_str().unwrap_or_default()
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The beginning of a message, to a colon that stands in no code.
fn short(message: &str) -> &str {
    let ends = message.match_indices(": ").map(|(at, _)| at);
    let end = ends.into_iter().find(|at| message[..*at].matches('`').count().is_multiple_of(2));
    &message[..end.unwrap_or(message.len())]
}

fn lines(who: &str, found: &Value) -> String {
    let mut lines: Vec<String> = list(found)
        .iter()
        .filter(|found| !text(&found["message"]).contains("nothing listens on"))
        .map(|found| {
            let line = found["line"].as_u64().map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{who}: {line}{}\n", without_paths(short(text(&found["message"]))))
        })
        .collect();
    lines.sort_unstable();
    lines.concat()
}

/// Problems and warnings. Notes about services that nothing listens for are left out.
pub fn problems(command: &str, said: &Value) -> String {
    let mut all = format!("{command}: {}\n", if said["valid"] == true { "valid" } else { "not valid" });
    all += &lines(&format!("{command}: problem"), &said["problems"]);
    all += &lines(&format!("{command}: warning"), &said["warnings"]);
    all
}

pub fn refused(said: &Value) -> String {
    let problems = lines("apply: refused", &said["problems"]);
    if problems.is_empty() { format!("apply: refused: {}\n", short(text(&said["error"]))) } else { problems }
}

/// Who gains and who loses access to these TCP or UDP ports.
pub fn access(said: &Value, asked: &BTreeSet<String>) -> String {
    let covers = |row: &&Value| {
        let port = row["port"].as_str().map_or_else(|| row["port"].to_string(), str::to_owned);
        let (first, last) = port.split_once('-').unwrap_or((&port, &port));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return false };
        asked.iter().filter_map(|asked| asked.split_once('/')).any(|(port, proto)| {
            port.parse().is_ok_and(|port| (first..=last).contains(&port)) && proto == text(&row["proto"])
        })
    };
    let rows = list(&said["access"]).iter().filter(covers);
    let line = |row: &Value| {
        let names = |of: &Value| list(of).iter().map(text).collect::<Vec<_>>().join(", ");
        let port = row["port"].as_str().map_or_else(|| row["port"].to_string(), str::to_owned);
        let by = row["by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
        let published = if row["published"] == true { ", published" } else { "" };
        let whom = ["gains", "loses", "unknown"].map(|does| (does, names(&row[does])));
        let whom = whom.iter().filter(|(_, who)| !who.is_empty()).map(|(does, who)| format!(" {does}: {who}"));
        format!("dry-run: {port}/{}{by}{published}{}\n", text(&row["proto"]), whom.collect::<Vec<_>>().join(","))
    };
    rows.map(line).collect()
}

pub fn exposure(said: &Value) -> String {
    let names = |of: &Value| list(of).iter().map(text).collect::<Vec<_>>().join(", ");
    let mut all = String::new();
    for row in list(&said["ports"]) {
        let port = format!("{}/{}", row["port"], text(&row["proto"])).replace('"', "");
        // A process of a test has a name of its own each time.
        let owner = if row["kind"] == "container" { text(&row["owner"]) } else { "a process" };
        let (at, who) = (names(&row["addresses"]), names(&row["reachable_from"]));
        let except = names(&row["except"]);
        let except = if except.is_empty() { except } else { format!(" except {except}") };
        writeln!(all, "exposure: {port} of {owner} at {at}: {who}{except}").expect("text");
    }
    all
}

pub fn doctor(said: &Said) -> String {
    let mut all = String::new();
    for (id, message) in said.findings() {
        writeln!(all, "doctor: {id}: {}", without_paths(short(message))).expect("text");
    }
    all
}

/// A lab's folder has a name of its own each time.
fn without_paths(text: &str) -> String {
    let mut parts = text.split("/run/palisade-lab-");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let rest = part.split_once("/policies/").map_or(part, |(_, rest)| rest);
        all + rest
    })
}

/// Status and all that it printed, in one line.
pub fn plain(done: &Output) -> String {
    let all = format!("{}{}", done.stdout, done.stderr);
    let all = without_paths(&all);
    let words = all.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ");
    format!("{} {words}", done.status.unwrap_or(-1))
}

/// The verdict on a connection, with its reason unless that is that nothing is in its way.
pub fn of_connection((verdict, reason): &(String, String)) -> String {
    if verdict == "allow" { verdict.clone() } else { format!("{verdict}, {reason}") }
}
