//! Port forwards: the target of a service, and services that meet.

use super::ports::Asked;
use super::{Action, ForwardTo, Service};
use crate::net::{Addresses, IfPattern, Version};
use crate::policy::{self, Diagnostic, Fault, Given, quote};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Reads `forward_to`.
pub(super) fn read(
    service: &policy::Service,
    asked: &Asked,
    action: Action,
    problems: &mut Vec<Diagnostic>,
) -> Option<ForwardTo> {
    let Given::Here(list) = &service.forward_to else { return None };
    if list.empty {
        problems.push(
            Diagnostic::at(list.span, "the list `forward_to` is empty").help("leave it out, or write a target"),
        );
    }
    if action != Action::Allow {
        let message = "a service that denies forwards nothing";
        problems.push(Diagnostic::at(list.span, message).help("remove `forward_to`, or `action`"));
    }
    if asked.all || asked.ping || !asked.protocols.is_empty() {
        let message = "only ports of TCP, UDP and SCTP are forwarded";
        problems.push(Diagnostic::at(list.span, message).help("write the ports of this service, such as `443/tcp`"));
    }
    let one_port = asked.ports.iter().map(|ports| (ports.first, ports.last)).collect::<BTreeSet<_>>();
    let one_port = one_port.len() == 1 && one_port.first().is_some_and(|(first, last)| first == last);
    let mut target = ForwardTo::default();
    for item in &list.items {
        let (address, port) = match one(&item.value) {
            Ok(found) => found,
            Err(fault) => {
                problems.push(fault.at(item.span));
                continue;
            }
        };
        if port.is_some() && !one_port {
            let message = format!("{} has one port, and the service has several", quote(&item.value));
            let help = "leave the port out: each stays as it is; or make a service of each port";
            problems.push(Diagnostic::at(item.span, message).help(help));
        }
        let twice = match address {
            IpAddr::V4(address) => {
                target.port_v4 = port;
                target.v4.replace(address).is_some()
            }
            IpAddr::V6(address) => {
                target.port_v6 = port;
                target.v6.replace(address).is_some()
            }
        };
        if twice {
            let message = "a service is forwarded to one IPv4 and one IPv6 address at most";
            problems.push(Diagnostic::at(item.span, message).help("remove one of the two"));
        }
    }
    (target != ForwardTo::default()).then_some(target)
}

/// Reads `ADDRESS` or `ADDRESS:PORT`.
fn one(text: &str) -> Result<(IpAddr, Option<u16>), Fault> {
    let (address, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => (address, None),
        (_, Ok(both)) => (both.ip(), Some(both.port())),
        _ => return Err(no_target(text)),
    };
    let fault = |why: &str| Fault::new(format!("{} can't be a target: {why}", quote(text)));
    if port == Some(0) {
        return Err(fault("there is no port 0").help("ports are 1 to 65535"));
    }
    if let Some(port) = port
        && text.rsplit(':').next() != Some(port.to_string().as_str())
    {
        return Err(fault("its port has zeros in front").help(format!("write `{}`", SocketAddr::new(address, port))));
    }
    if address.is_loopback() {
        return Err(fault("it is this machine's own loopback")
            .help("a service that this machine answers has no `forward_to`"));
    }
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_unspecified() || address.is_multicast() || link_local {
        return Err(fault("it is no address of a machine").help("write the address of the machine that answers"));
    }
    if let IpAddr::V6(v6) = address
        && Ipv6Addr::to_ipv4_mapped(&v6).is_some()
    {
        return Err(fault("it is an IPv4 address in the form of IPv6").help("write it as IPv4"));
    }
    Ok((address, port))
}

fn no_target(text: &str) -> Fault {
    let fault = |why: &str| Fault::new(format!("{} can't be a target: {why}", quote(text)));
    let help = "write one address, such as `192.168.10.5`, `192.168.10.5:8443` or `\"[fd00::5]:8443\"`";
    if text.contains('/') {
        return fault("it is a network").help(help);
    }
    if text.rsplit_once(':').is_some_and(|(_, port)| port.contains('-')) {
        return fault("it has a range of ports").help("leave the ports out: each stays as it is");
    }
    if text.contains('-') && !text.contains(|c: char| c.is_ascii_alphabetic()) {
        return fault("it is a range").help(help);
    }
    if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
        return fault("names are not looked up").help(help);
    }
    fault("it is neither an address nor an address with a port").help(help)
}

/// Reports pairs of services with common ports, addresses and interfaces if only one of them is forwarded, or if they
/// are forwarded to different targets. Also reports targets that are this machine's own addresses by the policy.
pub(super) fn check(typed: &[policy::Service], services: &BTreeMap<String, Service>, problems: &mut Vec<Diagnostic>) {
    if services.values().all(|service| service.forward_to.is_none()) {
        return;
    }
    let resolved = |one: &policy::Service| services.get(&one.name.value);
    let own: Vec<&Addresses> = services.values().map(|service| &service.to).collect();
    for (at, one) in typed.iter().enumerate() {
        let Some(service) = resolved(one).filter(|service| service.forward_to.is_some()) else { continue };
        for version in Version::ALL {
            let target = service.forward_to.and_then(|target| target.over(version));
            if let (Some((address, _)), Given::Here(list)) = (target, &one.forward_to)
                && own.iter().any(|own| own.contains(address))
            {
                let message = format!("`{address}` is an address of this machine: a service holds for it (`to`)");
                let help = "a service that this machine answers has no `forward_to`";
                problems.push(Diagnostic::at(list.span, message).help(help));
            }
        }
        for (before, other) in typed.iter().enumerate().filter(|(before, _)| *before != at) {
            let Some(second) = resolved(other) else { continue };
            // Of two forwarded services the pair is reported once.
            if second.forward_to.is_some() && before > at || second.forward_to == service.forward_to {
                continue;
            }
            if let Some(ports) = meet(service, second) {
                let (here, there) = (one.name.span, other.name.span);
                let does = if second.forward_to.is_some() { "forwarded elsewhere" } else { "answered here" };
                let message = format!("{ports} is forwarded (line {}) and {does} (line {})", here.line, there.line);
                problems.push(
                    Diagnostic::at(here, message)
                        .note(there, format!("{does} by this service"))
                        .help("give one of them another port, `to` or `on`"),
                );
            }
        }
    }
}

/// Whether [`check`] would report a pair of these services.
pub(crate) fn forwards_contradict(services: &BTreeMap<String, Service>) -> bool {
    services.values().filter(|service| service.forward_to.is_some()).any(|service| {
        services.values().any(|other| other.forward_to != service.forward_to && meet(service, other).is_some())
    })
}

/// The ports of a connection that both services are about, if there is one.
fn meet(one: &Service, other: &Service) -> Option<crate::net::Ports> {
    let alike = one.action == Action::Allow && other.action == Action::Allow;
    let interfaces = |a: &BTreeSet<IfPattern>, b: &BTreeSet<IfPattern>| {
        a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| a.meets(b)))
    };
    if !alike || !interfaces(&one.on, &other.on) || !addresses_meet(&one.to, &other.to) {
        return None;
    }
    let pairs = one.ports.iter().flat_map(|a| other.ports.iter().map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a.transport == b.transport && a.first <= b.last && b.first <= a.last)
        .map(|(a, b)| crate::net::Ports { first: a.first.max(b.first), last: a.last.min(b.last), ..*a })
        .min()
}

/// Whether two lists of this machine's addresses have one in common. An empty list means all.
fn addresses_meet(one: &Addresses, other: &Addresses) -> bool {
    one.is_empty() || other.is_empty() || one.meets(other)
}
