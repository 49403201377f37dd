//! Ports that containers publish, as the kernel's rules have them, and who else gets to them.

use super::Facts;
use crate::owners::owner_of;
use crate::resolve::Containers;
use crate::ruleset::{
    Chain, Cmp, CtKey, Expr, Family, Foreign, MetaKey, PayloadBase, Register, Rule, TableId,
    xt::{Match, Target},
};
use crate::simulate::{Asked, Packet, Transport, Verdict, Way, follow, protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Somebody far away, of each IP version, whose packets come in by the way out.
const FAR_AWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77))];

/// A port that rules translate to a container's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Published {
    /// The IP protocol number.
    pub protocol: u8,
    /// The port that is asked for.
    pub port: u16,
    /// The only address that is translated; `None` for all of this machine's.
    pub on: Option<IpAddr>,
    /// The container's address and port.
    pub to: SocketAddr,
    /// Whose rule it is, as far as names tell.
    pub owner: Option<&'static str>,
}

/// All ports that rules of others translate to what lies behind a container's bridge.
pub(super) fn published(facts: &Facts<'_>) -> BTreeSet<Published> {
    let default = Containers::default().interfaces;
    let bridges = facts.host.policy.valid().map_or(&default, |policy| &policy.containers.interfaces);
    let tables = facts.rules.tables.iter().filter(|(id, _)| **id != TableId::palisade());
    let rules = tables.flat_map(|(id, table)| {
        let of_chain = |(name, chain): (&String, &Chain)| {
            let owner = owner_of(id, name, Some(table));
            let ports = chain.rules.iter().filter_map(|rule| translated(id.family, rule));
            ports.map(|one| Published { owner, ..one }).collect::<Vec<_>>()
        };
        table.chains.iter().flat_map(of_chain).collect::<Vec<_>>()
    });
    rules
        .filter(|one| match way_to(facts, one.to.ip()) {
            Some(interface) => bridges.iter().any(|bridge| bridge.covers(&interface)),
            None => false,
        })
        .collect()
}

/// The ports that are reached by the container's own address, past what is published: the rules of others leave that open,
/// and palisade closes it as long as it is loaded.
pub(super) fn reached_directly(facts: &Facts<'_>) -> BTreeSet<Published> {
    reached(facts, |one| Some(one.to))
}

/// The ports published to a loopback address that are reached from the wire, by the rules of others.
pub(super) fn reached_on_loopback(facts: &Facts<'_>) -> BTreeSet<Published> {
    reached(facts, |one| Some((one.on.filter(IpAddr::is_loopback)?, one.port).into()))
}

/// Follows packets that should not get through: one for each published port, to where `to` says.
fn reached(facts: &Facts<'_>, to: impl Fn(&Published) -> Option<SocketAddr>) -> BTreeSet<Published> {
    let Some(way_out) = facts.host.links.iter().find(|link| link.is_way_out).map(|link| link.name.as_str()) else {
        return BTreeSet::new();
    };
    let gets_there = |one: &Published| to(one).is_some_and(|to| gets_through(facts, way_out, one.protocol, to));
    published(facts).into_iter().filter(gets_there).collect()
}

/// Whether somebody far away gets a packet through to a container, by the rules of all others than palisade.
fn gets_through(facts: &Facts<'_>, way_out: &str, protocol: u8, to: SocketAddr) -> bool {
    let transport = Transport::Ports { protocol, source: None, destination: to.port() };
    let packet = Packet::to_machine(far_away(to.ip()), to.ip(), transport).coming_in_by(way_out);
    let others = facts.rules.tables.iter().filter(|(id, _)| **id != TableId::palisade());
    let journey = follow(others, facts.sets, facts.routes, &packet);
    journey.trace.verdict == Verdict::Allow && matches!(journey.turns.last().map(|turn| &turn.way), Some(Way::Out(_)))
}

fn way_to(facts: &Facts<'_>, address: IpAddr) -> Option<String> {
    let source = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    match facts.routes.way(&Asked { source, destination: address, incoming: None, mark: 0 }) {
        Ok(Way::Out(interface)) => Some(interface),
        _ => None,
    }
}

fn far_away(to: IpAddr) -> IpAddr {
    FAR_AWAY[usize::from(to.is_ipv6())]
}

