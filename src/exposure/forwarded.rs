//! The ports that rules forward elsewhere, read from the rules.

use crate::compile::forwarded_ports;
use crate::net::{address, protocol};
use crate::ruleset::{Cmp, Dnat, Expr, Foreign, KeyType, Set, SetRef, Table, TableId, dnat, xt::Match};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The longest range of ports that is told port by port. A longer one is cut where rules tell ports apart.
const MOST: u16 = 64;

/// Ports that a rule translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forwarded {
    /// The IP protocol number.
    pub(super) protocol: u8,
    /// The first port.
    pub(super) first: u16,
    /// The last port.
    pub(super) last: u16,
    /// The only address of this machine that it holds for; `None` if all are, or if it can't be told.
    pub(super) at: Option<IpAddr>,
    /// Whether a service of the policy says so.
    pub(super) by_service: bool,
}

/// The ports of rules that translate destinations. A rule that names no port adds none.
pub(super) fn forwarded<'a>(tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>) -> BTreeSet<Forwarded> {
    let mut found = BTreeSet::new();
    for (id, table) in tables {
        if *id == TableId::palisade() {
            found.extend(forwarded_ports(table).into_iter().map(|(transport, first, last)| Forwarded {
                protocol: transport.number(),
                first,
                last,
                at: None,
                by_service: true,
            }));
        }
        for rule in table.chains.values().flat_map(|chain| &chain.rules) {
            if let Some(dnat) = dnat(id.family, &table.sets, rule) {
                found.extend(ports(&dnat));
            }
        }
    }
    found
}

fn ports(dnat: &Dnat<'_>) -> Vec<Forwarded> {
    let protocols = if dnat.protocols.is_empty() {
        BTreeSet::from([protocol::TCP, protocol::UDP])
    } else {
        dnat.protocols.clone()
    };
    let of_rule = dnat.ports.iter().map(|ports| (dnat.destination, *ports));
    let of_map = dnat.together.iter().map(|(to, ports)| (Some(*to), *ports));
    let mut found = Vec::new();
    for (destination, (first, last)) in of_rule.chain(of_map) {
        let first = first.max(1);
        let Some(more) = last.checked_sub(first) else { continue };
        let at = destination.and_then(address);
        for protocol in protocols.iter().copied() {
            if more < MOST {
                found.extend((first..=last).map(|port| Forwarded {
                    protocol,
                    first: port,
                    last: port,
                    at,
                    by_service: false,
                }));
            } else {
                found.push(Forwarded { protocol, first, last, at, by_service: false });
            }
        }
    }
    found
}

/// The ports at which a rule of any table may begin to decide otherwise.
pub(super) fn cuts<'a>(tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>) -> BTreeSet<u16> {
    let mut cuts = BTreeSet::new();
    for (_, table) in tables {
        table.sets.values().for_each(|set| of_set(set, &mut cuts));
        table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs).for_each(
            |expr| match expr {
                Expr::Cmp { op, data, .. } => match data.as_slice() {
                    [high, low] => {
                        add(&mut cuts, u16::from_be_bytes([*high, *low]), u16::from_be_bytes([*high, *low]))
                    }
                    // The ports of source and destination at once.
                    [_, _, high, low] if *op == Cmp::Eq => {
                        add(&mut cuts, u16::from_be_bytes([*high, *low]), u16::from_be_bytes([*high, *low]));
                    }
                    _ => {}
                },
                Expr::Lookup { set: SetRef::Anonymous(set), .. } => of_set(set, &mut cuts),
                Expr::Foreign(Foreign::Range { first, last, .. }) => bounds(first, last, &mut cuts),
                Expr::Foreign(Foreign::Match(extension)) => match extension.as_match() {
                    Some(Match::Ports { destination, .. }) => add(&mut cuts, destination.first, destination.last),
                    Some(Match::Multiport { ranges, .. }) => {
                        ranges.iter().for_each(|(first, last)| add(&mut cuts, *first, *last));
                    }
                    _ => {}
                },
                _ => {}
            },
        );
    }
    cuts
}

/// Whether ports are among the keys of a set.
#[must_use]
pub fn has_ports(set: &Set) -> bool {
    let mut kind = set.spec.key.number;
    std::iter::from_fn(|| {
        let part = kind & 0x3f;
        kind >>= 6;
        (part != 0).then_some(part)
    })
    .any(|part| part == KeyType::INET_SERVICE.number)
}

fn of_set(set: &Set, cuts: &mut BTreeSet<u16>) {
    if !has_ports(set) {
        return;
    }
    for (first, last) in set.elements.bounds() {
        // Each field of a concatenation begins at a multiple of four bytes; one that is no port cuts where it need not.
        first.chunks(4).zip(last.chunks(4)).for_each(|(first, last)| bounds(first, last, cuts));
    }
}

fn bounds(first: &[u8], last: &[u8], cuts: &mut BTreeSet<u16>) {
    if let (Some(first), Some(last)) = (first.first_chunk(), last.first_chunk()) {
        add(cuts, u16::from_be_bytes(*first), u16::from_be_bytes(*last));
    }
}

fn add(cuts: &mut BTreeSet<u16>, first: u16, last: u16) {
    cuts.insert(first);
    cuts.extend(last.checked_add(1));
}
