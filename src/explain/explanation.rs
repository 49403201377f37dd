//! The verdict on a connection: as text for an operator who is asked at night why a port does not answer, and as
//! JSON.

use crate::explain::owner_of;
use crate::printable::printable;
use crate::render;
use crate::ruleset::{Expr, Hook, Provenance, Table, TableId, provenance::without_prefix, snat};
use crate::simulate::{
    Connection, Doubt, Effect, Interface, Part, Stage, Step, Translation, Traversal, Verdict, Way,
};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::IpAddr;

/// A connection, and what the rules and the routing do with it.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The tables that it passed.
    pub tables: Vec<(&'a TableId, &'a Table)>,
    /// The connection in words: `9000/tcp from 203.0.113.9 to 203.0.113.1 by eth0`.
    pub connection: String,
    /// Its packets, up to the one that does not pass.
    pub packets: Connection<'a>,
    /// Why the tables don't tell everything: rules that they don't show.
    pub beyond: Option<Doubt>,
}

impl Explanation<'_> {
    /// The verdict on the connection.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.packets.verdict() {
            _ if self.beyond.is_some() => Verdict::Unknown,
            Verdict::Allow if self.packets.fades().is_some() => Verdict::Unknown,
            verdict => verdict,
        }
    }

    /// The exit status: 0 allowed, 2 denied or rejected, 3 can't tell.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self.verdict() {
            Verdict::Allow => 0,
            Verdict::Deny | Verdict::Reject => 2,
            Verdict::Unknown => 3,
        }
    }

    fn table(&self, id: &TableId) -> Option<&Table> {
        self.tables.iter().find(|(other, _)| *other == id).map(|(_, table)| *table)
    }

    fn doubt(&self) -> Option<&Doubt> {
        let fades = self.packets.fades().filter(|_| self.packets.verdict() == Verdict::Allow);
        self.beyond.as_ref().or(fades).or_else(|| self.packets.doubt())
    }

    /// The reason for the verdict, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        let verdict = self.verdict();
        let (stage, traversal) = self.packets.decisive();
        let whose = stage.words().map_or_else(String::new, |words| format!("{words} is "));
        if verdict == Verdict::Unknown {
            return self.doubt().map_or_else(|| "the rules can't be followed".to_owned(), ToString::to_string);
        }
        if verdict == Verdict::Allow {
            return "no table denies it".to_owned();
        }
        if let Some(why) = traversal.astray() {
            return why.to_string();
        }
        if let Some(Way::Lost(why) | Way::Refused(why)) = traversal.end() {
            let denied = if whose.is_empty() { "" } else { "denied " };
            return format!("{whose}{denied}by the routing, not by a rule: {why}");
        }
        let by =
            traversal.trace.denied_by().map_or_else(String::new, |step| by(step, verdict, self.table(step.table)));
        let denied = if by.starts_with("by ") && !whose.is_empty() { "denied " } else { "" };
        format!("{whose}{denied}{by}")
    }

    /// The verdict and each step on the way.
    #[must_use]
    pub fn text(&self) -> String {
        let word = match self.verdict() {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
            Verdict::Reject => "rejected",
            Verdict::Unknown => "can't tell",
        };
        let connection = printable(&self.connection);
        let mut text = format!("{word}: {connection}\n  {}\n", printable(&self.reason()));
        for (stage, traversal) in self.packets.traversals() {
            match stage {
                Stage::First => {}
                Stage::Answer => {
                    let _ = writeln!(text, "\nthe answer{}", self.whose_answer());
                }
                Stage::Third => text.push_str("\nthe packet after the answer\n"),
                Stage::Sent | Stage::Returned => {
                    let _ = writeln!(text, "\n{}", stage.words().unwrap_or_default());
                }
            }
            self.steps_of(traversal, &mut text);
        }
        text
    }

    /// Who answers, and where that comes in if it is another's.
    fn whose_answer(&self) -> String {
        let Some((packet, _)) = &self.packets.answer else { return String::new() };
        match &packet.incoming {
            Interface::Named(name) => {
                format!(" from {}, taken to come in by {}", packet.source, printable(name))
            }
            _ => format!(" of this machine from {}", packet.source),
        }
    }

    /// `{"verdict", "reason", "connection", "translated_to", "packets", "steps"}`. `packets` are the first, the answer,
    /// the one after it and, if it may not pass, one that is sent or returned later, as far as they were followed. The
    /// `kind` of a step is `rule`, `policy` or `route`.
    #[must_use]
    pub fn json(&self) -> Value {
        let (mut steps, mut packets) = (Vec::new(), Vec::new());
        for (stage, traversal) in self.packets.traversals() {
            let packet = stage.name();
            packets.push(json!({ "packet": packet, "verdict": traversal.trace.verdict.name() }));
            for (index, step) in traversal.trace.steps.iter().enumerate() {
                steps.extend(
                    ways(traversal, index)
                        .map(|way| json!({ "packet": packet, "kind": "route", "text": way_text(way) })),
                );
                steps.push(self.step_json(step, packet));
            }
            let last = traversal.trace.steps.len();
            steps.extend(
                ways(traversal, last).map(|way| json!({ "packet": packet, "kind": "route", "text": way_text(way) })),
            );
        }
        json!({
            "verdict": self.verdict().name(),
            "reason": self.reason(),
            "connection": self.connection,
            "translated_to": self.packets.first.translated.map(|to| translation(&to)),
            "packets": packets,
            "steps": steps,
        })
    }

    fn step_json(&self, step: &Step<'_>, packet: &str) -> Value {
        let says = step.comment().and_then(Provenance::read);
        let target = match step.effect {
            Effect::Jump(chain) | Effect::Goto(chain) => Some(chain.to_owned()),
            Effect::Translate(to) => Some(translation(&to)),
            Effect::TranslateSource => self.new_source(step).map(|source| source.to_string()),
            _ => None,
        };
        json!({
            "packet": packet,
            "kind": if step.rule.is_some() { "rule" } else { "policy" },
            "hook": hook(step.hook),
            "family": step.table.family.to_string(),
            "table": step.table.name,
            "chain": step.chain,
            "index": step.rule.map(|(index, _)| index),
            "text": step.text(),
            "comment": step.comment(),
            "origin": says.filter(|_| is_ours(step)).map(|says| says.origin.to_string()),
            "owner": owner(step, self.table(step.table)),
            "effect": effect(&step.effect),
            "target": target,
            "certain": step.certain && step.doubt.is_none(),
            "doubt": step.doubt.as_deref(),
        })
    }

    /// The effects of each step of a packet, hook by hook.
    fn steps_of(&self, traversal: &Traversal<'_>, text: &mut String) {
        let mut at = None;
        for (index, step) in traversal.trace.steps.iter().enumerate() {
            for way in ways(traversal, index) {
                let _ = writeln!(text, "\nrouting: {}", way_text(way));
            }
            if at != Some(step.hook) {
                let _ = writeln!(text, "\n{}", hook(step.hook));
                at = Some(step.hook);
            }
            let _ = writeln!(text, "  {}", line(step, self.new_source(step)));
        }
        for way in ways(traversal, traversal.trace.steps.len()) {
            let _ = writeln!(text, "\nrouting: {}", way_text(way));
        }
    }

    /// The address that a rule gives the connection as its source; `None` if it is not known.
    fn new_source(&self, step: &Step<'_>) -> Option<IpAddr> {
        let (_, rule) = step.rule.filter(|_| step.effect == Effect::TranslateSource)?;
        if let Some(address) = snat(rule) {
            return Some(address);
        }
        match self.packets.answer.as_ref()?.0.part {
            Part::Answer(undone) => undone.masqueraded,
            _ => None,
        }
    }
}

