//! One line of an address file: the addresses that it names, or why they can't be told.
//!
//! The forms are those of published lists: an address, a network or a range at the beginning of the line and anything
//! after it, two columns that are a range, or an object of JSON.

use super::address;
use super::diagnostic::quote;
use super::fault::Fault;
use super::name::is_name;
use crate::net::AddressRange;
use ipnet::{Ipv4Net, Ipv6Net};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};

/// What begins a comment.
const COMMENTS: [&str; 3] = ["#", ";", "//"];
/// What a line may be, for the remedy of one that is not.
const FORMS: &str = "a line begins with an address, a network (`192.0.2.0/24`) or a range (`192.0.2.1-192.0.2.9`); \
                     comments begin with `#`, `;` or `//`";

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing: it is empty, or a comment.
    Nothing,
    /// It names addresses.
    Range(AddressRange),
    /// It names a network with bits set behind its prefix, which is taken as the network.
    Masked(AddressRange),
    /// It has two columns that are taken as a range.
    Columns(AddressRange),
    /// It can't be read, and may show that the whole file is of another form.
    Odd(Fault, Option<Form>),
}

/// A form that is no list of addresses, line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page for browsers, such as that of an error.
    Html,
    /// One JSON document over several lines.
    Json,
    /// Columns with commas between them; the number of the column with addresses, counted from 1, if it is known.
    Csv(Option<usize>),
}

/// Reads a line. Returns what it says, and the part of it that says so.
pub(super) fn read(line: &str) -> (&str, Entry) {
    let whole = line.trim();
    // Most lines of long lists are this.
    if let Ok(address) = whole.parse::<Ipv4Addr>()
        && !address.is_unspecified()
    {
        return (whole, Entry::Range(AddressRange::V4(address, address)));
    }
    match whole.chars().next() {
        Some('<') => return (whole, Entry::Odd(Fault::new("this line is HTML").help(FORMS), Some(Form::Html))),
        Some('{') => return (whole, object(whole)),
        Some('[' | ']' | '}') if !whole.starts_with('[') || is_of_json(whole) => {
            return (whole, Entry::Odd(several_lines(), Some(Form::Json)));
        }
        _ => {}
    }
    let end = COMMENTS.iter().filter_map(|begin| whole.find(begin)).min().unwrap_or(whole.len());
    let item = whole.get(..end).unwrap_or("").trim_end();
    if item.is_empty() {
        return (item, Entry::Nothing);
    }
    if item.contains(',') {
        let fault = Fault::new(format!("{} has commas between its columns", quote(item))).help(FORMS);
        return (item, Entry::Odd(fault, Some(Form::Csv(column(item)))));
    }
    let mut fields = item.split_whitespace();
    let first = fields.next().unwrap_or("");
    match (fields.next(), fields.next()) {
        (None, _) => (item, single(first)),
        (Some("-"), Some(last)) => (item, single(&format!("{first}-{last}"))),
        (Some(second), _) => columns(item, first, second),
    }
}

/// Whether a `[` begins a list of JSON, and not an IPv6 address in brackets.
fn is_of_json(whole: &str) -> bool {
    whole.get(1..).is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| " \t{\"[]".contains(c)))
}

fn several_lines() -> Fault {
    Fault::new("this line is part of a JSON document").help("one object a line can be read, with `cidr` or `ip`")
}

/// Reads an object of JSON with `cidr` or `ip`. One with `"type": "metadata"` describes the list.
fn object(whole: &str) -> Entry {
    let Ok(Value::Object(object)) = serde_json::from_str(whole) else {
        return Entry::Odd(several_lines(), Some(Form::Json));
    };
    match ["cidr", "ip"].iter().find_map(|key| object.get(*key)) {
        Some(Value::String(item)) => single(item.trim()),
        None if object.get("type").and_then(Value::as_str) == Some("metadata") => Entry::Nothing,
        _ => Entry::Odd(
            Fault::new("this object has neither `cidr` nor `ip`").help("one object a line, with `cidr` or `ip`"),
            None,
        ),
    }
}

/// The first column with an address or a network, counted from 1.
fn column(item: &str) -> Option<usize> {
    let unquoted = |field: &str| field.trim().trim_matches('"').trim().to_owned();
    let is_address = |field: String| matches!(single(&field), Entry::Range(_) | Entry::Masked(_));
    item.split(',').position(|field| is_address(unquoted(field))).map(|at| at + 1)
}

/// Reads the first of several columns, or the range of the first two.
fn columns<'a>(item: &'a str, first: &'a str, second: &str) -> (&'a str, Entry) {
    let odd = |message: String, help: String| (item, Entry::Odd(Fault::new(message).help(help), None));
    match (first.parse::<IpAddr>(), second.parse::<IpAddr>()) {
        (Ok(IpAddr::V4(address)), Ok(IpAddr::V4(mask))) if is_mask(mask) => {
            let network = Ipv4Net::with_netmask(address, mask).map(|network| network.trunc());
            let network = network.map_or_else(|_| "192.0.2.0/24".to_owned(), |network| network.to_string());
            odd(format!("{} has a netmask in its second column", quote(item)), format!("write `{network}`"))
        }
        (Ok(_), Ok(_)) => match address::range(&format!("{first}-{second}")) {
            Ok(range) => (item, Entry::Columns(range)),
            Err(fault) => (item, Entry::Odd(fault, None)),
        },
        _ if address::range(second).is_ok() && address::range(first).is_ok() => {
            odd(format!("several addresses stand on this line: {}", quote(item)), "write one a line".to_owned())
        }
        _ => (first, single(first)),
    }
}

/// Whether the bits of an address are those of a netmask: ones, and zeros behind them.
fn is_mask(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    bits.leading_ones() > 0 && bits.leading_ones() + bits.trailing_zeros() == 32
}

/// Reads one address, network or range.
fn single(item: &str) -> Entry {
    match address::range(item) {
        Ok(range) => Entry::Range(range),
        Err(fault) => match masked(item) {
            Some(network) => Entry::Masked(network),
            None => Entry::Odd(of_a_file(item, fault), None),
        },
    }
}

/// The network that an address with a prefix lies in.
fn masked(item: &str) -> Option<AddressRange> {
    if let Ok(network) = item.parse::<Ipv4Net>() {
        return Some(AddressRange::V4(network.network(), network.broadcast()));
    }
    let network = item.parse::<Ipv6Net>().ok().filter(|network| network.addr().to_ipv4_mapped().is_none())?;
    Some(AddressRange::V6(network.network(), network.broadcast()))
}

/// A fault with a remedy for files, where there are no groups, and no services beside the address.
fn of_a_file(item: &str, fault: Fault) -> Fault {
    let unspecified = item.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    let is_policys = item.contains(['%', '[', ']']) || item.matches(':').count() == 1 || unspecified;
    if is_name(item) || !item.contains(['.', ':']) {
        return Fault::new(format!("{} is not an address", quote(item))).help(FORMS);
    }
    if is_policys || item.contains(|c: char| !c.is_ascii_hexdigit() && !"./:-".contains(c)) {
        return Fault {
            message: fault.message.replace("neither an address nor a group", "not an address"),
            help: None,
        }
        .help(FORMS);
    }
    fault
}
