//! Who reaches which port, as a table for people and as JSON.

use super::reach::{Clause, Label};
use super::rows::{Admitted, Purpose, Row};
use crate::net::{Transport, Version, protocol};
use crate::printable::printable;
use crate::simulate::Doubt;
use crate::temporary::set_name;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How many addresses of a list a line of text names.
const SHOWN: usize = 4;
/// The widest column of owners.
const WIDEST: usize = 40;

/// The contents of a group, or of a list without a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its addresses, networks and ranges, or the first of them.
    pub texts: Vec<String>,
    /// Whether these are all.
    pub complete: bool,
}

impl Listing {
    /// What is of one IP version, or all of it.
    fn over(&self, version: Option<Version>) -> Self {
        let is_of = |text: &&String| version.is_none_or(|version| text.contains(':') == (version == Version::V6));
        Self { texts: self.texts.iter().filter(is_of).cloned().collect(), complete: self.complete }
    }
}

/// The contents of the groups and lists that rows mention.
pub type Listings = BTreeMap<Label, Listing>;

/// The groups and lists of the policy that rows mention, and whose contents are worth showing.
#[must_use]
pub fn lists(rows: &[Row]) -> BTreeSet<Label> {
    let reaches = rows.iter().flat_map(|row| row.reach.iter().flatten());
    let clauses = reaches.flat_map(|reach| reach.who.iter().chain(reach.unknown.iter().map(|(clause, _)| clause)));
    let labels = clauses.flat_map(|clause| clause.within.iter().chain(&clause.but));
    labels.filter(|label| matches!(label, Label::Group(_) | Label::List(_))).cloned().collect()
}

/// A row as the table for people has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `9000/tcp`
    pub port: String,
    /// `sshd`, `container dashboard`
    pub owner: String,
    /// `everyone`, `trusted (3 addresses)`, `nobody`
    pub who: String,
}

impl Told {
    /// A row, with the contents of the groups and lists that rows mention.
    #[must_use]
    pub fn new(row: &Row, listings: &Listings) -> Self {
        Self { port: port_words(row), owner: owner(row), who: shown(&who(row, listings)) }
    }
}

/// A table, followed by one line for each reason why something can't be told.
#[must_use]
pub fn text(rows: &[Row], listings: &Listings) -> String {
    if rows.is_empty() {
        return "nobody listens on this machine\n".to_owned();
    }
    table(rows, listings)
}

/// The same of one row at least.
#[must_use]
pub fn table(rows: &[Row], listings: &Listings) -> String {
    let cells: Vec<Told> = rows.iter().map(|row| Told::new(row, listings)).collect();
    let first = width(cells.iter().map(|told| &told.port), "PORT");
    let second = width(cells.iter().map(|told| &told.owner), "OWNER");
    let mut text = format!("{:<first$}  {:<second$}  REACHABLE FROM\n", "PORT", "OWNER");
    for Told { port, owner, who } in &cells {
        let _ = writeln!(text, "{port:<first$}  {owner:<second$}  {who}");
    }
    let whys = doubts(rows);
    if !whys.is_empty() {
        text.push_str("\nunknown:\n");
        whys.into_iter().for_each(|why| text.push_str(&format!("  {}\n", printable(why))));
    }
    text
}

/// The reasons why something of rows can't be told.
#[must_use]
pub fn doubts(rows: &[Row]) -> BTreeSet<&Doubt> {
    let reaches = rows.iter().flat_map(|row| row.reach.iter().flatten());
    reaches.flat_map(|reach| &reach.unknown).map(|(_, why)| why).collect()
}

/// The width of a column with these cells below that heading.
pub(crate) fn width<'c>(cells: impl Iterator<Item = &'c String>, heading: &str) -> usize {
    let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
    widest.min(WIDEST).max(heading.len())
}

/// `{"ports": [{"port", "proto", "owner", "kind", "reachable_from", ...}]}`
#[must_use]
pub fn json(rows: &[Row], listings: &Listings) -> Value {
    let ports: Vec<Value> = rows.iter().map(|row| row_json(row, listings)).collect();
    json!({ "ports": ports })
}

