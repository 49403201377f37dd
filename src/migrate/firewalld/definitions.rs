//! Services and sets of addresses, which zones name.

use super::ports::{Asked, port};
use super::xml::{Fault, elements, read};
use crate::migrate::spans::Spans;
use crate::migrate::tuple::Place;
use crate::net::Version;
use crate::printable::printable;
use std::collections::{BTreeMap, BTreeSet};

/// How many addresses the sets of an installation may have together.
const MOST_ENTRIES: usize = 100_000;
/// The options of sets that do not change what a member means.
const KNOWN_OPTIONS: [&str; 4] = ["family", "hashsize", "maxelem", "timeout"];

/// A service: what it is answered at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    /// Ports, protocols, and ports of senders.
    pub(super) asked: Vec<Asked>,
    /// Other services that it contains.
    pub(super) includes: Vec<String>,
    /// The addresses that it is for, of each version; none: all.
    pub(super) destinations: [Option<Place>; 2],
    /// Whether connections that its own connections announce were let in, too.
    pub(super) helpers: Vec<String>,
}

/// A set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Addresses(Version, Spans),
    /// Why its members are not known.
    Other(String),
}

/// What zones name.
#[derive(Clone, Debug, Default)]
pub(super) struct Definitions {
    pub(super) services: BTreeMap<String, Service>,
    pub(super) sets: BTreeMap<String, Set>,
    entries: usize,
}

impl Definitions {
    /// Takes a file of a service.
    pub(super) fn service(&mut self, name: &str, text: &str) -> Result<(), Fault> {
        let service = read(text, "service", |root, lines| {
            let mut service = Service::default();
            for node in elements(root) {
                match node.tag_name().name() {
                    // Old files name a protocol so.
                    "port" if node.attribute("port").is_none_or(str::is_empty) => {
                        service.asked.push(Asked::Protocol(lines.required(node, "protocol")?.to_owned()));
                    }
                    "port" => service.asked.push(port(node, lines)?.asked()),
                    "source-port" => service.asked.push(port(node, lines)?.sent()),
                    "protocol" => service.asked.push(Asked::Protocol(lines.required(node, "value")?.to_owned())),
                    "include" => service.includes.push(lines.required(node, "service")?.to_owned()),
                    "helper" | "module" => service.helpers.push(lines.required(node, "name")?.to_owned()),
                    "destination" => {
                        for (version, place) in Version::ALL.into_iter().zip(&mut service.destinations) {
                            let name = if version == Version::V4 { "ipv4" } else { "ipv6" };
                            let Some(text) = node.attribute(name) else { continue };
                            let read = Place::read(text, version);
                            let wrong =
                                || lines.fault(node, format!("`{}` is no {version} address", printable(text)));
                            *place = Some(read.ok_or_else(wrong)?);
                        }
                    }
                    _ => {}
                }
            }
            Ok(service)
        })?;
        self.services.insert(name.to_owned(), service);
        Ok(())
    }

    /// Takes a file of a set.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), Fault> {
        let room = MOST_ENTRIES.saturating_sub(self.entries);
        let (set, count) = read(text, "ipset", |root, lines| {
            let kind = lines.required(root, "type")?;
            let option = |wanted: &str| {
                let mut all = elements(root)
                    .filter(|node| node.has_tag_name("option") && node.attribute("name") == Some(wanted));
                all.next().map(|node| node.attribute("value").unwrap_or_default())
            };
            if !["hash:ip", "hash:net"].contains(&kind) {
                return Ok((Set::Other(format!("it is a {}", printable(kind))), 0));
            }
            if option("timeout").is_some_and(|timeout| timeout != "0") {
                return Ok((Set::Other("its members come and go while firewalld runs".to_owned()), 0));
            }
            let mut options =
                elements(root).filter(|node| node.has_tag_name("option")).filter_map(|node| node.attribute("name"));
            if let Some(other) = options.find(|name| !KNOWN_OPTIONS.contains(name)) {
                return Ok((Set::Other(format!("its option {} is not known here", printable(other))), 0));
            }
            let version = if option("family") == Some("inet6") { Version::V6 } else { Version::V4 };
            let mut spans = Vec::new();
            for node in elements(root).filter(|node| node.has_tag_name("entry")) {
                let text = node.text().unwrap_or_default().trim();
                let Some(span) = Place::of_a_set(text, version) else {
                    return Err(lines.fault(node, format!("`{}` is no {version} address", printable(text))));
                };
                if spans.len() >= room {
                    let why = format!("sets hold more than {MOST_ENTRIES} addresses: put them into a list file");
                    return Err(lines.fault(node, why));
                }
                spans.push(span);
            }
            let count = spans.len();
            Ok((Set::Addresses(version, Spans::from(spans)), count))
        })?;
        self.entries += count;
        self.sets.insert(name.to_owned(), set);
        Ok(())
    }

    /// What a service is answered at, with all that it contains: each with the addresses that it is for. `Err` names the
    /// service that is not defined.
    pub(super) fn parts(&self, name: &str) -> Result<Vec<&Service>, String> {
        let (mut parts, mut seen, mut next) = (Vec::new(), BTreeSet::new(), vec![name]);
        while let Some(name) = next.pop() {
            if !seen.insert(name) {
                continue;
            }
            let service = self.services.get(name).ok_or_else(|| name.to_owned())?;
            parts.push(service);
            next.extend(service.includes.iter().map(String::as_str));
        }
        Ok(parts)
    }
}
