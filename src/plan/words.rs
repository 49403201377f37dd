//! A plan as text for people, and as JSON.

use super::{Fate, Lines, Plan, PortPlan};
use crate::exposure::{kind, port_json, protocol, width};
use crate::printable::printable;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How many lines of what nobody listens on, or of what goes elsewhere, are shown.
const SHOWN: usize = 8;
/// How many names of lines are shown.
const SHOWN_NAMES: usize = 6;
/// How many ports stand on a line below what the same sources gain or lose at all of them.
const ON_A_LINE: usize = 4;

const HEADINGS: [(Fate, &str); 6] = [
    (Fate::Closes, "closes"),
    (Fate::Narrows, "narrows"),
    (Fate::Changes, "changes"),
    (Fate::Opens, "opens"),
    (Fate::Unknown, "can't be told"),
    (Fate::Stays, "stays"),
];

impl Plan {
    /// The plan for people, of several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = headline(&self.lines, self.operations);
        match &self.ports {
            Ok(ports) => write_ports(&mut text, ports),
            Err(why) => {
                let _ = writeln!(text, "\nwho listens is not known: {}", printable(why));
                return text;
            }
        }
        let some = |text: &mut String, heading: &str, lines: &[String]| {
            if lines.is_empty() {
                return;
            }
            let _ = writeln!(text, "\n{heading}");
            lines.iter().take(SHOWN).for_each(|line| text.push_str(&format!("  {}\n", printable(line))));
            if let Some(more) = lines.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                let _ = writeln!(text, "  and {more} more, see --json");
            }
        };
        some(&mut text, "opens, where nobody listens yet", &self.unheard);
        some(&mut text, "out and through", &self.elsewhere);
        for (session, stays) in &self.sessions {
            let becomes = if *stays { "stays" } else { "could not connect again" };
            let _ = writeln!(text, "\n{session} {becomes}");
        }
        text
    }

    /// The plan for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let ports = self.ports.as_ref().map(|ports| ports.iter().map(PortPlan::json).collect::<Vec<_>>());
        let sessions = self.sessions.iter().map(|(session, stays)| json!({ "session": session, "stays": stays }));
        let mut json = json!({
            "lines": self.lines,
            "operations": self.operations,
            "ports": ports.as_ref().ok(),
            "sessions": sessions.collect::<Vec<_>>(),
        });
        if let (Err(why), Some(fields)) = (&self.ports, json.as_object_mut()) {
            fields.insert("unknown".to_owned(), json!(why));
        }
        json
    }
}

/// `1 added (dashboard); 14 changes to make`, as a line.
#[must_use]
pub fn headline(lines: &Lines, operations: usize) -> String {
    format!("{}; {}\n", lines.summary(), counted(operations))
}

impl Lines {
    /// `1 added (dashboard), 2 changed (group trusted, ssh)`
    fn summary(&self) -> String {
        let all = [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)];
        let some = all.into_iter().filter(|(_, names)| !names.is_empty());
        let said: Vec<String> =
            some.map(|(what, names)| format!("{} {what} ({})", names.len(), few(names))).collect();
        if said.is_empty() { "no line of the policy added, changed or removed".to_owned() } else { said.join(", ") }
    }
}

/// The first names, and how many more there are.
fn few(names: &BTreeSet<String>) -> String {
    let mut said: Vec<String> = names.iter().take(SHOWN_NAMES).map(|name| printable(name).into_owned()).collect();
    said.extend(names.len().checked_sub(SHOWN_NAMES).filter(|more| *more > 0).map(|more| format!("and {more} more")));
    said.join(", ")
}

fn counted(operations: usize) -> String {
    if operations == 1 { "1 change to make".to_owned() } else { format!("{operations} changes to make") }
}

fn write_ports(text: &mut String, ports: &[PortPlan]) {
    let first = width(ports.iter().map(|port| &port.port), "");
    let second = width(ports.iter().map(|port| &port.owner), "");
    for (fate, heading) in HEADINGS {
        let mut left: Vec<&PortPlan> = ports.iter().filter(|port| port.fate == fate).collect();
        if !left.is_empty() {
            let _ = writeln!(text, "\n{heading}");
        }
        while let Some(port) = left.first().copied() {
            let alike: Vec<&PortPlan> = left.iter().filter(|other| other.is_alike(port)).copied().collect();
            if alike.len() > 1 {
                write_alike(text, &alike);
                left.retain(|other| !other.is_alike(port));
                continue;
            }
            left.remove(0);
            let PortPlan { port: name, owner, .. } = port;
            let _ = writeln!(text, "  {name:<first$}  {owner:<second$}  {}", port.becomes());
        }
    }
}

/// Says once what the same sources gain or lose at several ports.
fn write_alike(text: &mut String, ports: &[&PortPlan]) {
    let said = ports.first().map(|port| port.said.join(";")).unwrap_or_default();
    let _ = writeln!(text, "  {}", printable(said.trim_start_matches([' ', ':'])));
    let names: Vec<String> = ports.iter().map(|port| format!("{} {}", port.port, port.owner)).collect();
    for names in names.chunks(ON_A_LINE) {
        let _ = writeln!(text, "    {}", names.join(", "));
    }
}

impl PortPlan {
    /// Whether the same sources, but not everyone, gain or lose both ports.
    fn is_alike(&self, other: &Self) -> bool {
        let everyone = |names: &[String]| names.iter().any(|name| name == "any");
        let some = |port: &Self| !everyone(&port.gains) && !everyone(&port.loses) && !port.said.is_empty();
        self.fate == other.fate && self.said == other.said && some(self) && some(other)
    }

    /// `everyone → trusted (3 addresses)`
    fn becomes(&self) -> String {
        let [before, after] = &self.who;
        if before != after {
            return format!("{before} → {after}");
        }
        if self.said.is_empty() { after.clone() } else { format!("{after}{}", printable(&self.said.join(";"))) }
    }

    fn json(&self) -> Value {
        let [before, after] = &self.reachable_from;
        json!({
            "port": port_json(&self.row),
            "proto": protocol(&self.row),
            "owner": self.row.owner,
            "kind": kind(&self.row),
            "change": self.fate,
            "before": before,
            "after": after,
            "gains": self.gains,
            "loses": self.loses,
        })
    }
}
