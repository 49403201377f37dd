//! Who reaches which port, as a table for people and as JSON.

use super::reach::{Clause, Label, Reach};
use super::rows::{Purpose, Row};
use crate::net::{Transport, range_in_words};
use crate::printable::printable;
use crate::simulate::Doubt;
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

/// The contents of the groups and lists that rows mention.
pub type Listings = BTreeMap<Label, Listing>;

/// A range of addresses as text. Both ends are bytes in network order; empty if they are no addresses.
#[must_use]
pub fn range(first: &[u8], last: &[u8]) -> String {
    range_in_words(first, last).unwrap_or_default()
}

/// The groups and lists of the policy that rows mention, and whose contents are worth showing.
#[must_use]
pub fn lists(rows: &[Row]) -> BTreeSet<Label> {
    let reaches = rows.iter().flat_map(|row| row.reach.iter().flatten());
    let clauses = reaches.flat_map(|reach| reach.who.iter().chain(reach.unknown.iter().map(|(clause, _)| clause)));
    let labels = clauses.flat_map(|clause| clause.within.iter().chain(&clause.but));
    labels.filter(|label| matches!(label, Label::Group(_) | Label::List(_))).cloned().collect()
}

/// A table, followed by one line for each reason why something can't be told.
#[must_use]
pub fn text(rows: &[Row], listings: &Listings) -> String {
    let cells: Vec<[String; 3]> = rows
        .iter()
        .map(|row| [format!("{}/{}", row.port, protocol(row)), owner(row), shown(&who(row, listings))])
        .collect();
    let width = |column: usize| {
        let of = cells.iter().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count());
        of.max().unwrap_or_default().min(WIDEST)
    };
    let (first, second) = (width(0).max("PORT".len()), width(1).max("OWNER".len()));
    let mut text = format!("{:<first$}  {:<second$}  REACHABLE FROM\n", "PORT", "OWNER");
    for [port, owner, who] in &cells {
        let _ = writeln!(text, "{port:<first$}  {owner:<second$}  {who}");
    }
    if rows.is_empty() {
        return "nobody listens on this machine\n".to_owned();
    }
    let whys: BTreeSet<&Doubt> = rows
        .iter()
        .flat_map(|row| row.reach.iter().flatten())
        .flat_map(|reach| &reach.unknown)
        .map(|(_, why)| why)
        .collect();
    if !whys.is_empty() {
        text.push_str("\nunknown:\n");
        whys.into_iter().for_each(|why| text.push_str(&format!("  {}\n", printable(why))));
    }
    text
}

/// `{"ports": [{"port", "proto", "owner", "kind", "reachable_from", ...}]}`
#[must_use]
pub fn json(rows: &[Row], listings: &Listings) -> Value {
    let ports: Vec<Value> = rows.iter().map(|row| row_json(row, listings)).collect();
    json!({ "ports": ports })
}

fn row_json(row: &Row, listings: &Listings) -> Value {
    let both = united(row);
    let mut said = json!({
        "port": row.port,
        "proto": protocol(row),
        "owner": row.owner,
        "kind": match row.purpose { Purpose::Process => "process", Purpose::Container => "container" },
        "addresses": row.bound.iter().map(|(address, _)| address.to_string()).collect::<Vec<_>>(),
    });
    let mut put = |key: &str, value: Value| {
        if let Some(said) = said.as_object_mut() {
            said.insert(key.to_owned(), value);
        }
    };
    for (key, reach) in [("", Some(&both)), ("ipv4", row.reach[0].as_ref()), ("ipv6", row.reach[1].as_ref())] {
        let Some(reach) = reach else { continue };
        let (from, except) = (names(reach, listings), exceptions(reach, listings));
        if key.is_empty() {
            put("reachable_from", json!(from));
            put("except", json!(except));
        } else {
            put(key, json!({ "reachable_from": from, "except": except }));
        }
    }
    let reasons: BTreeSet<&Doubt> = both.unknown.iter().map(|(_, why)| why).collect();
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
    if let Some(engine) = row.engine {
        put("engine", json!(engine.name()));
    }
    said
}

fn protocol(row: &Row) -> &'static str {
    let named = Transport::from_number(row.protocol);
    named.map_or("?", Transport::name)
}

fn owner(row: &Row) -> String {
    match row.purpose {
        Purpose::Process => shown(&row.owner),
        Purpose::Container => format!("container {}", shown(&row.owner)),
    }
}

fn shown(words: &str) -> String {
    printable(words).into_owned()
}

/// Who reaches it over either IP version.
fn united(row: &Row) -> Reach {
    row.reach.iter().flatten().cloned().fold(Reach::nobody(), Reach::or)
}

