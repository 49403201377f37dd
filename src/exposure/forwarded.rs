//! The ports that rules send elsewhere, read from the rules.

use crate::net::protocol;
use crate::ruleset::xt::{Match, Range, Target};
use crate::ruleset::{
    Cmp, CtKey, Expr, Family, Foreign, MetaKey, PayloadBase, Register, Rule, SetRef, Table, TableId,
};
use std::collections::BTreeSet;

/// The longest run of ports that are taken one by one.
const MOST: u16 = 1024;

/// The ports of rules that translate destinations, by protocol. A rule that names none names no port here.
pub(super) fn forwarded<'a>(tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>) -> BTreeSet<(u8, u16)> {
    let mut found = BTreeSet::new();
    for (id, table) in tables {
        for rule in table.chains.values().flat_map(|chain| &chain.rules) {
            if rule.exprs.iter().any(|expr| translates(id, expr)) {
                found.extend(ports(rule));
            }
        }
    }
    found
}

fn translates(id: &TableId, expr: &Expr) -> bool {
    match expr {
        Expr::Foreign(Foreign::Nat(nat)) => nat.destination,
        Expr::Foreign(Foreign::Redirect { .. }) => true,
        Expr::Foreign(Foreign::Target(target)) => {
            matches!(target.as_target(id.family == Family::Ip), Some(Target::Dnat { .. }))
                || ["DNAT", "REDIRECT"].contains(&target.name.as_str())
        }
        _ => false,
    }
}

fn ports(rule: &Rule) -> BTreeSet<(u8, u16)> {
    let mut protocols: BTreeSet<u8> = BTreeSet::new();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    let (mut of_port, mut of_protocol): (Option<Register>, Option<Register>) = (None, None);
    let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    for expr in &rule.exprs {
        match expr {
            Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg }
            | Expr::Ct { key: CtKey::ProtoDst, dreg, .. } => of_port = Some(*dreg),
            Expr::Meta { key: MetaKey::L4proto, dreg } => of_protocol = Some(*dreg),
            Expr::Cmp { op: Cmp::Eq, sreg, data } if of_port == Some(*sreg) => {
                ranges.extend(number(data).map(|port| (port, port)));
                of_port = None;
            }
            Expr::Cmp { op: Cmp::Eq, sreg, data } if of_protocol == Some(*sreg) => {
                protocols.extend(data.first());
                of_protocol = None;
            }
            Expr::Foreign(Foreign::Range { inverted: false, sreg, first, last }) if of_port == Some(*sreg) => {
                ranges.extend(number(first).zip(number(last)));
            }
            Expr::Lookup { set: SetRef::Anonymous(set), sreg, inverted: false, .. } if of_port == Some(*sreg) => {
                ranges.extend(set.elements.bounds().filter_map(|(first, last)| number(first).zip(number(last))));
            }
            Expr::Foreign(Foreign::Match(extension)) => match extension.as_match() {
                Some(Match::Ports { destination: Range { first, last, inverted: false }, .. }) => {
                    protocols.insert(if extension.name == "udp" { protocol::UDP } else { protocol::TCP });
                    ranges.extend(((first, last) != (0, u16::MAX)).then_some((first, last)));
                }
                Some(Match::Multiport { which: 1 | 2, ranges: several, inverted: false }) => ranges.extend(several),
                _ => {}
            },
            _ => {}
        }
    }
    if protocols.is_empty() {
        protocols.extend([protocol::TCP, protocol::UDP]);
    }
    let ports: BTreeSet<u16> = ranges
        .into_iter()
        .filter(|(first, last)| last.checked_sub(*first).is_some_and(|more| more < MOST))
        .flat_map(|(first, last)| first..=last)
        .filter(|port| *port != 0)
        .collect();
    protocols.iter().flat_map(|protocol| ports.iter().map(move |port| (*protocol, *port))).collect()
}
