//! The ports of this machine behind which containers are, by the rules that translate them.

use super::text::{Line, Tables};
use crate::migrate::spans::Spans;
use crate::migrate::tuple::{Place, Protocol, interface};
use crate::net::{Version, number};
use std::net::IpAddr;

/// A port that is translated to a container's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Published {
    pub(super) version: Version,
    pub(super) protocol: Protocol,
    /// The port that senders ask for.
    pub(super) asked: u16,
    /// The own address that they ask.
    pub(super) to: Spans,
    /// The container's port and address, where they are known.
    pub(super) port: Option<u16>,
    pub(super) address: Option<u128>,
}

/// Reads the rules of the table nat that engines write: `! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination IP:80`.
pub(super) fn translated(tables: &Tables, version: Version) -> Vec<Published> {
    let lines = tables.chain("nat", "DOCKER").unwrap_or_default();
    let mut all: Vec<Published> = lines.iter().filter_map(|line| one(line, version)).collect();
    all.sort();
    all.dedup();
    all
}

fn one(line: &Line, version: Version) -> Option<Published> {
    let value = |names: &[&str]| {
        let at = line.words.iter().position(|word| names.contains(&word.as_str()))?;
        line.words.get(at + 1).map(String::as_str)
    };
    if value(&["-j", "--jump"]) != Some("DNAT") {
        return None;
    }
    let protocol = match value(&["-p", "--protocol"])? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    let asked: u16 = value(&["--dport", "--destination-port"])?.parse().ok()?;
    let target = value(&["--to-destination"])?;
    let (address, port) = target.rsplit_once(':')?;
    let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
    let port = Some(port.parse().ok()?);
    let to = match value(&["-d", "--destination"]) {
        Some(text) => Place::read(text, version)?.spans,
        None => Spans::all(version),
    };
    // A port that is published to this machine alone.
    let is_loopback = to
        .as_slice()
        .first()
        .is_some_and(|(first, _)| version.address(*first).is_some_and(|address| address.is_loopback()));
    // The engine's own bridge comes first in its rules, and nothing else is asked.
    let names_interface = value(&["-i", "--in-interface"]).is_none_or(|name| interface(name).is_some());
    (asked > 0 && !is_loopback && names_interface && Version::of(address) == version).then_some(Published {
        version,
        protocol,
        asked,
        to,
        port,
        address: Some(number(address)),
    })
}
