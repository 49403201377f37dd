//! The rules that can match the later packets of a connection: the answer, and what follows it.
//!
//! Most tables begin with `ct state established accept`, so that few rules are left for these packets, and often none
//! that could deny one. All other rules are left out before anything is evaluated.

use super::asked::{Asked, Asks};
use super::reading::Reading;
use super::value::{number, overlaps_containers};
use crate::net::Version;
use crate::ruleset::graph::{Graph, Name, NamedMaps, names};
use crate::ruleset::{Chain, CtKey, Expr, Policy, Rule, Table, TableId, Verdict};
use crate::simulate::{
    Changed, End, Hidden, Packet, RuleResult, Transport, ViewOfAnySource, attached_to, run_for_any_source,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Stands for the addresses of packets, which don't matter here.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Stands for an interface: any but the loopback.
const ANY_INTERFACE: &str = "/";

/// The rules of a table for the later packets; `None` where nothing could deny them.
pub(super) struct Opened {
    answer: Option<Table>,
    third: Option<Table>,
    /// Whether rules that tell containers apart count.
    containers_count: bool,
}

/// A table, and its rules for the later packets, read for packets of one version.
pub(super) struct Readings<'a> {
    pub(super) first: (&'a Table, Reading<'a>),
    pub(super) answer: Option<(&'a Table, Reading<'a>)>,
    pub(super) third: Option<(&'a Table, Reading<'a>)>,
    pub(super) containers_count: bool,
}

impl Opened {
    /// Of connections that come in: to this machine, or to a port that is answered behind it.
    pub(super) fn new(id: &TableId, table: &Table) -> Self {
        Self::by(
            id,
            table,
            [Packet::to_machine(NOBODY, NOBODY, Transport::tcp(1)).coming_in_by(ANY_INTERFACE), through()],
        )
    }

    /// Of connections to elsewhere: of this machine, or through it.
    pub(super) fn elsewhere(id: &TableId, table: &Table) -> Self {
        let sent = Packet::from_machine(NOBODY, NOBODY, Transport::tcp(1)).leaving_by(ANY_INTERFACE);
        Self::by(id, table, [sent, through()])
    }

    fn by(id: &TableId, table: &Table, asking: [Packet; 2]) -> Self {
        let answers = asking.each_ref().map(Packet::answer);
        let thirds = asking.each_ref().map(Packet::third);
        Self {
            answer: met(id, table, answers.iter().flatten()),
            third: met(id, table, thirds.iter().flatten()),
            containers_count: true,
        }
    }

    /// The readings of two tables that are compared. Rules about the answers of containers change nobody's access if
    /// they are the same in both.
    pub(super) fn both(id: &TableId, tables: [&Table; 2]) -> [Self; 2] {
        let both = tables.map(|table| Self::new(id, table));
        let [before, after] = both.each_ref().map(|opened| opened.answer.as_ref().map(for_containers));
        let containers_count = before != after;
        both.map(|opened| Self { containers_count, ..opened })
    }
}

fn through() -> Packet {
    Packet::through(NOBODY, NOBODY, Transport::tcp(1)).coming_in_by(ANY_INTERFACE).leaving_by(ANY_INTERFACE)
}

/// What decides about the answers of containers: the rules, and the elements of sets that are addresses of
/// containers.
fn for_containers(table: &Table) -> Table {
    let mut table = table.clone();
    for set in table.sets.values_mut() {
        if let Some(version) = Version::ALL.into_iter().find(|version| set.spec.key.len == address_len(*version)) {
            let elements = set.elements.iter().filter(|element| match element.key.bounds() {
                Some((first, last)) => overlaps_containers(version, (number(first), number(last))),
                None => true,
            });
            set.elements = elements.map(Cow::into_owned).collect();
        }
    }
    table.canonical()
}

fn address_len(version: Version) -> u32 {
    u32::try_from(version.address_len()).unwrap_or(u32::MAX)
}

