//! What the policy proves, held against this machine: connections that an expectation is about are followed through the
//! tables of all programs and by the routes. A proof reads the policy's table alone; it knows neither what other
//! programs drop or translate, nor behind which interface an address is.
//!
//! Not every connection is tried that an expectation is about: for each port, the ends of the ranges of addresses. A
//! connection that is certainly not as expected is an error, and one of which that is not known a warning.

use super::{Preflight, Remark, Topic, Weight};
use crate::explain::Explanation;
use crate::lockout::Beside;
use crate::net::{AddressRange, Transport as Named};
use crate::resolve::{Elsewhere, Expectation};
use crate::ruleset::AddressType;
use crate::simulate::{
    Connection, EPHEMERAL, Interface, Packet, Path, Transport, Verdict, follow_connection, is_link_local,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Somebody outside, per IP version.
pub(super) const ANYBODY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77))];
/// How many addresses, and how many ports, are tried for one expectation.
const MOST: usize = 8;

/// What is tried, and at which address of those that will do.
struct Tried<'a> {
    connection: Connection<'a>,
    packet: Packet,
}

impl Preflight<'_> {
    /// One error for each expectation that a connection on this machine refutes, and one warning for each that none
    /// refutes for certain, and not all confirm.
    pub(super) fn expected(&self) -> Vec<Remark> {
        let Some(beside) = self.beside else { return Vec::new() };
        self.policy.expectations.iter().filter_map(|expectation| self.unconfirmed(beside, expectation)).collect()
    }

    fn unconfirmed(&self, beside: &Beside<'_>, expectation: &Expectation) -> Option<Remark> {
        let targets = targets(expectation);
        let ways: Vec<Vec<Packet>> = match &expectation.elsewhere {
            Some(elsewhere) => self.elsewhere(beside, expectation, elsewhere),
            None => self.to_this_machine(beside, expectation),
        };
        let mut unknown = None;
        for target in targets {
            for way in &ways {
                let tried = way.iter().map(|packet| {
                    let packet = to_target(packet, target);
                    let tables = beside.tables.iter().copied();
                    let connection = follow_connection(tables, beside.sets, beside.routes, &packet);
                    Tried { connection, packet }
                });
                let tried: Vec<Tried<'_>> = tried.collect();
                if let Some(wrong) = refutes(expectation, &tried) {
                    return Some(remark(beside, expectation, wrong));
                }
                unknown = unknown.or_else(|| doubtful(expectation, &tried));
            }
        }
        unknown
    }

    /// For each source, a packet to each address of this machine: it is enough if one of them is open.
    fn to_this_machine(&self, beside: &Beside<'_>, expectation: &Expectation) -> Vec<Vec<Packet>> {
        let way = |(source, by): (IpAddr, String)| {
            let near = is_link_local(source);
            let fits = |own: &IpAddr| own.is_ipv4() == source.is_ipv4() && is_link_local(*own) == near;
            let (here, others): (Vec<_>, Vec<_>) =
                self.links().iter().filter(|link| link.name != "lo").partition(|link| link.name == by);
            let others = others.into_iter().filter(|_| !near);
            let own = here.into_iter().chain(others).flat_map(|link| &link.addresses).map(|(address, _)| *address);
            own.filter(fits).map(|own| packet(source, own).coming_in_by(by.clone())).collect()
        };
        self.sources(beside, expectation).into_iter().map(way).filter(|way: &Vec<Packet>| !way.is_empty()).collect()
    }

    /// The packets from each sender to each destination.
    fn elsewhere(&self, beside: &Beside<'_>, expectation: &Expectation, to: &Elsewhere) -> Vec<Vec<Packet>> {
        let mut destinations = ends(to.addresses.ranges());
        if to.any {
            destinations.extend(ANYBODY);
        }
        let is_own = |address: IpAddr| beside.routes.address_type(address) != Ok(AddressType::Unicast);
        destinations.retain(|destination| !is_own(*destination));
        let mut ways = Vec::new();
        for destination in destinations {
            let same = |source: IpAddr| source.is_ipv4() == destination.is_ipv4() && source != destination;
            let sources = self.sources(beside, expectation).into_iter().filter(|(source, _)| same(*source));
            ways.extend(sources.map(|(source, by)| vec![packet(source, destination).coming_in_by(by)]));
            let own = || beside.routes.source_towards(destination);
            let users = to.users.iter().map(|user| Some(*user)).chain(to.host.then_some(None));
            for user in users {
                let sent = own()
                    .map(|source| Packet { user, ..Packet::from_machine(source, destination, Transport::Other(0)) });
                ways.extend(sent.map(|packet| vec![packet]));
            }
        }
        ways
    }

    /// Sources that are meant, each with the interface that it comes in by.
    fn sources(&self, beside: &Beside<'_>, expectation: &Expectation) -> Vec<(IpAddr, String)> {
        let mut sources = ends(expectation.addresses.ranges());
        if expectation.any {
            sources.extend(ANYBODY);
        }
        let by = |source: IpAddr| {
            let by = beside.routes.leads(source).ok().flatten()?;
            if expectation.on.is_empty() {
                // Addresses mean no containers.
                let containers = self.policy.containers.interfaces.iter().any(|pattern| pattern.covers(&by));
                return Some(by).filter(|_| !containers || expectation.any);
            }
            let on = |name: &str| expectation.on.iter().any(|pattern| pattern.covers(name));
            if on(&by) {
                return Some(by);
            }
            self.links().iter().find(|link| link.master.is_none() && on(&link.name)).map(|link| link.name.clone())
        };
        let is_other = |source: &IpAddr| beside.routes.address_type(*source) == Ok(AddressType::Unicast);
        sources.into_iter().filter(is_other).filter_map(|source| Some((source, by(source)?))).collect()
    }
}

