//! Ports that rules translate to another address, and whether expectations about them hold on this machine.

use super::expected::ANYBODY;
use super::{Preflight, Remark, Topic, Weight, containers_line, is_named};
use crate::explain::owner_of;
use crate::lockout::Beside;
use crate::net::{self, AddressRange, IfPattern, Version, address};
use crate::resolve::Expectation;
use crate::ruleset::provenance::without_prefix;
use crate::ruleset::{Chain, Family, Rule, Table, TableId, dnat};
use crate::simulate::{Packet, Stage, Transport, Traversal, follow_connection};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A port that rules translate to another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The IP protocol number.
    pub protocol: u8,
    /// The port before translation.
    pub port: u16,
    /// The only address that is translated; `None` if all of this machine's are.
    pub on: Option<IpAddr>,
    /// The address and port that it leads to.
    pub to: SocketAddr,
    /// The program that owns the rule, as far as names tell.
    pub owner: Option<&'static str>,
}

/// All ports that other programs' rules translate, one by one.
pub fn published<'t>(tables: impl IntoIterator<Item = (&'t TableId, &'t Table)>) -> BTreeSet<Published> {
    let tables = tables.into_iter().filter(|(id, _)| **id != TableId::palisade());
    let of_chain = |id: &TableId, table: &Table, (name, chain): (&String, &Chain)| -> Vec<Published> {
        let owner = owner_of(id, name, Some(table));
        let ports = chain.rules.iter().filter_map(|rule| translated(id, table, rule));
        ports.map(|one| Published { owner, ..one }).collect()
    };
    tables.flat_map(|(id, table)| table.chains.iter().flat_map(move |chain| of_chain(id, table, chain))).collect()
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

impl Preflight<'_> {
    /// One error for each published port that is expected to be open, and that this machine does not let through to
    /// where it leads. The policy alone knows neither the translation nor the routes.
    pub(super) fn published(&self) -> Vec<Remark> {
        let Some(beside) = self.beside else { return Vec::new() };
        let published = published(beside.tables.iter().copied());
        let mut remarks = Vec::new();
        for expectation in self.policy.expectations.iter().filter(|expectation| expectation.allow) {
            for port in published.iter().filter(|port| is_expected(expectation, port)) {
                remarks.extend(self.is_shut(beside, expectation, port));
            }
        }
        remarks
    }

    fn is_shut(&self, beside: &Beside<'_>, expectation: &Expectation, port: &Published) -> Option<Remark> {
        let way_out = self.way_out()?;
        let by = match expectation.on.first() {
            Some(on) => self.links().iter().find(|link| on.covers(&link.name))?,
            None => way_out,
        };
        let version = Version::of(port.to.ip());
        let source = somebody(expectation, version)?;
        let of_link = || by.addresses.iter().map(|(address, _)| *address).find(|own| Version::of(*own) == version);
        let to = port.on.filter(|on| !on.is_loopback()).or_else(of_link)?;
        let transport = Transport::Ports { protocol: port.protocol, source: None, destination: port.port };
        let packet = Packet::to_machine(source, to, transport).coming_in_by(by.name.as_str());
        let connection = follow_connection(beside.tables.iter().copied(), beside.sets, beside.routes, &packet);
        let (stage, decisive) = connection.decisive();
        let denied = denied(decisive)?;
        let what = match stage {
            Stage::First => "what is sent to it",
            Stage::Answer => "its answer",
            Stage::Third => "what follows its answer",
            Stage::Sent => "the data that is sent to it then",
            Stage::Returned => "the data that comes back",
        };
        let by = beside.routes.leads(port.to.ip()).ok().flatten();
        let behind = by.as_ref().map(|name| format!(" behind {name}")).unwrap_or_default();
        let message = format!(
            "{port} is expected to be open from {source}, and on this machine it leads to {}{behind}, where {what} is stopped: \
             {denied}",
            port.to
        );
        let line = by.filter(|name| !is_named(self.policy, name)).and_then(|name| {
            let by_name = IfPattern { name, wildcard: false };
            containers_line(&self.policy.containers.interfaces.iter().cloned().chain([by_name]).collect())
        });
        let line = line.map(|line| format!("; if containers are behind that interface, write `{line}`"));
        let help =
            format!("`palisade explain {port} --from {source}` follows it step by step{}", line.unwrap_or_default());
        Some(Remark::new(Topic::Published, Weight::Error, Some(expectation.span.into()), message, help))
    }
}

/// Why palisade denies a packet; `None` if it does not, or if that is not certain.
fn denied(traversal: &Traversal<'_>) -> Option<String> {
    let step = traversal.trace.denied_by().filter(|step| *step.table == TableId::palisade())?;
    let said = step.comment().map_or_else(|| step.text(), |comment| without_prefix(comment).to_owned());
    traversal.trace.outcomes.never_pass().then_some(said)
}

fn is_expected(expectation: &Expectation, port: &Published) -> bool {
    expectation
        .ports
        .iter()
        .any(|ports| ports.transport.number() == port.protocol && (ports.first..=ports.last).contains(&port.port))
}

/// A source that the expectation is about; `None` if it is about interfaces, or about the other IP version.
fn somebody(expectation: &Expectation, version: Version) -> Option<IpAddr> {
    if expectation.any {
        return ANYBODY.into_iter().find(|address| Version::of(*address) == version);
    }
    expectation.addresses.ranges().find_map(|range| match (range, version) {
        (AddressRange::V4(first, _), Version::V4) => Some(first.into()),
        (AddressRange::V6(first, _), Version::V6) => Some(first.into()),
        _ => None,
    })
}
