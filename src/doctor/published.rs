//! Ports that containers publish, found in the kernel's rules, and who else can reach them.

use super::{Facts, Host};
use crate::preflight::{self, Published};
use crate::resolve::Containers;
use crate::ruleset::{Ruleset, TableId};
use crate::simulate::{Asked, Packet, Routes, Transport, Verdict, Way, follow};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A remote host per IP version, whose packets come in by the interface of the default route.
const FAR_AWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77))];

/// All ports that other programs' rules translate to an address behind a container bridge.
pub(super) fn published(host: &Host, rules: &Ruleset, routes: &dyn Routes) -> BTreeSet<Published> {
    let default = Containers::default().interfaces;
    let bridges = host.policy.valid().map_or(&default, |policy| &policy.containers.interfaces);
    preflight::published(&rules.tables)
        .into_iter()
        .filter(|one| match way_to(routes, one.to.ip()) {
            Some(interface) => bridges.iter().any(|bridge| bridge.covers(&interface)),
            None => false,
        })
        .collect()
}

/// Which tables a packet is followed through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// All but palisade's.
    Others,
    /// All.
    All,
}

/// The published ports whose container can be reached by its own address. The rules of others leave that open;
/// palisade closes it while it is loaded.
pub(super) fn reached_directly(facts: &Facts<'_>, by: By) -> BTreeSet<Published> {
    reached(facts, by, |one| Some(one.to))
}

/// The ports published on a loopback address that the rules of others let the wire reach.
pub(super) fn reached_on_loopback(facts: &Facts<'_>, by: By) -> BTreeSet<Published> {
    reached(facts, by, |one| Some((one.on.filter(IpAddr::is_loopback)?, one.port).into()))
}

/// Tries packets that should not get through: one per published port, sent to the address that `to` gives.
fn reached(facts: &Facts<'_>, by: By, to: impl Fn(&Published) -> Option<SocketAddr>) -> BTreeSet<Published> {
    let Some(way_out) = facts.host.links.iter().find(|link| link.is_way_out).map(|link| link.name.as_str()) else {
        return BTreeSet::new();
    };
    let gets_there = |one: &Published| to(one).is_some_and(|to| gets_through(facts, by, way_out, one.protocol, to));
    facts.published.iter().filter(|one| gets_there(one)).copied().collect()
}

/// Whether a remote host's packet gets through to a container; if all tables count, also if it may.
fn gets_through(facts: &Facts<'_>, by: By, way_out: &str, protocol: u8, to: SocketAddr) -> bool {
    let transport = Transport::Ports { protocol, source: None, destination: to.port() };
    let packet = Packet::to_machine(far_away(to.ip()), to.ip(), transport).coming_in_by(way_out);
    let tables = facts.rules.tables.iter().filter(|(id, _)| by == By::All || **id != TableId::palisade());
    let traversal = follow(tables, facts.sets, facts.routes, &packet);
    if by == By::All {
        return !traversal.trace.outcomes.never_pass();
    }
    traversal.trace.verdict == Verdict::Allow
        && matches!(traversal.routed.last().map(|decision| &decision.way), Some(Way::Out(_)))
}

/// The interface that packets to an address leave by; `None` if it is this machine's own or there is no way.
pub(super) fn way_to(routes: &dyn Routes, address: IpAddr) -> Option<String> {
    let source = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    match routes.way(&Asked { source, destination: address, incoming: None, mark: 0 }) {
        Ok(Way::Out(interface)) => Some(interface),
        _ => None,
    }
}

fn far_away(to: IpAddr) -> IpAddr {
    FAR_AWAY[usize::from(to.is_ipv6())]
}