fn names(reach: &Reach, listings: &Listings) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for clause in &reach.who {
        names.extend(words(clause, listings).into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    if !reach.unknown.is_empty() {
        names.push("unknown".to_owned());
    }
    if names.is_empty() {
        names.push("nobody".to_owned());
    }
    names
}

fn exceptions(reach: &Reach, listings: &Listings) -> Vec<String> {
    let labels: BTreeSet<&Label> = reach.who.iter().flat_map(|clause| &clause.but).collect();
    let mut names: Vec<String> = labels.into_iter().flat_map(|label| label_words(label, listings)).collect();
    names.dedup();
    names
}

/// A clause without its exceptions, as one text or several alternatives.
fn words(clause: &Clause, listings: &Listings) -> Vec<String> {
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
        [one] => label_words(one, listings).into_iter().map(|one| one + &ways).collect(),
        several => {
            let all: Vec<String> = several.iter().map(|label| short(label, listings)).collect();
            vec![format!("{}{ways}", all.join(" who are also "))]
        }
    }
}

/// A label as one name, or as the addresses of a list without a name.
fn label_words(label: &Label, listings: &Listings) -> Vec<String> {
    match label {
        Label::List(name) => match listings.get(label) {
            Some(listing) if listing.complete && !listing.texts.is_empty() && name != "policy.block" => {
                listing.texts.clone()
            }
            _ => vec![short(label, listings)],
        },
        label => vec![short(label, listings)],
    }
}

fn short(label: &Label, listings: &Listings) -> String {
    match label {
        Label::Group(name) | Label::Network(name) => name.clone(),
        Label::List(name) if name == "policy.block" => "blocked".to_owned(),
        Label::List(name) => match listings.get(label) {
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
    let reach = united(row);
    if reach.is_nobody() {
        return match (row.is_for_this_machine(), only_address(row)) {
            (true, _) => "nobody: for this machine alone".to_owned(),
            (false, Some(address)) => format!("nobody (at {address})"),
            (false, None) => "nobody".to_owned(),
        };
    }
    // The clauses that hold for both IP versions or for one alone, grouped by their exceptions.
    let clauses: BTreeSet<&Clause> = row.reach.iter().flatten().flat_map(|reach| &reach.who).collect();
    let clauses = clauses.into_iter().filter(|clause| reach.who.contains(clause) || !over(row, clause).is_empty());
    let mut by_exception: Vec<(&BTreeSet<Label>, Vec<String>)> = Vec::new();
    for clause in clauses {
        let said = who_of(clause, listings) + over(row, clause);
        match by_exception.iter_mut().find(|(but, _)| **but == clause.but) {
            Some((_, said_before)) => said_before.push(said),
            None => by_exception.push((&clause.but, vec![said])),
        }
    }
    let mut parts: Vec<String> = Vec::new();
    for (but, said) in by_exception {
        let but: Vec<String> = but.iter().flat_map(|label| label_words(label, listings)).collect();
        parts.push(if but.is_empty() { said.join(", ") } else { format!("{} but {}", said.join(", "), some(&but)) });
    }
    if !reach.unknown.is_empty() {
        let everyone = reach.unknown.iter().any(|(clause, _)| clause.within.is_empty() && clause.but.is_empty());
        let of: BTreeSet<String> = reach.unknown.iter().flat_map(|(clause, _)| words(clause, listings)).collect();
        parts.push(if everyone {
            "unknown".to_owned()
        } else {
            format!("unknown for {}", of.into_iter().take(SHOWN).collect::<Vec<_>>().join(", "))
        });
    }
    match only_address(row) {
        Some(address) => format!("{} (at {address})", parts.join("; ")),
        None => parts.join("; "),
    }
}

/// A clause without its exceptions, in short.
fn who_of(clause: &Clause, listings: &Listings) -> String {
    match clause.within.iter().next().filter(|_| clause.within.len() == 1) {
        Some(label @ Label::Group(name)) => format!("{name}{}", size(listings.get(label))),
        _ => some(&words(clause, listings)),
    }
}

/// The first of these, and how many more there are.
fn some(names: &[String]) -> String {
    match names.get(..SHOWN).filter(|_| names.len() > SHOWN + 1) {
        Some(shown) => format!("{} and {} more", shown.join(", "), names.len() - SHOWN),
        None => names.join(", "),
    }
}

/// The IP version that a clause is limited to, unless its addresses tell already.
fn over(row: &Row, clause: &Clause) -> &'static str {
    let [Some(v4), Some(v6)] = &row.reach else { return "" };
    let tells = clause
        .within
        .iter()
        .any(|label| matches!(label, Label::Group(_) | Label::List(_) | Label::Set(..) | Label::Network(_)));
    match (v4.who.contains(clause), v6.who.contains(clause)) {
        (true, false) if !tells || v6.covers(clause) => " over IPv4",
        (false, true) if !tells || v4.covers(clause) => " over IPv6",
        _ => "",
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
