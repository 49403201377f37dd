//! Ports that containers publish, found in the kernel's rules, and who else can reach them.

use super::{Facts, Host};
use crate::explain::owner_of;
use crate::net::{self, address};
use crate::resolve::Containers;
use crate::ruleset::{Chain, Family, Rule, Ruleset, Table, TableId, dnat};
use crate::simulate::{Asked, Packet, Routes, Transport, Verdict, Way, follow};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A remote host per IP version, whose packets come in by the interface of the default route.
const FAR_AWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77))];

/// A port that rules translate to a container's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Published {
    /// The IP protocol number.
    pub protocol: u8,
    /// The port before translation.
    pub port: u16,
    /// The only address that is translated; `None` if all of this machine's are.
    pub on: Option<IpAddr>,
    /// The container's address and port.
    pub to: SocketAddr,
    /// The program that owns the rule, as far as names tell.
    pub owner: Option<&'static str>,
}

/// All ports that other programs' rules translate to an address behind a container bridge.
pub(super) fn published(host: &Host, rules: &Ruleset, routes: &dyn Routes) -> BTreeSet<Published> {
    let default = Containers::default().interfaces;
    let bridges = host.policy.valid().map_or(&default, |policy| &policy.containers.interfaces);
    let tables = rules.tables.iter().filter(|(id, _)| **id != TableId::palisade());
    let rules = tables.flat_map(|(id, table)| {
        let of_chain = |(name, chain): (&String, &Chain)| {
            let owner = owner_of(id, name, Some(table));
            let ports = chain.rules.iter().filter_map(|rule| translated(id, table, rule));
            ports.map(|one| Published { owner, ..one }).collect::<Vec<_>>()
        };
        table.chains.iter().flat_map(of_chain).collect::<Vec<_>>()
    });
    rules
        .filter(|one| match way_to(routes, one.to.ip()) {
            Some(interface) => bridges.iter().any(|bridge| bridge.covers(&interface)),
            None => false,
        })
        .collect()
}

/// The published ports whose container can be reached by its own address. The rules of others leave that open;
/// palisade closes it while it is loaded.
pub(super) fn reached_directly(facts: &Facts<'_>) -> BTreeSet<Published> {
    reached(facts, |one| Some(one.to))
}

/// The ports published on a loopback address that the rules of others let the wire reach.
pub(super) fn reached_on_loopback(facts: &Facts<'_>) -> BTreeSet<Published> {
    reached(facts, |one| Some((one.on.filter(IpAddr::is_loopback)?, one.port).into()))
}

/// Tries packets that should not get through: one per published port, sent to the address that `to` gives.
fn reached(facts: &Facts<'_>, to: impl Fn(&Published) -> Option<SocketAddr>) -> BTreeSet<Published> {
    let Some(way_out) = facts.host.links.iter().find(|link| link.is_way_out).map(|link| link.name.as_str()) else {
        return BTreeSet::new();
    };
    let gets_there = |one: &Published| to(one).is_some_and(|to| gets_through(facts, way_out, one.protocol, to));
    facts.published.iter().filter(|one| gets_there(one)).copied().collect()
}

/// Whether a remote host's packet gets through to a container, by all rules but palisade's.
fn gets_through(facts: &Facts<'_>, way_out: &str, protocol: u8, to: SocketAddr) -> bool {
    let transport = Transport::Ports { protocol, source: None, destination: to.port() };
    let packet = Packet::to_machine(far_away(to.ip()), to.ip(), transport).coming_in_by(way_out);
    let others = facts.rules.tables.iter().filter(|(id, _)| **id != TableId::palisade());
    let journey = follow(others, facts.sets, facts.routes, &packet);
    journey.trace.verdict == Verdict::Allow && matches!(journey.turns.last().map(|turn| &turn.way), Some(Way::Out(_)))
}

fn way_to(routes: &dyn Routes, address: IpAddr) -> Option<String> {
    let source = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    match routes.way(&Asked { source, destination: address, incoming: None, mark: 0 }) {
        Ok(Way::Out(interface)) => Some(interface),
        _ => None,
    }
}

fn far_away(to: IpAddr) -> IpAddr {
    FAR_AWAY[usize::from(to.is_ipv6())]
}

/// The port that a rule translates, if it translates exactly one, to one address and port.
fn translated(id: &TableId, table: &Table, rule: &Rule) -> Option<Published> {
    let dnat = dnat(id.family, &table.sets, rule)?;
    let &[(port, last)] = dnat.ports.as_slice() else { return None };
    let on = match dnat.destination {
        Some(bytes) => Some(loopback_or_address(id.family, bytes)?),
        None => None,
    };
    let protocol = dnat.protocols.first().filter(|_| dnat.protocols.len() == 1)?;
    let to = (dnat.address?, dnat.port.unwrap_or(port)).into();
    (port == last).then_some(Published { protocol: *protocol, port, on, to, owner: None })
}

/// Reads an address. A prefix of 127.0.0.0/8, shorter than an address, counts as 127.0.0.1.
fn loopback_or_address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match bytes {
        [127] | [127, _] | [127, _, _] if family != Family::Ip6 => Some(Ipv4Addr::LOCALHOST.into()),
        bytes => address(bytes),
    }
}

impl std::fmt::Display for Published {
    /// `9200/tcp`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = net::Transport::from_number(self.protocol).map_or("tcp", net::Transport::name);
        write!(f, "{}/{name}", self.port)
    }
}
