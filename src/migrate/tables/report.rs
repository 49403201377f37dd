//! What became of each rule.

use super::compare::who;
use super::outgoing::Outgoing;
use super::pieces::is_split;
use super::rows::{DoorRows, slot};
use super::taken::Taken;
use super::{Of, place};
use crate::explain::owner_of;
use crate::exposure::{Decided, How, Space, Spans};
use crate::migrate::cut::Slot;
use crate::migrate::report::{Entry, Fate, Report};
use crate::migrate::service::ports;
use crate::net::Version;
use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::xt::Match;
use crate::ruleset::{CtKey, Expr, Foreign, Hook, Rule, SetFlags, SetRef, Table, Verdict, graph};
use crate::simulate::Doubt;
use crate::{printable, render};
use std::collections::{BTreeMap, BTreeSet};

/// What is said of rules that decide about no new connection to this machine.
const NO_EFFECT: &str =
    "it decides about no new connection: replies, the loopback, neighbour discovery and errors are always let in";

/// Firewalls whose rules are a person's own.
const FIREWALLS: [&str; 2] = ["ufw", "firewalld"];
/// What is said of rates.
const RATE: &str = "a rate decides, and the policy has none: whatever keeps to it is as it was; `limit: 6/minute` in a service counts for each sender";

/// What the answers say of rules.
#[derive(Default)]
struct Decisions {
    /// The doors that a rule opens to somebody.
    lets_in: BTreeMap<Of, Vec<Slot>>,
    denies: BTreeSet<Of>,
    /// The doors of which it can't be told what a rule does, by the reason.
    unknown: BTreeMap<Of, BTreeMap<Doubt, Vec<Slot>>>,
}

impl Decisions {
    fn of<'r>(rows: impl Iterator<Item = &'r DoorRows>) -> Self {
        let of = |one: &Decided| Some((one.table.clone(), one.chain.clone(), one.rule?));
        let mut all = Self::default();
        for row in rows {
            let by: BTreeSet<Of> = row.by.iter().flatten().filter_map(of).collect();
            by.into_iter().for_each(|rule| all.lets_in.entry(rule).or_default().push(slot(row.door)));
            all.denies.extend(row.denied_by.iter().flatten().filter_map(of));
            for (why, (_, rules)) in &row.unknown {
                let known = rules.iter().filter(|one| one.how == How::Unknown).filter_map(of);
                known.for_each(|rule| {
                    all.unknown.entry(rule).or_default().entry(why.clone()).or_default().push(slot(row.door));
                });
            }
        }
        all
    }
}

/// A rule that decides something, and the hooks that lead to it.
struct Deciding<'t> {
    table: &'t Table,
    rule: &'t Rule,
    hooks: BTreeSet<Hook>,
}

impl Deciding<'_> {
    /// What became of it.
    fn fate(&self, key: &Of, known: &Decisions, all: &[Slot], filters_sent: bool) -> (Fate, Vec<String>) {
        let Self { table, rule, hooks } = self;
        let words = |slots: &[Slot]| in_words(slots, all);
        let is_of_incoming = hooks.contains(&Hook::Input) || hooks.contains(&Hook::Prerouting);
        let changing = rule.exprs.iter().find_map(|expr| changing(table, expr)).filter(|_| is_of_incoming);
        let has_rate = rule.exprs.iter().any(is_rate);
        if let Some(reasons) = known.unknown.get(key) {
            let why =
                |(why, slots): (&Doubt, &Vec<Slot>)| format!("{why}: left out, and closed now: {}", words(slots));
            return (Fate::NotTranslated, reasons.iter().map(why).collect());
        }
        if let Some(name) = changing {
            return (Fate::NotTranslated, vec![format!("who is in the set {} changes", printable::printable(name))]);
        }
        let denies = known.denies.contains(key);
        match known.lets_in.get(key) {
            None if denies && has_rate => {
                (Fate::Exact, vec!["the policy denies what exceeds the rate, too".to_owned()])
            }
            slots if is_of_incoming && has_rate => {
                let to = slots.map(|slots| format!(": {}", words(slots))).unwrap_or_default();
                (Fate::Wider, vec![format!("{RATE}{to}")])
            }
            Some(slots) => (Fate::Exact, vec![lets(hooks, &words(slots))]),
            None if denies => (Fate::Exact, Vec::new()),
            None => elsewhere(rule, hooks, filters_sent),
        }
    }
}

