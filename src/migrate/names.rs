//! Names for services: of the profile, of well-known ports, or of the ports' numbers.

use super::service::Service;
use super::tuple::Tuple;
use std::collections::BTreeSet;

/// How long a name may be before a number is added.
const LONGEST: usize = 26;
/// Words that mean something else in a policy.
const WORDS: [&str; 4] = ["any", "containers", "private", "host"];
/// Names of ports that people know.
const KNOWN: [(&str, &str); 20] = [
    ("20/tcp", "ftp"),
    ("21/tcp", "ftp"),
    ("22/tcp", "ssh"),
    ("25/tcp", "smtp"),
    ("53/tcp", "dns"),
    ("53/udp", "dns"),
    ("80/tcp", "http"),
    ("123/udp", "ntp"),
    ("139/tcp", "samba"),
    ("143/tcp", "imap"),
    ("443/tcp", "https"),
    ("445/tcp", "samba"),
    ("465/tcp", "smtps"),
    ("587/tcp", "submission"),
    ("993/tcp", "imaps"),
    ("1194/udp", "openvpn"),
    ("3306/tcp", "mysql"),
    ("5432/tcp", "postgresql"),
    ("6379/tcp", "redis"),
    ("51820/udp", "wireguard"),
];

/// The names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// A name that no other service has.
    pub(super) fn name(&mut self, service: &Service, tuple: &Tuple) -> String {
        self.free(&wished(service, tuple))
    }

    /// A name of the ports alone; `otherwise` where these have none.
    pub(super) fn of_ports(&mut self, service: &Service, otherwise: &str) -> String {
        let action = service.action.map(|action| format!("{action}-")).unwrap_or_default();
        let ports = &service.ports;
        let protocol = ports.first().and_then(|port| port.strip_suffix("/proto")).filter(|_| ports.len() == 1);
        let wished = match (ports.as_slice(), protocol) {
            ([one], _) if one == "any" => format!("{action}{otherwise}"),
            ([one], _) if one == "ping" => format!("{action}ping"),
            (_, Some(protocol)) => format!("{action}proto-{protocol}"),
            _ => by_ports(ports, &action),
        };
        self.free(&wished)
    }

    /// The name, or with a number behind it.
    pub(super) fn free(&mut self, wished: &str) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
        let mut name: String = wished.chars().map(allowed).take(LONGEST).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert_str(0, "x-");
        }
        if WORDS.contains(&name.as_str()) {
            name.push_str("-1");
        }
        let plain = name.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{plain}-{number}");
            number += 1;
        }
        name
    }
}

fn wished(service: &Service, tuple: &Tuple) -> String {
    if let Some(profile) = &tuple.profile {
        return profile.clone();
    }
    let is_about_ports = !tuple.ports.is_empty();
    let action = service.action.map(|action| format!("{action}-")).unwrap_or_default();
    if service.ports == ["ping"] {
        return format!("{action}ping");
    }
    if is_about_ports {
        return by_ports(&service.ports, &action);
    }
    if let Some(protocol) = service.ports.first().and_then(|port| port.strip_suffix("/proto"))
        && service.ports.len() == 1
    {
        return format!("{action}proto-{protocol}");
    }
    match (&tuple.incoming, tuple.is_any_source()) {
        (Some(name), _) => format!("{action}all-{}", name.name),
        (None, false) => format!("{action}from-{}", tuple.from.text),
        (None, true) => format!("{action}everything"),
    }
}

fn by_ports(ports: &[String], action: &str) -> String {
    let known = |port: &String| KNOWN.iter().find(|(of, _)| of == port).map(|(_, name)| *name);
    let names: Vec<Option<&str>> = ports.iter().map(known).collect();
    let name = match names.as_slice() {
        [Some("http"), Some("https")] => "web".to_owned(),
        [Some(first), rest @ ..] if rest.iter().all(|name| *name == Some(*first)) || is_one(ports) => {
            (*first).to_owned()
        }
        _ => numbered(ports),
    };
    format!("{action}{name}")
}

/// `port-8080` and `udp-5353` by the first port.
fn numbered(ports: &[String]) -> String {
    match ports.first().and_then(|port| port.split_once('/')) {
        Some((port, "udp")) => format!("udp-{port}"),
        Some((port, _)) => format!("port-{port}"),
        None => "service".to_owned(),
    }
}

/// Whether all are one port, of several protocols.
fn is_one(ports: &[String]) -> bool {
    let mut numbers = ports.iter().map(|port| port.split('/').next());
    let first = numbers.next();
    numbers.all(|number| Some(number) == first)
}
