//! Ports and protocols as people write them.

use super::ports_elsewhere::written_elsewhere;
use crate::facts::Facts;
use crate::net::{Ports, Transport};
use crate::policy::{Diagnostic, Fault, Text, list, nearest, quote};
use std::collections::BTreeSet;

/// The meaning of an item of `ports`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Ports of TCP, UDP or SCTP.
    Ports(BTreeSet<Ports>),
    /// Another IP protocol.
    Protocol(u8),
    /// Echo requests.
    Ping,
    /// Every port and protocol.
    All,
}

/// All that a list of ports names.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) ports: BTreeSet<Ports>,
    pub(super) protocols: BTreeSet<u8>,
    pub(super) ping: bool,
    pub(super) all: bool,
}

/// Reads a list of ports.
pub(super) fn asked(items: &[Text], facts: &Facts, problems: &mut Vec<Diagnostic>) -> Asked {
    let mut asked = Asked::default();
    for text in items {
        match item(&text.value, facts) {
            Ok(Item::Ports(more)) => asked.ports.extend(more),
            Ok(Item::Protocol(number)) => {
                asked.protocols.insert(number);
            }
            Ok(Item::Ping) => asked.ping = true,
            Ok(Item::All) if items.len() > 1 => problems.push(
                Diagnostic::at(text.span, "`any` is every port and protocol, the others in this list among them")
                    .help("remove the rest, or `any`"),
            ),
            Ok(Item::All) => asked.all = true,
            Err(fault) => problems.push(fault.at(text.span)),
        }
    }
    asked
}

/// Reads one item of `ports`.
pub(crate) fn item(text: &str, facts: &Facts) -> Result<Item, Fault> {
    match text {
        "any" => return Ok(Item::All),
        "ping" => return Ok(Item::Ping),
        _ => {}
    }
    if let Some(fault) = written_elsewhere(text) {
        return Err(fault);
    }
    let Some((ports, protocol)) = text.split_once('/') else {
        return if text.starts_with(|c: char| c.is_ascii_digit()) { Err(bare(text)) } else { service(text, facts) };
    };
    if protocol == "proto" {
        return ip_protocol(text, ports, facts).map(Item::Protocol);
    }
    let Some(transport) = Transport::ALL.into_iter().find(|transport| transport.name() == protocol) else {
        return Err(unknown_transport(text, ports, protocol));
    };
    if ports.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(service_with_protocol(text, ports, transport, facts));
    }
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(text, first)?, number(text, last)?),
        None => (number(text, ports)?, number(text, ports)?),
    };
    let plain = if ports.contains('-') { format!("{first}-{last}") } else { first.to_string() };
    if ports != plain {
        return Err(
            Fault::new(format!("{} has zeros in front", quote(text))).help(format!("write `{plain}/{protocol}`"))
        );
    }
    if first > last {
        return Err(Fault::new(format!("the range {} ends before it begins", quote(text)))
            .help(format!("write the lower port first: `{last}-{first}/{protocol}`")));
    }
    Ok(Item::Ports(BTreeSet::from([Ports { transport, first, last }])))
}

fn number(text: &str, port: &str) -> Result<u16, Fault> {
    if port.is_empty() || !port.chars().all(|c| c.is_ascii_digit()) {
        return Err(Fault::new(format!("{} is not a port", quote(text)))
            .help("write `22/tcp`, `60000-61000/udp`, a service's name such as `ssh`, or `esp/proto`"));
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Fault::new(format!("there is no port {}", quote(port))).help("ports are 1 to 65535")),
    }
}

fn bare(text: &str) -> Fault {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '-');
    if !plain {
        return Fault::new(format!("{} is not a port", quote(text)))
            .help("write a port and its protocol, such as `22/tcp`; a range is `60000-61000/udp`");
    }
    Fault::new(format!("the port {} does not say of which protocol", quote(text)))
        .help(format!("write `{text}/tcp` or `{text}/udp`, or both as two items"))
}

fn unknown_transport(text: &str, ports: &str, protocol: &str) -> Fault {
    let transports = || Transport::ALL.into_iter().map(Transport::name);
    if transports().any(|name| name == ports.to_ascii_lowercase()) && !protocol.is_empty() {
        return Fault::new(format!("{} has the protocol before the port", quote(text)))
            .help(format!("write `{protocol}/{}`", ports.to_ascii_lowercase()));
    }
    let fault = Fault::new(format!("{} is not a protocol with ports", quote(protocol)));
    match nearest(protocol, transports().chain(["proto"])) {
        Some(meant) => fault.help(format!("did you mean `{ports}/{meant}`?")),
        None => {
            fault.help("write `/tcp`, `/udp` or `/sctp` after a port; a whole IP protocol is written `esp/proto`")
        }
    }
}