impl<'a> Readings<'a> {
    pub(super) fn new(table: &'a Table, opened: &'a Opened, version: Version, asked: &mut Asked<'a>) -> Self {
        let mut read = |table: &'a Table, asks| (table, Reading::new(table, version, asks, asked));
        Self {
            first: read(table, Asks::First),
            answer: opened.answer.as_ref().map(|table| read(table, Asks::Answer)),
            third: opened.third.as_ref().map(|table| read(table, Asks::First)),
            containers_count: opened.containers_count,
        }
    }
}

/// The part of a table that packets like these may reach.
fn met<'p>(id: &TableId, table: &Table, packets: impl Iterator<Item = &'p Packet>) -> Option<Table> {
    let mut left = Table { flags: table.flags, ..Table::default() };
    let mut denies = false;
    for packet in packets {
        for hook in packet.path.hooks() {
            for (name, base, priority) in attached_to(id, table, *hook, packet) {
                // Only the first packet of a connection passes `nat` chains.
                let Some(chain) = table.chains.get(name).filter(|_| base.kind != "nat") else { continue };
                let packet_view = ViewOfAnySource::new(packet, *hook, priority, Hidden::ClientAndTranslation);
                let rules = left_of(id, table, chain, &packet_view);
                denies |= match rules.as_slice() {
                    [] => base.policy == Policy::Drop,
                    [only] => !(is_by_state(only) && only.exprs.contains(&Expr::Verdict(Verdict::Accept))),
                    _ => true,
                };
                left.chains.insert(name.to_owned(), Chain { rules, ..chain.clone() });
            }
        }
    }
    if !denies {
        return None;
    }
    let graph = Graph::new(table, NamedMaps::Listed);
    let begins = left.chains.values().flat_map(|chain| &chain.rules);
    let called: BTreeSet<String> = begins.flat_map(|rule| graph.targets(rule)).map(str::to_owned).collect();
    for name in graph.reachable(called.iter().map(String::as_str)) {
        let chain = table.chains.get(name).filter(|chain| chain.base.is_none());
        left.chains.extend(chain.map(|chain| (name.to_owned(), chain.clone())));
    }
    let exprs = left.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs);
    let named = exprs.flat_map(names).filter_map(|name| match name {
        Name::Set(set) => table.sets.get_key_value(set),
        Name::Chain(_) => None,
    });
    let sets = named.map(|(name, set)| (name.clone(), set.clone())).collect();
    Some(Table { sets, ..left })
}

/// The rules of a base chain, up to the first that ends the chain for every such packet.
fn left_of(id: &TableId, table: &Table, chain: &Chain, packet_view: &ViewOfAnySource<'_>) -> Vec<Rule> {
    let mut left = Vec::new();
    for rule in &chain.rules {
        if !is_by_state(rule) {
            left.push(rule.clone());
            continue;
        }
        match run_for_any_source(id, table, rule, packet_view, &Changed::default()) {
            RuleResult::NoMatch | RuleResult::Match { end: End::Continue, .. } => {}
            RuleResult::Match { end: End::Verdict(verdict), doubt: None } if ends(&verdict) => {
                left.push(rule.clone());
                return left;
            }
            RuleResult::Match { .. } => left.push(rule.clone()),
        }
    }
    left
}

/// Whether the effect of a rule depends only on the state of the packet's connection.
fn is_by_state(rule: &Rule) -> bool {
    rule.exprs.iter().all(|expr| {
        matches!(
            expr,
            Expr::Ct { key: CtKey::State, .. }
                | Expr::Cmp { .. }
                | Expr::Bitwise { .. }
                | Expr::Lookup { .. }
                | Expr::Counter { .. }
                | Expr::Log(_)
                | Expr::Verdict(_)
        )
    })
}

fn ends(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accept | Verdict::Drop | Verdict::Return | Verdict::Goto(_))
}