fn ways<'j>(traversal: &'j Traversal<'_>, before: usize) -> impl Iterator<Item = &'j Way> {
    traversal.routed.iter().filter(move |decision| decision.after == before).map(|decision| &decision.way)
}

fn way_text(way: &Way) -> String {
    match way {
        Way::Local => "to this machine".to_owned(),
        Way::Out(interface) => format!("out by {}", printable(interface)),
        Way::Lost(why) | Way::Refused(why) => printable(why).into_owned(),
    }
}

/// A step on one line: `ip filter DOCKER: iifname "eth0" accept`, or our sentence with its line of the policy. `source`
/// is the address that it gives the connection as its source, if it is known.
fn line(step: &Step<'_>, source: Option<IpAddr>) -> String {
    let place = format!("{} {} {}", step.table.family, step.table.name, step.chain);
    let says = match step.comment().filter(|_| is_ours(step)) {
        Some(comment) => format!("{} -> {}", without_prefix(comment), effect_words(&step.effect, source)),
        None => text_of(step),
    };
    let comment = step.comment().filter(|_| !is_ours(step)).map(|comment| format!(" ({comment})"));
    let doubt = match &step.doubt {
        Some(why) => format!(", in doubt: {why}"),
        None if !step.certain => ", perhaps".to_owned(),
        None => String::new(),
    };
    let line = format!("{place}: {says}{}{doubt}", comment.unwrap_or_default());
    printable(&line).into_owned()
}

