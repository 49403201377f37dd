//! The rules for what this machine opens to elsewhere.
//!
//! They are cut like those for what comes in, with the sides exchanged: who is asked stands for the source.

use super::rules::{Rules, as_added};
use super::units::group;
use crate::migrate::cut::{Left, Piece, Plan, Slot, Translated, cut};
use crate::migrate::names::Names;
use crate::migrate::report::{Entry, Fate};
use crate::migrate::service::{ports, written};
use crate::migrate::spans::{InWords, Spans};
use crate::migrate::tuple::{Action, Log, Tuple, Way};
use crate::migrate::write::Rule;
use crate::net::Version;

/// The rules of `outgoing`, and what became of each of ufw's.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) rules: Vec<Rule>,
    pub(super) entries: Vec<Entry>,
}

/// Translates the rules for what goes out.
pub(super) fn translate(four: &Rules, six: &Rules, default: Action, names: &mut Names) -> Sent {
    let turned = [turned(four), turned(six)];
    let all: Vec<&Tuple> = turned.iter().flatten().map(|(_, tuple)| tuple).collect();
    let (translated, plan) = (Translated::default(), Plan { default, ping: None });
    let slots = translated.slots(&all);
    let left = turned.each_ref().map(|of_one| {
        let tuples: Vec<&Tuple> = of_one.iter().map(|(_, tuple)| tuple).collect();
        cut(&tuples, &slots, &translated, plan)
    });
    let mut sent = Sent::default();
    for unit in group(&four.tuples, &six.tuples) {
        let source = |version| if version == Version::V4 { four } else { six };
        let tuples: Vec<&Tuple> = unit
            .all()
            .filter_map(|(version, at)| source(version).tuples.get(at))
            .filter(|one| one.way == Way::Out)
            .collect();
        let Some(first) = tuples.first() else { continue };
        let changed = unit.all().any(|(version, at)| source(version).changed.contains_key(&at));
        let own = unit.all().filter_map(|(version, index)| {
            let [four, six] = &turned;
            let [left_four, left_six] = &left;
            let (of_one, left) = if version == Version::V4 { (four, left_four) } else { (six, left_six) };
            let at = of_one.iter().position(|(at, _)| *at == index)?;
            Some((version, left.get(at)?.as_ref()?))
        });
        let own: Vec<(Version, &Left)> = own.collect();
        let (mut rules, lost) = rules_of(first, &own, &slots);
        let places: Vec<String> = tuples.iter().map(|tuple| tuple.place()).collect();
        let (fate, why) = fate(first, changed, &own, &rules, lost, default);
        if fate == Fate::NotTranslated {
            rules.clear();
        }
        for rule in &mut rules {
            rule.name = names.free(&name(rule, first));
            rule.places.clone_from(&places);
        }
        sent.rules.append(&mut rules);
        sent.entries.push(Entry { fate, rule: as_added(first), places, why });
    }
    sent
}

/// The rules that go out, with the sides exchanged, and their index.
fn turned(rules: &Rules) -> Vec<(usize, Tuple)> {
    let all = rules.tuples.iter().enumerate().filter(|(_, tuple)| tuple.way == Way::Out && !is_of_loopback(tuple));
    all.map(|(at, tuple)| {
        let turned = Tuple {
            from: tuple.to.clone(),
            to: tuple.from.clone(),
            incoming: tuple.outgoing.clone(),
            outgoing: None,
            ..tuple.clone()
        };
        (at, turned)
    })
    .collect()
}

fn is_of_loopback(tuple: &Tuple) -> bool {
    tuple.outgoing.as_ref().is_some_and(|name| name.name == "lo" && !name.wildcard)
}

fn name(rule: &Rule, tuple: &Tuple) -> String {
    let action = rule.action.map(|action| format!("{action}-")).unwrap_or_default();
    let what = match (rule.ports.first(), tuple.ports.is_empty()) {
        (Some(port), false) => port.replace('/', "-"),
        _ if !tuple.is_any_destination() => tuple.to.text.clone(),
        _ => tuple.outgoing.as_ref().map_or_else(|| "all".to_owned(), |name| name.name.clone()),
    };
    format!("{action}out-{what}")
}

