//! Calls of pods to the addresses of services in a Kubernetes cluster, which its proxy translates.

use super::Facts;
use super::published::way_to;
use crate::explain::owner_of;
use crate::net::{Transport as Named, address, number};
use crate::resolve::Resolved;
use crate::ruleset::{Set, Table, TableId, dnat, matched};
use crate::simulate::{Answer, AsListed, Packet, Sets, Transport, Verdict, follow};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The chain of kube-proxy that names each address and port of a service.
const SERVICES: &str = "KUBE-SERVICES";

/// A call to a port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    protocol: u8,
    to: IpAddr,
    port: u16,
}

/// Whether `after` lets pods call each service of the cluster, if the policy counts their interfaces as containers'.
///
/// # Errors
/// The first call that does not get through, or why it can't be told.
pub(super) fn calls_are_answered(
    facts: &Facts<'_>,
    before: &Table,
    after: &Table,
    changed: &Resolved,
) -> Result<(), String> {
    if before == after || !is_here(facts) {
        return Ok(());
    }
    let calls = calls(facts);
    if calls.is_empty() {
        return Err("its rules do not show which".to_owned());
    }
    let pods: Vec<(IpAddr, String)> =
        pods(facts).into_iter().filter(|(_, interface)| changed.containers.covers(interface)).collect();
    for call in &calls {
        for (pod, interface) in pods.iter().filter(|(pod, _)| pod.is_ipv4() == call.to.is_ipv4()) {
            if follow_call(facts, after, *call, *pod, interface) != Verdict::Allow {
                return Err(format!("from {interface} to {call}"));
            }
        }
    }
    if pods.is_empty() { Err("its rules do not show where its pods are".to_owned()) } else { Ok(()) }
}

/// The ports of this machine that services of the cluster are answered at, such as that of its API.
pub(super) fn own_ports(facts: &Facts<'_>) -> BTreeSet<(u8, u16)> {
    let targets = targets(facts).into_iter();
    targets.filter(|call| way_to(facts.routes, call.to).is_none()).map(|call| (call.protocol, call.port)).collect()
}

/// Whether rules of Kubernetes are loaded.
pub(super) fn is_here(facts: &Facts<'_>) -> bool {
    facts.rules.tables.iter().any(|(id, table)| {
        id.name == "kube-proxy" || table.chains.keys().any(|chain| owner_of(id, chain, None) == Some("Kubernetes"))
    })
}

fn follow_call(facts: &Facts<'_>, table: &Table, call: Call, pod: IpAddr, interface: &str) -> Verdict {
    let transport = Transport::Ports { protocol: call.protocol, source: None, destination: call.port };
    let packet = Packet::to_machine(pod, call.to, transport).coming_in_by(interface);
    let id = TableId::palisade();
    let sets = WithTable { live: facts.sets };
    let tables: Vec<(&TableId, &Table)> = with_table(facts, &id, table).collect();
    follow(tables, &sets, facts.routes, &packet).trace.verdict
}

/// Each address and port of a service.
fn calls(facts: &Facts<'_>) -> BTreeSet<Call> {
    let mut calls = BTreeSet::new();
    for (id, table) in &facts.rules.tables {
        let rules = table.chains.get(SERVICES).map_or(&[][..], |chain| &chain.rules);
        for read in rules.iter().map(|rule| matched(id.family, &table.sets, rule)) {
            let Some(to) = read.destination.and_then(address) else { continue };
            for (port, _) in read.ports.iter().filter(|(first, last)| first == last) {
                calls.extend(read.protocols.iter().map(|protocol| Call { protocol: *protocol, to, port: *port }));
            }
        }
    }
    calls
}

/// Where calls are translated to.
fn targets(facts: &Facts<'_>) -> BTreeSet<Call> {
    let mut targets = BTreeSet::new();
    for (id, table) in &facts.rules.tables {
        for (name, chain) in &table.chains {
            if owner_of(id, name, None) != Some("Kubernetes") {
                continue;
            }
            for read in chain.rules.iter().filter_map(|rule| dnat(id.family, &table.sets, rule)) {
                let to = read.address.zip(read.port);
                targets.extend(to.into_iter().flat_map(|(to, port)| {
                    read.protocols.iter().map(move |protocol| Call { protocol: *protocol, to, port })
                }));
            }
        }
    }
    targets
}

/// Addresses beside those of pods that services lead to, and the interfaces that they are behind.
fn pods(facts: &Facts<'_>) -> BTreeSet<(IpAddr, String)> {
    let mut pods = BTreeSet::new();
    for Call { to, .. } in targets(facts) {
        let Some(interface) = way_to(facts.routes, to) else { continue };
        let beside = crate::net::Version::of(to).address(number(to) ^ 2);
        pods.extend(
            beside
                .filter(|pod| way_to(facts.routes, *pod).as_deref() == Some(&interface))
                .map(|pod| (pod, interface)),
        );
    }
    pods
}

impl std::fmt::Display for Call {
    /// `10.43.0.10:53/udp`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Named::from_number(self.protocol).map_or("tcp", Named::name);
        write!(f, "{}/{name}", std::net::SocketAddr::new(self.to, self.port))
    }
}

/// The sets of a machine whose palisade table is another one, which was not loaded.
struct WithTable<'s> {
    /// The sets of the other tables.
    live: &'s dyn Sets,
}

impl Sets for WithTable<'_> {
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        if *table == TableId::palisade() {
            return AsListed.find(table, name, set, key);
        }
        self.live.find(table, name, set, key)
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool {
        if *table == TableId::palisade() {
            return AsListed.is_empty(table, name, set);
        }
        self.live.is_empty(table, name, set)
    }
}

/// All tables, with another one in the place of palisade's.
fn with_table<'t>(
    facts: &Facts<'t>,
    id: &'t TableId,
    table: &'t Table,
) -> impl Iterator<Item = (&'t TableId, &'t Table)> + use<'t> {
    let others = facts.rules.tables.iter().filter(|(id, _)| **id != TableId::palisade());
    others.chain([(id, table)])
}