/// What a rule loads and compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Protocol,
    Destination,
    Port,
}

/// The port that a rule translates, where it translates just one, to one address and port.
fn translated(family: Family, rule: &Rule) -> Option<Published> {
    let mut fields: BTreeMap<Register, Field> = BTreeMap::new();
    let mut data: BTreeMap<Register, &[u8]> = BTreeMap::new();
    let (mut protocol, mut port, mut on) = (None, None, None);
    for expr in &rule.exprs {
        match expr {
            Expr::Cmp { op: Cmp::Eq, sreg, data } => match fields.get(sreg) {
                Some(Field::Protocol) => protocol = data.first().copied(),
                Some(Field::Destination) => on = Some(loopback_or_address(family, data)?),
                Some(Field::Port) => port = Some(u16::from_be_bytes(data.as_slice().try_into().ok()?)),
                None => {}
            },
            Expr::Foreign(Foreign::Immediate { dreg, data: value }) => {
                data.insert(*dreg, value);
            }
            Expr::Foreign(Foreign::Match(extension)) => {
                if let Some(Match::Ports { destination, .. }) = extension.as_match() {
                    protocol = protocol.or(Some(if extension.name == "udp" { protocol::UDP } else { protocol::TCP }));
                    port =
                        (destination.first == destination.last && !destination.inverted).then_some(destination.first);
                }
            }
            Expr::Foreign(Foreign::Target(extension)) => {
                if let Some(Target::Dnat { address, port: to }) = extension.as_target(family != Family::Ip6) {
                    let port = port?;
                    return Some(Published {
                        protocol: protocol?,
                        port,
                        on,
                        to: (address?, to.unwrap_or(port)).into(),
                        owner: None,
                    });
                }
            }
            Expr::Foreign(Foreign::Nat(nat)) if nat.destination => {
                let port = port?;
                let value = |register: Option<Register>| register.and_then(|register| data.get(&register).copied());
                let to = match value(nat.ports[0]) {
                    Some(bytes) => u16::from_be_bytes(bytes.first_chunk().copied()?),
                    None => port,
                };
                return Some(Published {
                    protocol: protocol?,
                    port,
                    on,
                    to: (address(value(nat.addresses[0])?)?, to).into(),
                    owner: None,
                });
            }
            expr => {
                if let Some((register, field)) = loaded(family, expr) {
                    match field {
                        Some(field) => fields.insert(register, field),
                        None => fields.remove(&register),
                    };
                }
            }
        }
    }
    None
}

/// Which register an expression loads, and with what of this.
fn loaded(family: Family, expr: &Expr) -> Option<(Register, Option<Field>)> {
    Some(match expr {
        Expr::Meta { key, dreg } => (*dreg, (*key == MetaKey::L4proto).then_some(Field::Protocol)),
        Expr::Ct { key, dreg, .. } => (*dreg, (*key == CtKey::ProtoDst).then_some(Field::Port)),
        Expr::Payload { base, offset, len, dreg } => {
            let field = match (base, offset, len, family) {
                (PayloadBase::Network, 9, 1, Family::Ip) | (PayloadBase::Network, 6, 1, Family::Ip6) => {
                    Some(Field::Protocol)
                }
                (PayloadBase::Network, 16, 1..=4, Family::Ip | Family::Inet) => Some(Field::Destination),
                (PayloadBase::Network, 24, 1..=16, Family::Ip6 | Family::Inet) => Some(Field::Destination),
                (PayloadBase::Transport, 2, 2, _) => Some(Field::Port),
                _ => None,
            };
            (*dreg, field)
        }
        Expr::Bitwise { dreg, .. } => (*dreg, None),
        _ => return None,
    })
}

/// An address, or that of this machine for what begins like it.
fn loopback_or_address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match bytes {
        [127] | [127, _] | [127, _, _] if family != Family::Ip6 => Some(Ipv4Addr::LOCALHOST.into()),
        bytes => address(bytes),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

impl std::fmt::Display for Published {
    /// `9200/tcp`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.protocol {
            protocol::UDP => "udp",
            protocol::SCTP => "sctp",
            _ => "tcp",
        };
        write!(f, "{}/{name}", self.port)
    }
}