fn service(name: &str, facts: &Facts) -> Result<Item, Fault> {
    let names = facts.services.as_ref().map_err(|refusal| {
        Fault::new(format!("the service {} can't be looked up: {}", quote(name), refusal.message))
            .help("write the port itself, such as `22/tcp`, or install the package `netbase`")
    })?;
    if let Some(ports) = names.get(name) {
        return Ok(Item::Ports(ports.clone()));
    }
    if matches!(name, "all" | "*") {
        return Err(Fault::new(format!("{} is not a port", quote(name)))
            .help("write `any` for every port and protocol, or `1-65535/tcp` for those of TCP"));
    }
    if matches!(name, "icmp" | "icmpv6" | "ipv6-icmp" | "echo-request") {
        return Err(Fault::new(format!("{} has no ports", quote(name)))
            .help("write `ping` for echo requests; errors about known connections need no rule"));
    }
    if let Some(number) = facts.protocols.as_ref().ok().and_then(|protocols| protocols.get(name)) {
        let fault = Fault::new(format!("{} is an IP protocol", quote(name)));
        let has_ports = Transport::ALL.into_iter().any(|transport| transport.number() == number);
        return Err(fault.help(if has_ports {
            format!("write the ports; `1-65535/{name}` is all of them")
        } else {
            format!("write `{name}/proto`")
        }));
    }
    let fault = Fault::new(format!("{} is no service that this machine knows", quote(name)));
    Err(match nearest(name, names.names()) {
        Some(meant) => {
            fault.help(format!("did you mean `{meant}`? A port may also be written as its number: `22/tcp`"))
        }
        None => {
            fault.help("write the port's number and protocol, such as `22/tcp`; the names are those of /etc/services")
        }
    })
}

fn service_with_protocol(text: &str, name: &str, transport: Transport, facts: &Facts) -> Fault {
    let fault = Fault::new(format!("{} is a service's name with a protocol", quote(text)));
    let ports = facts.services.as_ref().ok().and_then(|names| names.get(name));
    match ports.and_then(|ports| ports.iter().find(|port| port.transport == transport)) {
        Some(port) => fault.help(format!("write `{port}`, or {} for all its protocols", quote(name))),
        None => fault.help(format!("write the port's number, such as `22/{}`", transport.name())),
    }
}

fn ip_protocol(text: &str, name: &str, facts: &Facts) -> Result<u8, Fault> {
    let number = if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
        name.parse::<u8>().map_err(|_| {
            Fault::new(format!("there is no IP protocol {}", quote(name))).help("their numbers are 1 to 255")
        })?
    } else {
        let names = facts.protocols.as_ref().map_err(|refusal| {
            Fault::new(format!("the protocol {} can't be looked up: {}", quote(name), refusal.message))
                .help("write its number: `50/proto` is ESP; or install the package `netbase`")
        })?;
        names.get(name).ok_or_else(|| {
            let fault = Fault::new(format!("{} is no IP protocol that this machine knows", quote(name)));
            match nearest(name, names.names()) {
                Some(meant) => fault.help(format!("did you mean `{meant}/proto`?")),
                None => fault.help("write its number: `50/proto` is ESP; the names are those of /etc/protocols"),
            }
        })?
    };
    if let Some(transport) = Transport::ALL.into_iter().find(|transport| transport.number() == number) {
        let transport = transport.name();
        return Err(Fault::new(format!("{} is a protocol with ports", quote(text)))
            .help(format!("write the ports; `1-65535/{transport}` is all of them")));
    }
    if number == 0 {
        let known = list(["esp", "gre", "ah"]);
        return Err(Fault::new(format!("{} stands for no protocol of its own", quote(text)))
            .help(format!("write the one that is meant, such as {known}, followed by `/proto`")));
    }
    Ok(number)
}
/// What a service or a rule is about, as policies write it: `22/tcp`, `ping`, `50/proto`, `any`.
pub(crate) fn in_words(all: bool, ports: &BTreeSet<Ports>, ping: bool, protocols: &BTreeSet<u8>) -> Vec<String> {
    let any = all.then(|| "any".to_owned());
    let protocols = protocols.iter().map(|number| format!("{number}/proto"));
    any.into_iter()
        .chain(ports.iter().map(ToString::to_string))
        .chain(ping.then(|| "ping".to_owned()))
        .chain(protocols)
        .collect()
}