/// One of these.
#[must_use]
pub fn row_json(row: &Row, listings: &Listings) -> Value {
    let mut json = json!({
        "port": port_json(row),
        "proto": protocol(row),
        "owner": row.owner,
        "kind": kind(row),
        "addresses": row.bound.iter().map(|(address, _)| address.to_string()).collect::<Vec<_>>(),
        "reachable_from": reachable_from(row, listings),
        "except": exceptions(row.admitted.iter(), None, listings),
    });
    let mut put = |key: &str, value: Value| {
        if let Some(json) = json.as_object_mut() {
            json.insert(key.to_owned(), value);
        }
    };
    for version in Version::ALL {
        let Some(reach) = row.reach_over(version) else { continue };
        let of_version = || row.admitted.iter().filter(|admitted| admitted.over.is_none_or(|over| over == version));
        let mut names: Vec<String> = Vec::new();
        for admitted in of_version() {
            add_new(&mut names, words(&admitted.who, Some(version), listings));
        }
        names.extend((!reach.unknown.is_empty()).then(|| "unknown".to_owned()));
        let except = exceptions(of_version(), Some(version), listings);
        put(&format!("ip{}", version.suffix()), json!({ "reachable_from": or_nobody(names), "except": except }));
    }
    let reasons: BTreeSet<&Doubt> =
        row.reach.iter().flatten().flat_map(|reach| &reach.unknown).map(|(_, why)| why).collect();
    if !reasons.is_empty() {
        put("unknown", json!(reasons));
    }
    if let Some(pid) = row.pid {
        put("pid", json!(pid));
    }
    if let Some(interface) = &row.interface {
        put("interface", json!(interface));
    }
    if let Some(port) = row.container_port {
        put("container_port", json!(port));
    }
    if row.purpose == Purpose::Forwarded {
        put("forwarded_to", json!(row.targets()));
    }
    if let Some(engine) = row.engine {
        put("engine", json!(engine.name()));
    }
    json
}

/// Who reaches a row's port, as programs get it; the last is `unknown` if that can't be told of everybody.
#[must_use]
pub fn reachable_from(row: &Row, listings: &Listings) -> Vec<String> {
    or_nobody(all_names(row, listings))
}

/// A row's port as programs get it: a number, or a range as text.
pub(crate) fn port_json(row: &Row) -> Value {
    if row.last == row.port { json!(row.port) } else { json!(ports(row)) }
}

/// The word for who receives what is sent to a row's port.
pub(crate) const fn kind(row: &Row) -> &'static str {
    match row.purpose {
        Purpose::Process => "process",
        Purpose::Container => "container",
        Purpose::Forwarded => "forward",
    }
}

/// `9000`, or `20000-30000`
fn ports(row: &Row) -> String {
    if row.last == row.port { row.port.to_string() } else { format!("{}-{}", row.port, row.last) }
}

pub(crate) fn protocol(row: &Row) -> &'static str {
    let named = Transport::from_number(row.protocol);
    named.map_or("?", Transport::name)
}

/// `9000/tcp`, `20000-30000/udp`, `ping` or `50/proto`
fn port_words(row: &Row) -> String {
    if Transport::from_number(row.protocol).is_some() {
        format!("{}/{}", ports(row), protocol(row))
    } else {
        target_words(row.protocol, row.port)
    }
}

/// A port, or a protocol without ports, as policies write it: `9000/tcp`, `ping` for ICMP, `50/proto`.
#[must_use]
pub fn target_words(protocol: u8, port: u16) -> String {
    match Transport::from_number(protocol) {
        Some(transport) => format!("{port}/{}", transport.name()),
        None if protocol == protocol::ICMP => "ping".to_owned(),
        None => format!("{protocol}/proto"),
    }
}

fn owner(row: &Row) -> String {
    match row.purpose {
        Purpose::Process => shown(&row.owner),
        Purpose::Container => format!("container {}", shown(&row.owner)),
        Purpose::Forwarded => format!("forwarded to {}", shown(&row.owner)),
    }
}

fn shown(words: &str) -> String {
    printable(words).into_owned()
}