/// The rules that are left of a command, and whether some of it can't be said.
fn rules_of(first: &Tuple, own: &[(Version, &Left)], whole: &[Slot]) -> (Vec<Rule>, bool) {
    let mut rules: Vec<Rule> = Vec::new();
    let mut lost = false;
    let mut all: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for (version, left) in own {
        for (pieces, slots) in joined(left) {
            let (ports, lost_protocols) = ports(&slots, whole);
            lost |= lost_protocols || left.is_tighter;
            for piece in pieces {
                match destinations(piece, *version).filter(|_| !ports.is_empty()) {
                    Some(to) => all.push((ports.clone(), to)),
                    None => lost = true,
                }
            }
        }
    }
    for (ports, to) in all {
        let action = match first.action {
            Action::Deny => Some("deny"),
            Action::Reject => Some("reject"),
            Action::Allow | Action::Limit => None,
        };
        match rules.iter_mut().find(|rule| rule.ports == ports) {
            Some(rule) => rule.to.extend(to.into_iter().filter(|one| !rule.to.contains(one)).collect::<Vec<_>>()),
            None => rules.push(Rule {
                ports,
                from: vec!["host".to_owned()],
                to,
                action,
                log: first.log != Log::No,
                comment: first
                    .comment
                    .as_deref()
                    .map(crate::migrate::service::comment)
                    .filter(|comment| !comment.is_empty()),
                ..Rule::default()
            }),
        }
    }
    for rule in &mut rules {
        let is_all = ["\"0.0.0.0/0\"", "\"::/0\""].iter().all(|all| rule.to.iter().any(|one| one == all));
        if is_all {
            rule.to = vec!["any".to_owned()];
        }
    }
    (rules, lost)
}

/// The runs of ports that have the same pieces.
fn joined(left: &Left) -> Vec<(&Vec<Piece>, Vec<Slot>)> {
    left.by_pieces
        .iter()
        .filter(|(pieces, _)| !pieces.is_empty())
        .map(|(pieces, slots)| (pieces, slots.clone()))
        .collect()
}

/// Where to, as `outgoing` says it: addresses, or an interface; both together it can't.
fn destinations(piece: &Piece, version: Version) -> Option<Vec<String>> {
    let to: Spans = piece.from.minus(&piece.except);
    if !piece.except_interfaces.is_empty() || !piece.to.is_all(version) {
        return None;
    }
    match &piece.on {
        None => Some(to.words(version)),
        Some(name) if to.is_all(version) => Some(vec![format!("{{ interface: {} }}", written(name))]),
        Some(_) => None,
    }
}

fn fate(
    first: &Tuple,
    changed: bool,
    own: &[(Version, &Left)],
    rules: &[Rule],
    lost: bool,
    default: Action,
) -> (Fate, Vec<String>) {
    let opens = matches!(first.action, Action::Allow | Action::Limit);
    let not_translated = |why: &str| (Fate::NotTranslated, vec![why.to_owned()]);
    if is_of_loopback(first) {
        return (Fate::NoEffect, vec!["this machine always reaches itself".to_owned()]);
    }
    if changed && opens {
        return not_translated("edited by hand: the lines below it are not those that ufw would write; left out");
    }
    if first.action == Action::Limit {
        return not_translated("limits what this machine sends, for which a policy has no word");
    }
    if own.is_empty() {
        let same = (first.action == Action::Allow) == (default == Action::Allow);
        return match (first.is_inexact(), same) {
            (_, true) => (Fate::NoEffect, vec![format!("`outgoing: {}` says it", default.name())]),
            (true, _) => not_translated("names a port of the sender's, or a mask that is no prefix: left out"),
            (false, _) => (Fate::Exact, vec!["taken out of what later rules allow".to_owned()]),
        };
    }
    let version = if let [(version, _)] = own { Some(*version) } else { None };
    let both = version.map(|version| format!("over {version}")).into_iter();
    match (rules.is_empty(), lost) {
        (true, false) => (Fate::NoEffect, vec!["came too late: earlier rules decide about all of it".to_owned()]),
        (true, true) => not_translated("joins what `outgoing` can't: an address with an interface, or with an own address"),
        (false, true) if opens => {
            (Fate::Tighter, vec!["a part of it can't be said in `outgoing` (an address with an interface, or ICMP, SCTP and others): that stays denied".to_owned()])
        }
        (false, true) => not_translated("a part of it can't be said in `outgoing` (an address with an interface, or ICMP, SCTP and others): write it yourself"),
        (false, false) => (Fate::Exact, both.filter(|_| false).collect()),
    }
}
