//! Interfaces that the policy names, although no packet comes in under that name.

use super::{Preflight, Remark, Topic, Weight};
use crate::net::IfPattern;
use crate::policy::{nearest, quote};
use crate::printable::is_invisible;
use crate::resolve::{Containers, Line};
use std::collections::{BTreeMap, BTreeSet};

/// The kinds of interfaces whose ports hand them their packets before any rule sees them.
const MASTERS: [&str; 3] = ["bridge", "bond", "team"];

impl Preflight<'_> {
    /// One warning for each name that carries no packet. A pattern such as `br-*` is about interfaces to come.
    pub(super) fn names(&self) -> Vec<Remark> {
        if self.machine.links.is_none() {
            return Vec::new();
        }
        let named = self.named();
        named.iter().filter_map(|(name, (line, place))| self.carries_nothing(name, *line, place)).collect()
    }

    /// The names in the policy, each with its first line and where it stands.
    fn named(&self) -> BTreeMap<String, (Option<Line>, String)> {
        let policy = self.policy;
        let mut places: Vec<(&BTreeSet<IfPattern>, Option<Line>, String)> = Vec::new();
        for (name, service) in &policy.services {
            places.push((&service.on, Some(service.line), format!("service {name} (`on`)")));
            for peers in [&service.from, &service.except] {
                places.push((&peers.interfaces, peers.line, format!("service {name}")));
            }
        }
        for (name, group) in policy.groups.iter().filter(|(_, group)| group.line.is_some()) {
            places.push((&group.interfaces, group.line, format!("group {name}")));
        }
        places.push((&policy.block.interfaces, policy.block.line, "`block`".to_owned()));
        // Those of the default are there for engines that this machine need not have.
        let default = Containers::default().interfaces;
        let of_containers: BTreeSet<IfPattern> = policy.containers.interfaces.difference(&default).cloned().collect();
        places.push((&of_containers, policy.containers.lines.interfaces, "`containers: interfaces`".to_owned()));
        let mut named = BTreeMap::new();
        for (interfaces, line, place) in places {
            for interface in interfaces.iter().filter(|interface| !interface.wildcard && interface.name != "lo") {
                named.entry(interface.name.clone()).or_insert_with(|| (line, place.clone()));
            }
        }
        named
    }

    fn carries_nothing(&self, name: &str, line: Option<Line>, place: &str) -> Option<Remark> {
        let told = |why: String, help: String| {
            let message = format!("{place} names {}, by which no packet comes in: {why}", quote(name));
            Some(Remark::new(Topic::Name, Weight::Warning, line, message, help))
        };
        if let Some(link) = self.link(name) {
            let master = self.link(link.master.as_deref()?)?;
            let kind = master.kind.as_deref().filter(|kind| MASTERS.contains(kind))?;
            let why = format!("it is a port of the {kind} {}, and its packets come in by that", master.name);
            return told(why, format!("write {}", quote(&master.name)));
        }
        if let Some(link) = self.links().iter().find(|link| link.other_names.iter().any(|other| other == name)) {
            let why = format!("it is another name of {}, and rules see packets under the first", link.name);
            return told(why, format!("write {}", quote(&link.name)));
        }
        let known = self.links().iter().filter(|link| link.name != "lo").map(|link| link.name.as_str());
        let meant = nearest(name, known).map(|meant| format!("did you mean {}? ", quote(meant)));
        let help = "`ip link` lists all; an interface that comes later, such as a VPN's, needs no change";
        told("this machine has no such interface now".to_owned(), meant.unwrap_or_default() + help)
    }
}

/// A name as YAML, quoted if necessary; `None` if no policy can contain it.
#[must_use]
pub fn in_a_policy(name: &str) -> Option<String> {
    // YAML does not read these as names.
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !words.contains(&name.to_ascii_lowercase().as_str())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let refused = |c: char| c.is_whitespace() || is_invisible(c) || "/:\"'\\`*".contains(c);
    match name {
        _ if plain => Some(name.to_owned()),
        _ if name.contains(refused) => None,
        _ => Some(format!("\"{name}\"")),
    }
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