/// Who reaches it, each alternative with the IP version where that has to be named.
fn all_names(row: &Row, listings: &Listings) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for admitted in &row.admitted {
        let over = over(admitted);
        add_new(
            &mut names,
            words(&admitted.who, admitted.over, listings).into_iter().map(|name| name + over).collect(),
        );
    }
    let unknown = Version::ALL.map(|version| row.reach_over(version).is_some_and(|reach| !reach.unknown.is_empty()));
    names.extend(unknown.contains(&true).then(|| format!("unknown{}", unknown_over(row))));
    names
}

fn add_new(names: &mut Vec<String>, more: Vec<String>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

fn or_nobody(names: Vec<String>) -> Vec<String> {
    if names.is_empty() { vec!["nobody".to_owned()] } else { names }
}

/// ` over IPv6`, where the sources reach it over IPv6 alone.
fn over(admitted: &Admitted) -> &'static str {
    admitted.over.filter(|_| admitted.named).map_or("", version_words)
}

const fn version_words(version: Version) -> &'static str {
    match version {
        Version::V4 => " over IPv4",
        Version::V6 => " over IPv6",
    }
}

/// The IP version over which it can't be told, if it can over the other.
fn unknown_over(row: &Row) -> &'static str {
    match Version::ALL.map(|version| row.reach_over(version).map(|reach| !reach.unknown.is_empty())) {
        [Some(true), Some(false)] => version_words(Version::V4),
        [Some(false), Some(true)] => version_words(Version::V6),
        _ => "",
    }
}

fn exceptions<'s>(
    admitted: impl Iterator<Item = &'s Admitted>,
    over: Option<Version>,
    listings: &Listings,
) -> Vec<String> {
    let mut labels: Vec<(&Label, Option<Version>)> = admitted
        .flat_map(|admitted| admitted.who.but.iter().map(move |label| (label, over.or(admitted.over))))
        .collect();
    labels.sort_by_key(|(label, _)| *label);
    let mut names: Vec<String> = Vec::new();
    for (label, over) in labels {
        add_new(&mut names, label_words(label, over, listings));
    }
    names
}

/// A clause without its exceptions, as one text or several alternatives.
fn words(clause: &Clause, over: Option<Version>, listings: &Listings) -> Vec<String> {
    let (ways, who): (Vec<&Label>, Vec<&Label>) =
        clause.within.iter().partition(|label| matches!(label, Label::By(_) | Label::FromPort(_)));
    let ways: String = ways
        .into_iter()
        .map(|way| match way {
            Label::By(interface) => format!(" by {interface}"),
            Label::FromPort(port) => format!(" from port {port}"),
            _ => String::new(),
        })
        .collect();
    match who.as_slice() {
        [] => vec![format!("everyone{ways}")],
        [one] => label_words(one, over, listings).into_iter().map(|one| one + &ways).collect(),
        several => {
            let all: Vec<String> = several.iter().map(|label| short(label, over, listings)).collect();
            vec![format!("{}{ways}", all.join(" who are also "))]
        }
    }
}

/// A label as one name, or as the addresses of a list without a name.
fn label_words(label: &Label, over: Option<Version>, listings: &Listings) -> Vec<String> {
    match label {
        Label::List(name) => match listings.get(label).map(|listing| listing.over(over)) {
            Some(listing) if listing.complete && !listing.texts.is_empty() && name != "policy.block" => listing.texts,
            _ => vec![short(label, over, listings)],
        },
        label => vec![short(label, over, listings)],
    }
}

fn short(label: &Label, over: Option<Version>, listings: &Listings) -> String {
    match label {
        Label::Group(name) | Label::Network(name) => name.clone(),
        Label::List(name) if name == "policy.block" => "blocked".to_owned(),
        Label::List(name) => match listings.get(label).map(|listing| listing.over(over)) {
            Some(listing) if listing.complete && !listing.texts.is_empty() => listing.texts.join(", "),
            _ => format!("those listed in {name}"),
        },
        Label::Set(table, name) => format!("set {name} of table {table}"),
        Label::Containers => "containers".to_owned(),
        Label::ContainersBy(interface) => format!("containers of {interface}"),
        Label::By(interface) => format!("by {interface}"),
        Label::FromPort(port) => format!("from port {port}"),
    }
}

