//! What this machine may open to elsewhere, where tables filter it.

use super::rows::{DoorRows, is_all, rows, slot};
use super::taken::Taken;
use super::{addresses_in_words, place};
use crate::exposure::{Decided, Grants, Machine, Space, Spans, Way, grants_out};
use crate::migrate::cut::Slot;
use crate::migrate::names::Names;
use crate::migrate::service::{Service, ports, written};
use crate::migrate::write::Rule;
use crate::net::Version;
use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::{Hook, Policy, Table, graph};
use std::collections::BTreeSet;

/// What is said of `outgoing`.
pub(super) struct Outgoing {
    /// `defaults: { outgoing }`.
    pub(super) default: &'static str,
    pub(super) rules: Vec<Rule>,
    pub(super) rows: Vec<DoorRows>,
    /// What was asked, and what the tables answered.
    pub(super) space: Space,
    pub(super) before: Grants,
}

/// Whether a table denies something at a hook: of what this machine sends, or of what passes through it.
pub(super) fn filters(table: &Table, hook: Hook) -> bool {
    table.chains.iter().any(|(name, chain)| {
        let Some(base) = chain.base.as_ref().filter(|base| base.kind != "nat") else { return false };
        let reached = Graph::new(table, NamedMaps::Listed).reachable([name.as_str()]);
        let mut rules = reached.into_iter().filter_map(|name| table.chains.get(name)).flat_map(|chain| &chain.rules);
        base.hook == hook && (base.policy == Policy::Drop || rules.any(graph::denies))
    })
}

/// What the tables let this machine open; `None` if they deny nothing of it.
pub(super) fn outgoing(machine: &Machine<'_>, taken: &Taken, space: &Space) -> Option<Outgoing> {
    if !taken.tables.iter().any(|(_, table)| filters(table, Hook::Output)) {
        return None;
    }
    let space = Space { own: space.own.clone().map(|all| all.into_iter().take(1).collect()), ..space.clone() };
    let before = grants_out(machine, &space);
    let (rows, _) = rows(&space, &before);
    let all: Vec<Slot> = rows.iter().map(|of| slot(of.door)).collect();
    let rest = rows.last().map(|of| everywhere(of, &space)).unwrap_or_default();
    let is_open = is_all(&rest);
    let mut groups: Vec<Group> = Vec::new();
    if !is_open && !rest.iter().all(Spans::is_empty) {
        let by = rows.last().map(|of| rules_of(&of.by)).unwrap_or_default();
        groups.push(Group { to: To::Addresses(rest.clone()), action: None, by, slots: all.clone() });
    }
    for of in rows.iter().filter(|of| !of.door.others) {
        let here = everywhere(of, &space);
        let (by, slots) = (rules_of(&of.by), vec![slot(of.door)]);
        let more = Version::ALL.map(|version| here[version as usize].minus(&rest[version as usize]).joined());
        if !more.iter().all(Spans::is_empty) {
            let to = if is_all(&here) { here.clone() } else { more };
            add(&mut groups, Group { to: To::Addresses(to), action: None, by: by.clone(), slots: slots.clone() });
        }
        let denied = Version::ALL.map(|version| Spans::all(version).minus(&here[version as usize]).joined());
        let lacks = Version::ALL.into_iter().any(|version| denied[version as usize].meets(&rest[version as usize]));
        if lacks {
            let action = Some(if of.rejects { "reject" } else { "deny" });
            let by = rules_of(&of.denied_by);
            add(&mut groups, Group { to: To::Addresses(denied), action, by, slots: slots.clone() });
        }
        for way in ways(&space).filter(|(at, _)| !is_all(&here) && of.common.0.get(*at).is_some_and(is_all)) {
            let names = way.1.names.iter().map(written).collect();
            add(&mut groups, Group { to: To::Interfaces(names), action: None, by: by.clone(), slots: slots.clone() });
        }
    }
    let closed = rows.iter().filter(|of| of.common.is_nothing());
    let rejects = closed.clone().filter(|of| of.rejects).count();
    let default = match () {
        () if is_open => "allow",
        () if rejects * 2 > closed.count() => "reject",
        () => "deny",
    };
    let mut names = Names::default();
    let rules = groups.into_iter().flat_map(|group| group.rules(&all, &mut names)).collect();
    Some(Outgoing { default, rules, rows, space, before })
}

/// The ways that are not those of containers, which this machine always reaches.
fn ways(space: &Space) -> impl Iterator<Item = (usize, &Way)> {
    space.ways.iter().enumerate().filter(|(_, way)| !way.containers)
}

/// The destinations that are reached by whatever interface.
fn everywhere(of: &DoorRows, space: &Space) -> [Spans; 2] {
    let rows = ways(space).filter_map(|(at, _)| of.common.0.get(at)).cloned();
    rows.reduce(|one, other| Version::ALL.map(|version| one[version as usize].and(&other[version as usize]).joined()))
        .unwrap_or_default()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Addresses([Spans; 2]),
    Interfaces(Vec<String>),
}

/// Doors with the same destinations, by the same rules.
struct Group {
    to: To,
    action: Option<&'static str>,
    by: BTreeSet<Decided>,
    slots: Vec<Slot>,
}

/// The rules that decide by any way, without the policies of chains.
fn rules_of(by: &[BTreeSet<Decided>]) -> BTreeSet<Decided> {
    by.iter().flatten().filter(|one| one.rule.is_some()).cloned().collect()
}

fn add(groups: &mut Vec<Group>, group: Group) {
    let is_it = |other: &&mut Group| other.to == group.to && other.action == group.action && other.by == group.by;
    match groups.iter_mut().find(is_it) {
        Some(other) => other.slots.extend(group.slots),
        None => groups.push(group),
    }
}

impl Group {
    /// The rule, and the one that takes out what it must not hold for.
    fn rules(self, all: &[Slot], names: &mut Names) -> Vec<Rule> {
        let (ports, _) = ports(&self.slots, all);
        if ports.is_empty() {
            return Vec::new();
        }
        let (to, but) = match &self.to {
            To::Interfaces(names) => {
                (names.iter().map(|name| format!("{{ interface: {name} }}")).collect(), Vec::new())
            }
            To::Addresses(both) => addresses_in_words(both),
        };
        let places: Vec<String> = self.by.iter().map(|one| place(&one.table, &one.chain, one.rule)).collect();
        let mut rule = |action: Option<&'static str>, to: Vec<String>| {
            let named = Service { ports: ports.clone(), action, ..Service::default() };
            Rule {
                name: names.of_ports(&named, "everything"),
                ports: ports.clone(),
                from: vec!["host".to_owned()],
                to,
                action,
                places: places.clone(),
                ..Rule::default()
            }
        };
        let mut rules = vec![rule(self.action, to)];
        rules.extend((!but.is_empty()).then(|| rule(Some("deny"), but)));
        rules
    }
}