/// Adds an entry for each rule that decides, and the notes.
pub(super) fn rules(
    taken: &Taken,
    space: &Space,
    (rows, outgoing): (&[DoorRows], Option<&Outgoing>),
    said: &BTreeSet<Of>,
    report: &mut Report,
) {
    let sent = outgoing.map_or(&[][..], |outgoing| outgoing.rows.as_slice());
    let known = Decisions::of(rows.iter().chain(sent));
    let all: Vec<Slot> = rows.iter().map(|row| slot(row.door)).collect();
    for (id, table) in &taken.tables {
        for (name, at, rule, hooks) in deciding(table) {
            // What an engine translates it goes on translating.
            let is_engines = table.chains.keys().any(|chain| owner_of(id, chain, None).is_some()) && translates(rule);
            let is_others = owner_of(id, name, None).is_some_and(|owner| !FIREWALLS.contains(&owner));
            if is_engines || is_others {
                continue;
            }
            let key = (id.clone(), name.to_owned(), at);
            let (fate, why) = if said.contains(&key) {
                (Fate::Exact, vec!["`nat`, or `forward_to` in a service, does it".to_owned()])
            } else {
                Deciding { table, rule, hooks }.fate(&key, &known, &all, outgoing.is_some())
            };
            let text = printable::printable(&render::rule(id.family, rule)).into_owned();
            report.rules.push(Entry { fate, rule: text, places: vec![place(id, name, Some(at))], why });
        }
    }
    open_versions(rows, report);
    notes(taken, space, rows, report);
    left_out(rows, &all, ("", "from"), report);
    left_out(sent, &all, ("out ", "to"), report);
}

/// What is said of a rule that no packet to this machine met.
fn elsewhere(rule: &Rule, hooks: &BTreeSet<Hook>, filters_sent: bool) -> (Fate, Vec<String>) {
    if translates(rule) {
        let why = "translations are no access: keep the table that this rule stands in, or write a line of `nat`, or `forward_to` in a service";
        return (Fate::NotTranslated, vec![why.to_owned()]);
    }
    let is_of_state = rule.exprs.iter().any(|expr| matches!(expr, Expr::Ct { key: CtKey::State, .. }));
    let is_new = hooks.contains(&Hook::Input)
        || hooks.contains(&Hook::Prerouting)
        || filters_sent && hooks.contains(&Hook::Output);
    if is_new || is_of_state {
        return (Fate::NoEffect, vec![NO_EFFECT.to_owned()]);
    }
    match (hooks.contains(&Hook::Output), graph::denies(rule)) {
        (true, _) => (Fate::NoEffect, vec!["what this machine sends is let out".to_owned()]),
        (false, true) => {
            (Fate::NoEffect, vec!["what passes through this machine is denied unless `forward` allows it".to_owned()])
        }
        (false, false) => (
            Fate::NotTranslated,
            vec!["the policy denies what it lets through: a rule of `forward` can say it".to_owned()],
        ),
    }
}

fn lets(hooks: &BTreeSet<Hook>, words: &str) -> String {
    let is_sent = hooks.contains(&Hook::Output) && !hooks.contains(&Hook::Input);
    format!("lets {} to {words}", if is_sent { "out" } else { "in" })
}

/// Whether a rule translates addresses or ports.
fn translates(rule: &Rule) -> bool {
    const TARGETS: [&str; 5] = ["MASQUERADE", "SNAT", "DNAT", "REDIRECT", "NETMAP"];
    rule.exprs.iter().any(|expr| match expr {
        Expr::Foreign(Foreign::Nat(_) | Foreign::Masquerade { .. } | Foreign::Redirect { .. }) => true,
        Expr::Foreign(Foreign::Target(target)) => TARGETS.contains(&target.name.as_str()),
        _ => false,
    })
}

/// The rules of a table that decide something, each with the hooks that lead to it.
fn deciding(table: &Table) -> Vec<(&str, usize, &Rule, BTreeSet<Hook>)> {
    let graph = Graph::new(table, NamedMaps::Listed);
    let mut hooks: BTreeMap<&str, BTreeSet<Hook>> = BTreeMap::new();
    for (name, chain) in &table.chains {
        let Some(base) = &chain.base else { continue };
        for reached in graph.reachable([name.as_str()]) {
            hooks.entry(reached).or_default().insert(base.hook);
        }
    }
    let mut all = Vec::new();
    for (name, chain) in &table.chains {
        let Some(hooks) = hooks.get(name.as_str()) else { continue };
        let rules = chain.rules.iter().enumerate().filter(|(_, rule)| rule.exprs.iter().any(decides));
        all.extend(rules.map(|(at, rule)| (name.as_str(), at, rule, hooks.clone())));
    }
    all
}