/// The `REACHABLE FROM` cell of a row.
fn who(row: &Row, listings: &Listings) -> String {
    let unknown: Vec<&(Clause, Doubt)> = row.reach.iter().flatten().flat_map(|reach| &reach.unknown).collect();
    if row.admitted.is_empty() && unknown.is_empty() {
        return match (row.is_for_this_machine(), only_address(row)) {
            (true, _) => "nobody: for this machine alone".to_owned(),
            (false, Some(address)) => format!("nobody (at {address})"),
            (false, None) => "nobody".to_owned(),
        };
    }
    let mut by_exception: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for admitted in &row.admitted {
        let but = exceptions(std::iter::once(admitted), None, listings);
        let words = who_of(admitted, listings) + over(admitted);
        match by_exception.iter_mut().find(|(before, _)| *before == but) {
            Some((_, said_before)) => said_before.push(words),
            None => by_exception.push((but, vec![words])),
        }
    }
    let mut parts: Vec<String> = Vec::new();
    for (but, names) in by_exception {
        parts.push(if but.is_empty() {
            names.join(", ")
        } else {
            format!("{} but {}", names.join(", "), some(&but))
        });
    }
    if !unknown.is_empty() {
        let everyone = unknown.iter().any(|(clause, _)| clause.within.is_empty() && clause.but.is_empty());
        let of: BTreeSet<String> = unknown.iter().flat_map(|(clause, _)| words(clause, None, listings)).collect();
        let of = of.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        let whom = if everyone { "unknown".to_owned() } else { format!("unknown for {of}") };
        parts.push(whom + unknown_over(row));
    }
    match only_address(row) {
        Some(address) => format!("{} (at {address})", parts.join("; ")),
        None => parts.join("; "),
    }
}

/// Sources without their exceptions, in short.
fn who_of(admitted: &Admitted, listings: &Listings) -> String {
    let only = admitted.who.within.iter().next().filter(|_| admitted.who.within.len() == 1);
    let size_of = |label| size(listings.get(label).map(|listing| listing.over(admitted.over)).as_ref());
    if let Some(label @ Label::List(name)) = only
        && let Some(group) = group_for_a_time(name)
    {
        return format!("{group} for a time{}", size_of(label));
    }
    match only {
        Some(label @ Label::Group(name)) => format!("{name}{}", size_of(label)),
        _ => some(&words(&admitted.who, admitted.over, listings)),
    }
}

/// The group whose set for whoever is in it for a time is that list.
fn group_for_a_time(list: &str) -> Option<&str> {
    let v4 = format!("{list}-{}", Version::V4.suffix());
    list.split('.').next().filter(|group| set_name(group, Version::V4) == v4)
}

/// The first of these, and how many more there are.
fn some(names: &[String]) -> String {
    match names.get(..SHOWN).filter(|_| names.len() > SHOWN + 1) {
        Some(shown) => format!("{} and {} more", shown.join(", "), names.len() - SHOWN),
        None => names.join(", "),
    }
}

/// The only address or interface that it listens on, if it is limited to one.
fn only_address(row: &Row) -> Option<String> {
    match (row.bound.as_slice(), &row.interface) {
        ([(address, _)], None) if !address.is_unspecified() => Some(address.to_string()),
        (_, Some(interface)) => Some(interface.clone()),
        _ => None,
    }
}

/// ` (3 addresses)`
fn size(listing: Option<&Listing>) -> String {
    let Some(listing) = listing.filter(|listing| !listing.texts.is_empty()) else { return String::new() };
    let count = listing.texts.len();
    let addresses = listing.texts.iter().all(|text| !text.contains(['/', '-']));
    let what = match (addresses, count) {
        (true, 1) => "address",
        (true, _) => "addresses",
        (false, 1) => "network",
        (false, _) => "networks and addresses",
    };
    if listing.complete { format!(" ({count} {what})") } else { format!(" (more than {count} {what})") }
}