/// Who dropped or rejected the packet, and by which rule.
pub(crate) fn by(step: &Step<'_>, verdict: Verdict, table: Option<&Table>) -> String {
    let by = match step.comment() {
        Some(comment) if is_ours(step) => format!("by palisade: {}", without_prefix(comment)),
        None if is_ours(step) => format!("by palisade: `{}` of chain {}", step.text(), step.chain),
        _ => {
            let done = if verdict == Verdict::Reject { "rejected" } else { "dropped" };
            let whose = owner(step, table).map_or_else(String::new, |owner| format!("{owner}'s "));
            let (title, rule) = (render::table_title(step.table), text_of(step));
            format!("{done} by {whose}chain {} of {title}, not by palisade: `{rule}`", step.chain)
        }
    };
    printable(&by).into_owned()
}

/// A step's rule without its counters, which say nothing about the packet.
fn text_of(step: &Step<'_>) -> String {
    let Some((_, rule)) = step.rule else { return step.text() };
    let exprs = rule.exprs.iter().filter(|expr| !matches!(expr, Expr::Counter { .. }));
    render::expressions(step.table.family, &exprs.cloned().collect::<Vec<_>>())
}

fn is_ours(step: &Step<'_>) -> bool {
    *step.table == TableId::palisade()
}

/// Which program a step belongs to, as far as names tell.
pub(crate) fn owner(step: &Step<'_>, table: Option<&Table>) -> Option<&'static str> {
    owner_of(step.table, step.chain, table)
}

fn hook(hook: Hook) -> String {
    match hook {
        Hook::Other(5) => "ingress".to_owned(),
        Hook::Other(u32::MAX) => "egress".to_owned(),
        hook => hook.to_string(),
    }
}

fn translation(to: &Translation) -> String {
    match to.port {
        Some(port) => std::net::SocketAddr::new(to.address, port).to_string(),
        None => to.address.to_string(),
    }
}

const fn effect(effect: &Effect<'_>) -> &'static str {
    match effect {
        Effect::Continue => "continue",
        Effect::Jump(_) => "jump",
        Effect::Goto(_) => "goto",
        Effect::Return => "return",
        Effect::Accept => "accept",
        Effect::Drop => "drop",
        Effect::Reject => "reject",
        Effect::Translate(_) => "translate-destination",
        Effect::TranslateSource => "translate-source",
        Effect::Unknown => "unknown",
    }
}

fn effect_words(done: &Effect<'_>, source: Option<IpAddr>) -> String {
    match done {
        Effect::Jump(chain) | Effect::Goto(chain) => format!("chain {chain}"),
        Effect::Translate(to) => format!("destination becomes {}", translation(to)),
        Effect::TranslateSource => match source {
            Some(address) => format!("source becomes {address}"),
            None => "source becomes another address".to_owned(),
        },
        other => effect(other).to_owned(),
    }
}

/// Why the tables don't tell everything: the rules of iptables-legacy, whose tables are named, are not among them.
#[must_use]
pub fn beyond(legacy: &[String]) -> Option<Doubt> {
    let named = legacy.join(", ");
    (!legacy.is_empty())
        .then(|| format!("iptables-legacy rules are loaded (table {named}), which nf_tables does not show").into())
}