/// Doors in words.
fn in_words(slots: &[Slot], all: &[Slot]) -> String {
    let (mut words, others) = ports(slots, all);
    if others {
        words.push("other protocols".to_owned());
    }
    words.join(", ")
}

/// The set that an expression looks up, if packets fill it.
fn changing<'a>(table: &Table, expr: &'a Expr) -> Option<&'a str> {
    let Expr::Lookup { set: SetRef::Named(name), .. } = expr else { return None };
    let set = table.sets.get(name).filter(|set| set.spec.flags.contains(SetFlags::DYNAMIC));
    set.map(|_| name.as_str())
}

/// Whether a rule holds for a rate, or for what exceeds one.
fn is_rate(expr: &Expr) -> bool {
    match expr {
        Expr::Limit(_) => true,
        Expr::Dynset { exprs, .. } => exprs.iter().any(is_rate),
        Expr::Foreign(Foreign::Match(extension)) => {
            matches!(extension.as_match(), Some(Match::Limit | Match::HashLimit { .. }))
        }
        // `NFT_OBJECT_LIMIT`
        Expr::Foreign(Foreign::Object { kind, .. }) => *kind == 4,
        _ => false,
    }
}

fn decides(expr: &Expr) -> bool {
    match expr {
        Expr::Reject(_)
        | Expr::Foreign(
            Foreign::Reject { .. }
            | Foreign::Nat(_)
            | Foreign::Masquerade { .. }
            | Foreign::Redirect { .. }
            | Foreign::Target(_),
        )
        | Expr::Unknown { .. } => true,
        expr => graph::verdicts(expr).any(|one| matches!(one, Verdict::Accept | Verdict::Drop | Verdict::Other(_))),
    }
}

/// Who is left out since it can't be told whether they get in.
fn left_out(rows: &[DoorRows], all: &[Slot], (out, towards): (&str, &str), report: &mut Report) {
    let mut by_reason: BTreeMap<(&Doubt, &[Spans; 2]), Vec<Slot>> = BTreeMap::new();
    for row in rows {
        for (why, (both, _)) in &row.unknown {
            by_reason.entry((why, both)).or_default().push(slot(row.door));
        }
    }
    for ((why, both), slots) in by_reason {
        let (words, others) = ports(&slots, all);
        let remedy = match words.as_slice() {
            [one] if !others && out.is_empty() && one != "any" && one != "ping" => {
                format!("; to let them in: `palisade add {one} --from ADDR`")
            }
            _ => String::new(),
        };
        let words = in_words(&slots, all);
        report.note(None, format!("{out}{words} {towards} {}: {why}: left out{remedy}", who(both)));
    }
}

/// Says so where everyone reaches everything over one IP version.
fn open_versions(rows: &[DoorRows], report: &mut Report) {
    let Some(base) = rows.last().and_then(|rest| rest.common.0.first()) else { return };
    let is_open = |version: Version| {
        let others = base.iter().enumerate().filter(|(other, _)| *other != version as usize);
        base[version as usize].is_all(version) && others.into_iter().all(|(_, spans)| spans.is_empty())
    };
    for version in Version::ALL.into_iter().filter(|version| is_open(*version)) {
        report.note(
            None,
            format!("no rule denies anything over {version}: everyone reaches every port by it, and the policy keeps that: take `{}` out of the service `everything`", if version == Version::V4 { "0.0.0.0/0" } else { "::/0" }),
        );
    }
}

/// What else is to be known.
fn notes(taken: &Taken, space: &Space, rows: &[DoorRows], report: &mut Report) {
    for (name, command) in [("ufw", "ufw"), ("firewalld", "firewalld")] {
        if taken.owners.contains(name) {
            report.note(None, format!("some of these rules are {name}'s: `palisade import {command}` reads its own files, which say more"));
        }
    }
    for (owner, place) in &taken.bans {
        if place.starts_with("table ") {
            report.remark(format!("{place} is {owner}'s and stays: what it bans stays banned beside the policy"));
            continue;
        }
        report.note(
            None,
            format!("{place} has what {owner} bans, which is left out: it has to ban in a table of its own"),
        );
    }
    for title in &taken.beside {
        report.note(None, format!("table {title} is not followed: what it denies stays denied while it is loaded"));
    }
    let split = space
        .ways
        .iter()
        .enumerate()
        .filter(|(at, way)| rows.iter().any(|row| row.common.0.get(*at).is_some_and(|both| is_split(way, both))));
    for (_, way) in split {
        report.note(
            None,
            format!(
                "some of the containers behind {} get in by their addresses, which a policy can't say",
                way.example
            ),
        );
    }
}
