//! The sections of the page: what is the same on many hosts is said once, with their names.

use super::drift;
use super::hosts::{Host, State};
use crate::picture::{Block, Section};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many hosts are named where more are meant.
const MOST_NAMED: usize = 12;
/// How many texts of one kind of finding are told.
const MOST_TEXTS: usize = 5;

pub(super) fn sections(hosts: &[Host]) -> Vec<Section> {
    let section = |id, title, blocks| Section { id, title, blocks };
    vec![
        section("hosts", "Hosts", of_hosts(hosts)),
        section("drift", "What is not as the policies say", of_drift(hosts)),
        section("ports", "Open ports", of_ports(hosts)),
        section("findings", "What works against the policies", of_findings(hosts)),
    ]
}

/// `web1, web2 (2 of 50)`
fn named(these: &[&str], all: usize) -> String {
    if these.len() == all { names(these, all) } else { format!("{} ({} of {all})", names(these, all), these.len()) }
}

/// `web1, web2`
fn names(these: &[&str], all: usize) -> String {
    if these.len() == all && all > 1 {
        return format!("all {all}");
    }
    let mut words = these.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
    if let Some(more) = these.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        words.push_str(&format!(" and {more} more"));
    }
    words
}

/// The hosts that have no such answer, as a sentence.
fn unasked(hosts: &[Host], command: &str) -> Option<Block> {
    let these: Vec<&str> =
        hosts.iter().filter(|host| host.answer(command).is_none()).map(|host| host.name.as_str()).collect();
    let why = || format!("`palisade {command}` of {}: they have not answered it", named(&these, hosts.len()));
    (!these.is_empty()).then(|| Block::Unknown(why()))
}

fn of_hosts(hosts: &[Host]) -> Vec<Block> {
    let mut by_state: BTreeMap<State, usize> = BTreeMap::new();
    let mut rows: Vec<(State, Vec<String>)> = Vec::new();
    for host in hosts {
        let (state, why) = host.state();
        *by_state.entry(state).or_default() += 1;
        rows.push((state, row(host, state, &why)));
    }
    rows.sort_by_key(|(state, _)| *state);
    let counts: Vec<String> = by_state.iter().map(|(state, count)| format!("{count} {}", state.name())).collect();
    let what = if hosts.len() == 1 { "host" } else { "hosts" };
    let summary = format!("{} {what}: {}.", hosts.len(), counts.join(", "));
    let head = vec!["host", "state", "palisade", "policy", "loaded", "findings"];
    vec![Block::Words(summary), Block::Table(head, rows.into_iter().map(|(_, row)| row).collect())]
}