impl Tried<'_> {
    /// Whether it gets through for certain, and lasts.
    fn passes(&self) -> bool {
        self.connection.verdict() == Verdict::Allow && self.connection.fades().is_none()
    }
}

/// The connection that shows that an expectation does not hold: the first one if none gets through, or one that must not.
fn refutes<'t, 'a>(expectation: &Expectation, tried: &'t [Tried<'a>]) -> Option<&'t Tried<'a>> {
    if expectation.allow {
        let none = tried.iter().all(|tried| tried.connection.outcomes().never_pass());
        return tried.first().filter(|_| none);
    }
    tried.iter().find(|tried| tried.passes())
}

/// The warning that it can't be told whether an expectation holds: none of the connections surely gets through, or of one
/// that must not it is not known.
fn doubtful(expectation: &Expectation, tried: &[Tried<'_>]) -> Option<Remark> {
    if expectation.allow && tried.iter().any(Tried::passes) {
        return None;
    }
    let why = |tried: &Tried<'_>| match tried.connection.verdict() {
        Verdict::Allow => tried.connection.fades().map(ToString::to_string),
        Verdict::Unknown => tried.connection.doubt().map(ToString::to_string),
        Verdict::Deny | Verdict::Reject => None,
    };
    let (Tried { packet, .. }, why) = tried.iter().find_map(|tried| Some((tried, why(tried)?)))?;
    let (open, asked) = (if expectation.allow { "open" } else { "shut" }, Asked::of(packet));
    let message = format!(
        "{asked} is expected to be {open} {} {}, and whether it is on this machine can't be told: {why}",
        if expectation.allow { "from" } else { "for" },
        asked.from,
    );
    let help = format!("`{}` follows it step by step", asked.command());
    Some(Remark::new(Topic::Expected, Weight::Warning, Some(expectation.span.into()), message, help))
}

/// The error that an expectation does not hold.
fn remark(beside: &Beside<'_>, expectation: &Expectation, Tried { connection, packet }: &Tried<'_>) -> Remark {
    let asked = Asked::of(packet);
    let explanation = Explanation {
        tables: beside.tables.clone(),
        connection: String::new(),
        packets: connection.clone(),
        beyond: None,
    };
    let message = if expectation.allow {
        format!(
            "{asked} is expected to be open from {}, and on this machine it is not: {}",
            asked.from,
            explanation.reason()
        )
    } else {
        format!("{asked} is expected to be shut for {}, and on this machine it is open", asked.from)
    };
    let help = format!(
        "`{}` follows it step by step; correct the policy or the expectation, or what stands against it here",
        asked.command()
    );
    Remark::new(Topic::Expected, Weight::Error, Some(expectation.span.into()), message, help)
}

/// What a packet asks for, in words.
struct Asked<'p> {
    packet: &'p Packet,
    target: String,
    /// `203.0.113.9 by eth0`
    from: String,
}

impl<'p> Asked<'p> {
    fn of(packet: &'p Packet) -> Self {
        let by = match &packet.incoming {
            Interface::Named(name) => format!(" by {name}"),
            _ => String::new(),
        };
        Self { packet, target: words(packet), from: format!("{}{by}", packet.source) }
    }

    fn command(&self) -> String {
        let Packet { source, destination, path, .. } = self.packet;
        let from = if *path == Path::FromMachine { "host".to_owned() } else { source.to_string() };
        format!("palisade explain {} --from {from} --to {destination} --planned", self.target)
    }
}

impl std::fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.target, self.packet.destination)
    }
}

/// The first and the last address of ranges.
fn ends(ranges: impl Iterator<Item = AddressRange>) -> Vec<IpAddr> {
    let ends = ranges.flat_map(|range| -> [IpAddr; 2] {
        match range {
            AddressRange::V4(first, last) => [first.into(), last.into()],
            AddressRange::V6(first, last) => [first.into(), last.into()],
        }
    });
    let ends: BTreeSet<IpAddr> = ends.take(2 * MOST).collect();
    ends.into_iter().take(MOST).collect()
}

/// What an expectation is about: protocols and ports, and `None` for an echo request.
fn targets(expectation: &Expectation) -> Vec<Option<(u8, u16)>> {
    let ports = expectation.ports.iter().map(|ports| Some((ports.transport.number(), ports.first)));
    ports.take(MOST).chain(expectation.ping.then_some(None)).collect()
}

fn packet(source: IpAddr, destination: IpAddr) -> Packet {
    Packet::to_machine(source, destination, Transport::Other(0))
}

fn to_target(packet: &Packet, target: Option<(u8, u16)>) -> Packet {
    let transport = match target {
        Some((protocol, port)) => Transport::Ports { protocol, source: Some(EPHEMERAL), destination: port },
        None => Transport::echo_request(packet.destination),
    };
    let of_first = crate::simulate::State::of_first(packet.source, transport);
    Packet { transport, state: of_first, ..packet.clone() }
}

/// `22/tcp`, or `ping`
fn words(packet: &Packet) -> String {
    match packet.transport {
        Transport::Ports { protocol: number, destination, .. } => {
            let name = Named::from_number(number).map_or("tcp", Named::name);
            format!("{destination}/{name}")
        }
        _ => "ping".to_owned(),
    }
}
