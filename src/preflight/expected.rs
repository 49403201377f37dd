//! What the policy proves, held against this machine: connections that an expectation is about are followed through the
//! tables of all programs and by the routes. A proof reads the policy's table alone; it knows neither what other
//! programs drop or translate, nor behind which interface an address is.
//!
//! Not every connection is tried that an expectation is about: for each port, the ends of the ranges of addresses. A
//! remark is made only if a connection is certainly not as expected.

use super::{Preflight, Remark, Topic, Weight};
use crate::explain::Explanation;
use crate::lockout::Beside;
use crate::net::{AddressRange, Transport as Named};
use crate::resolve::{Elsewhere, Expectation};
use crate::ruleset::AddressType;
use crate::simulate::{Connection, EPHEMERAL, Packet, Path, Transport, Verdict, follow_connection, is_link_local};
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
    /// One error for each expectation that a connection on this machine refutes.
    pub(super) fn expected(&self) -> Vec<Remark> {
        let Some(beside) = self.beside else { return Vec::new() };
        self.policy.expectations.iter().filter_map(|expectation| self.refuted(beside, expectation)).collect()
    }

    fn refuted(&self, beside: &Beside<'_>, expectation: &Expectation) -> Option<Remark> {
        let targets = targets(expectation);
        let ways: Vec<Vec<Packet>> = match &expectation.elsewhere {
            Some(elsewhere) => self.elsewhere(beside, expectation, elsewhere),
            None => self.to_this_machine(beside, expectation),
        };
        targets.into_iter().find_map(|target| {
            ways.iter().find_map(|way| {
                let tried = way.iter().map(|packet| {
                    let packet = to_target(packet, target);
                    let tables = beside.tables.iter().copied();
                    let connection = follow_connection(tables, beside.sets, beside.routes, &packet);
                    Tried { connection, packet }
                });
                self.remark(beside, expectation, tried.collect())
            })
        })
    }

    /// The remark, if none of the connections is as expected, or one is that must not be.
    fn remark(&self, beside: &Beside<'_>, expectation: &Expectation, tried: Vec<Tried<'_>>) -> Option<Remark> {
        let outcomes = |tried: &Tried<'_>| tried.connection.outcomes();
        let lasts = |tried: &Tried<'_>| tried.connection.fades().is_none();
        let wrong = if expectation.allow {
            let none = tried.iter().all(|tried| outcomes(tried).never_pass());
            tried.into_iter().next().filter(|_| none)?
        } else {
            tried.into_iter().find(|tried| tried.connection.verdict() == Verdict::Allow && lasts(tried))?
        };
        let Tried { connection, packet } = wrong;
        let by = match &packet.incoming {
            crate::simulate::Interface::Named(name) => format!(" by {name}"),
            _ => String::new(),
        };
        let (source, to, target) = (packet.source, packet.destination, words(&packet));
        let explanation = Explanation {
            tables: beside.tables.clone(),
            connection: String::new(),
            packets: connection,
            beyond: None,
        };
        let message = if expectation.allow {
            format!(
                "{target} of {to} is expected to be open from {source}{by}, and on this machine it is not: {}",
                explanation.reason()
            )
        } else {
            format!("{target} of {to} is expected to be shut for {source}{by}, and on this machine it is open")
        };
        let from = if packet.path == Path::FromMachine { "host".to_owned() } else { source.to_string() };
        let help = format!(
            "`palisade explain {target} --from {from} --to {to} --planned` follows it step by step; correct the policy or \
             the expectation, or what stands against it here"
        );
        Some(Remark::new(Topic::Expected, Weight::Error, Some(expectation.span.line), message, help))
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