fn row(host: &Host, state: State, why: &str) -> Vec<String> {
    let text = |pointer: &str| {
        let value = host.answer("status").and_then(|status| status.pointer(pointer)).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let policy = match text("/applied/policy") {
        path if path.is_empty() => text("/file"),
        path => path,
    };
    let state = format!("{}{why}", state.name());
    vec![host.name.clone(), state, host.version().to_owned(), policy, text("/since"), counted(host)]
}

/// `1 error, 2 warnings`
fn counted(host: &Host) -> String {
    let Some(findings) = host.answer("doctor").and_then(|doctor| doctor.get("findings")?.as_array()) else {
        return "not known".to_owned();
    };
    let of = |severity: &str| {
        let is = |finding: &&Value| finding.get("severity").and_then(Value::as_str) == Some(severity);
        match findings.iter().filter(is).count() {
            0 => None,
            1 => Some(format!("1 {severity}")),
            many => Some(format!("{many} {severity}s")),
        }
    };
    let counts: Vec<String> = ["error", "warning", "note"].into_iter().filter_map(of).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn of_drift(hosts: &[Host]) -> Vec<Block> {
    let mut alike: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    for host in hosts {
        let Some(diff) = host.answer("diff").filter(|_| host.state().0 > State::NotLoaded) else { continue };
        if diff.get("in_sync").and_then(Value::as_bool) == Some(false) {
            alike.entry(drift::lines(diff)).or_default().push(&host.name);
        }
    }
    let mut alike: Vec<(Vec<String>, Vec<&str>)> = alike.into_iter().collect();
    alike.sort_by(|(_, one), (_, other)| other.len().cmp(&one.len()).then(one.cmp(other)));
    let mut blocks: Vec<Block> = Vec::new();
    for (lines, these) in alike {
        blocks.push(Block::Heading(named(&these, hosts.len())));
        blocks.push(Block::Lines(lines.join("\n")));
    }
    if blocks.is_empty() {
        blocks.push(Block::Words("Of those that answered, none differs from its policy.".to_owned()));
    }
    blocks.extend(unasked(hosts, "diff"));
    blocks
}

/// A port and who reaches it. Who is everyone comes first, then the lowest port.
type Open = (bool, u64, String, String);

fn of_ports(hosts: &[Host]) -> Vec<Block> {
    let mut alike: BTreeMap<Open, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for host in hosts {
        let ports = host.answer("exposure").and_then(|exposure| exposure.get("ports")?.as_array());
        for port in ports.into_iter().flatten() {
            let owner = port.get("owner").and_then(Value::as_str).unwrap_or("unknown");
            if let Some(open) = open(port) {
                alike.entry(open).or_default().entry(&host.name).or_default().push(owner);
            }
        }
    }
    let mut rows = Vec::new();
    for ((_, _, port, who), hosts_and_owners) in alike {
        let these: Vec<&str> = hosts_and_owners.keys().copied().collect();
        let mut owners: Vec<&str> = hosts_and_owners.into_values().flatten().collect();
        owners.sort_unstable();
        owners.dedup();
        let on = format!("{} of {}", these.len(), hosts.len());
        rows.push(vec![port, who, on, owners.join(", "), names(&these, hosts.len())]);
    }
    let mut blocks = if rows.is_empty() {
        vec![Block::Words("Of those that answered, none has a port that somebody reaches.".to_owned())]
    } else {
        vec![Block::Table(vec!["port", "open to", "on", "owners", "hosts"], rows)]
    };
    blocks.extend(unasked(hosts, "exposure"));
    blocks
}

/// A row of `exposure` that somebody else reaches, or of which that is not known.
fn open(port: &Value) -> Option<Open> {
    let words = |field: &str| {
        let list = port.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .filter(|who| !["nobody", "this machine"].contains(who))
            .collect::<Vec<_>>()
    };
    let (from, except) = (words("reachable_from"), words("except"));
    if from.is_empty() {
        return None;
    }
    let number = port.get("port")?;
    let first = number.as_u64().or_else(|| number.as_str()?.split('-').next()?.parse().ok()).unwrap_or_default();
    let number = number.as_str().map_or_else(|| number.to_string(), str::to_owned);
    let port = format!("{number}/{}", port.get("proto")?.as_str()?);
    let but = if except.is_empty() { String::new() } else { format!(" but {}", except.join(", ")) };
    Some((!from.contains(&"everyone"), first, port, format!("{}{but}", from.join(", "))))
}

/// A kind of finding: how bad it is, and its identifier.
type Kind<'a> = (u8, &'static str, &'a str);

fn of_findings(hosts: &[Host]) -> Vec<Block> {
    let mut alike: BTreeMap<Kind<'_>, BTreeMap<(&str, &str), Vec<&str>>> = BTreeMap::new();
    for host in hosts {
        let findings = host.answer("doctor").and_then(|doctor| doctor.get("findings")?.as_array());
        for finding in findings.into_iter().flatten() {
            let text = |field: &str| finding.get(field).and_then(Value::as_str).unwrap_or_default();
            let (rank, severity) = match text("severity") {
                "error" => (0, "error"),
                "warning" => (1, "warning"),
                _ => (2, "note"),
            };
            let texts = alike.entry((rank, severity, text("id"))).or_default();
            texts.entry((text("message"), text("help"))).or_default().push(&host.name);
        }
    }
    let mut blocks = Vec::new();
    for ((_, severity, id), texts) in alike {
        let mut these: Vec<&str> = texts.values().flatten().copied().collect();
        these.sort_unstable();
        these.dedup();
        let mut texts: Vec<((&str, &str), Vec<&str>)> = texts.into_iter().collect();
        texts.sort_by_key(|(_, on)| std::cmp::Reverse(on.len()));
        let more = texts.len().saturating_sub(MOST_TEXTS);
        for ((message, help), on) in texts.into_iter().take(MOST_TEXTS) {
            blocks.push(Block::Finding {
                severity,
                id: id.to_owned(),
                message: format!("{}: {message}", named(&on, hosts.len())),
                help: help.to_owned(),
            });
        }
        if more > 0 {
            blocks.push(Block::Words(format!("{id} has {more} more texts, on {} hosts in all.", these.len())));
        }
    }
    if blocks.is_empty() {
        blocks.push(Block::Words("Of those that answered, none has a finding.".to_owned()));
    }
    blocks.extend(unasked(hosts, "doctor"));
    blocks
}
