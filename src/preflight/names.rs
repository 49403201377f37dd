//! Interfaces that the policy names, although no packet comes in under that name.

use super::{Preflight, Remark, Topic, Weight};
use crate::net::IfPattern;
use crate::policy::{nearest, quote};
use crate::resolve::{Containers, Line, PolicyRule};
use std::collections::{BTreeMap, BTreeSet};

/// The kinds of interfaces whose ports hand them their packets before any rule sees them.
const MASTERS: [&str; 3] = ["bridge", "bond", "team"];
/// What a packet does by an interface that a sender is named by.
const COMES_IN: &str = "comes in";
/// What a packet does by an interface that a destination is named by.
const LEAVES: &str = "leaves";

/// A place of the policy that names interfaces.
struct Named<'p> {
    interfaces: Vec<&'p IfPattern>,
    line: Option<Line>,
    /// The place in words.
    place: String,
    /// [`COMES_IN`] or [`LEAVES`].
    way: &'static str,
}

impl Preflight<'_> {
    /// One warning for each name that carries no packet. A pattern such as `br-*` is about interfaces to come.
    pub(super) fn names(&self) -> Vec<Remark> {
        if self.machine.links.is_none() {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let mut remarks = Vec::new();
        for Named { interfaces, line, place, way } in self.named() {
            for interface in interfaces.into_iter().filter(|interface| !interface.wildcard && interface.name != "lo")
            {
                if seen.insert(&interface.name) {
                    remarks.extend(self.carries_nothing(&interface.name, line, &place, way));
                }
            }
        }
        remarks
    }

    /// The places of the policy that name interfaces.
    fn named(&self) -> Vec<Named<'_>> {
        let policy = self.policy;
        let mut places: Vec<Named<'_>> = Vec::new();
        for (name, service) in &policy.services {
            places.push(named(&service.on, Some(service.line), &format!("service {name} (`on`)"), COMES_IN));
            for peers in [&service.from, &service.except] {
                places.push(named(&peers.interfaces, peers.line, &format!("service {name}"), COMES_IN));
            }
        }
        let of_section = |section: &'static str, rules| {
            let rules: &BTreeMap<String, PolicyRule> = rules;
            rules.iter().map(move |(name, rule)| (format!("{section} {name}"), rule))
        };
        for (place, rule) in of_section("outgoing", &policy.outgoing).chain(of_section("forward", &policy.forward)) {
            places.push(named(&rule.on, Some(rule.line), &format!("{place} (`on`)"), COMES_IN));
            for peers in [&rule.from, &rule.except] {
                places.push(named(&peers.interfaces, peers.line, &place, COMES_IN));
            }
            places.push(named(&rule.to.interfaces, rule.to.line, &format!("{place} (`to`)"), LEAVES));
        }
        for (name, nat) in &policy.nat {
            places.push(named(&nat.from.interfaces, nat.from.line, &format!("nat {name}"), COMES_IN));
            places.push(named(&nat.to.interfaces, nat.to.line, &format!("nat {name} (`to`)"), LEAVES));
        }
        for (name, group) in policy.groups.iter().filter(|(_, group)| group.line.is_some()) {
            places.push(named(&group.interfaces, group.line, &format!("group {name}"), COMES_IN));
        }
        places.push(named(&policy.block.interfaces, policy.block.line, "`block`", COMES_IN));
        // Those of the default are there for engines that this machine need not have.
        let default = Containers::default().interfaces;
        places.push(Named {
            interfaces: policy.containers.interfaces.iter().filter(|known| !default.contains(known)).collect(),
            line: policy.containers.lines.interfaces,
            place: "`containers: interfaces`".to_owned(),
            way: COMES_IN,
        });
        places
    }

    fn carries_nothing(&self, name: &str, line: Option<Line>, place: &str, way: &str) -> Option<Remark> {
        let told = |why: String, help: String| {
            let message = format!("{place} names {}, by which no packet {way}: {why}", quote(name));
            Some(Remark::new(Topic::Name, Weight::Warning, line, message, help))
        };
        if let Some(link) = self.link(name) {
            let master = self.link(link.master.as_deref()?)?;
            let kind = master.kind.as_deref().filter(|kind| MASTERS.contains(kind))?;
            let verb = if way == LEAVES { "leave" } else { "come in" };
            let why = format!("it is a port of the {kind} {}, and its packets {verb} by that", master.name);
            return told(why, format!("write {}", quote(&master.name)));
        }
        if let Some(link) = self.links().iter().find(|link| link.other_names.iter().any(|other| other == name)) {
            let why = format!("it is another name of {}, and rules see packets under the first", link.name);
            return told(why, format!("write {}", quote(&link.name)));
        }
        let known = self.links().iter().filter(|link| link.name != "lo").map(|link| link.name.as_str());
        let meant = nearest(name, known).map(|meant| format!("did you mean {}? ", quote(meant)));
        let help = "`ls /sys/class/net` lists all; an interface that comes later, such as a VPN's, needs no change";
        told("this machine has no such interface now".to_owned(), meant.unwrap_or_default() + help)
    }
}

fn named<'p>(interfaces: &'p BTreeSet<IfPattern>, line: Option<Line>, place: &str, way: &'static str) -> Named<'p> {
    Named { interfaces: interfaces.iter().collect(), line, place: place.to_owned(), way }
}

/// `a, b and c`, or `a, b, c and 4 more`.
pub fn some(words: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let words: Vec<String> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if words.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        [first, second, third, rest @ ..] => format!("{first}, {second}, {third} and {} more", rest.len()),
        _ => words.join(" and "),
    }
}
