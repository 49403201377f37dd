//! The verdict on a connection: as text for an operator who is asked at night why a port does not answer, and as
//! JSON.

use crate::explain::owner_of;
use crate::printable::printable;
use crate::render;
use crate::ruleset::{Expr, Hook, Provenance, Table, TableId, provenance::without_prefix};
use crate::simulate::{Doubt, Effect, Journey, Step, Translation, Verdict, Way};
use serde_json::{Value, json};
use std::fmt::Write;

/// A connection, and what the rules and the routing do with it.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The tables that it passed.
    pub tables: Vec<(&'a TableId, &'a Table)>,
    /// The connection in words: `9000/tcp from 203.0.113.9 to 203.0.113.1 by eth0`.
    pub connection: String,
    /// Its first packet.
    pub first: Journey<'a>,
    /// The answer to it, if that was followed.
    pub answer: Option<Journey<'a>>,
    /// Why the tables don't tell everything: rules that they don't show.
    pub beyond: Option<Doubt>,
}

impl Explanation<'_> {
    /// The verdict on the connection.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let answered = self.first.trace.verdict == Verdict::Allow;
        match self.decisive().trace.verdict {
            _ if self.beyond.is_some() => Verdict::Unknown,
            // A rejected answer is reported to this machine, its sender. The client hears nothing.
            Verdict::Reject if answered => Verdict::Deny,
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

    /// The packet that decides the verdict.
    fn decisive(&self) -> &Journey<'_> {
        let answer = self.answer.as_ref().filter(|answer| answer.trace.verdict != Verdict::Allow);
        answer.filter(|_| self.first.trace.verdict == Verdict::Allow).unwrap_or(&self.first)
    }

    fn table(&self, id: &TableId) -> Option<&Table> {
        self.tables.iter().find(|(other, _)| *other == id).map(|(_, table)| *table)
    }

    fn doubt(&self) -> Option<&Doubt> {
        self.beyond.as_ref().or_else(|| self.decisive().doubt())
    }

    /// The reason for the verdict, in one line.
    fn reason(&self) -> String {
        let verdict = self.verdict();
        let journey = self.decisive();
        if verdict == Verdict::Unknown {
            return self.doubt().map_or_else(|| "the rules can't be followed".to_owned(), ToString::to_string);
        }
        if verdict == Verdict::Allow {
            return "no table denies it".to_owned();
        }
        if let Some(Way::Lost(why) | Way::Refused(why)) = journey.turns.last().map(|turn| &turn.way) {
            return format!("by the routing, not by a rule: {why}");
        }
        journey.trace.denied_by().map_or_else(String::new, |step| by(step, verdict, self.table(step.table)))
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
        steps_of(&self.first, &mut text);
        if let Some(answer) = self.answer.as_ref().filter(|answer| answer.trace.verdict != Verdict::Allow) {
            text.push_str("\nthe answer to it\n");
            steps_of(answer, &mut text);
        }
        text
    }

    /// `{"verdict", "reason", "connection", "translated_to", "steps"}`. The `kind` of a step is `rule`, `policy` or
    /// `route`.
    #[must_use]
    pub fn json(&self) -> Value {
        let journeys = [Some((&self.first, "first")), self.answer.as_ref().map(|answer| (answer, "answer"))];
        let mut steps = Vec::new();
        for (journey, packet) in journeys.into_iter().flatten() {
            for (index, step) in journey.trace.steps.iter().enumerate() {
                steps.extend(
                    ways(journey, index)
                        .map(|way| json!({ "packet": packet, "kind": "route", "text": way_text(way) })),
                );
                steps.push(step_json(step, packet, self.table(step.table)));
            }
            let last = journey.trace.steps.len();
            steps.extend(
                ways(journey, last).map(|way| json!({ "packet": packet, "kind": "route", "text": way_text(way) })),
            );
        }
        json!({
            "verdict": self.verdict().name(),
            "reason": self.reason(),
            "connection": self.connection,
            "translated_to": self.first.translated.map(|to| translation(&to)),
            "steps": steps,
        })
    }
}

fn step_json(step: &Step<'_>, packet: &str, table: Option<&Table>) -> Value {
    let says = step.comment().and_then(Provenance::read);
    let target = match step.effect {
        Effect::Jump(chain) | Effect::Goto(chain) => Some(chain.to_owned()),
        Effect::Translate(to) => Some(translation(&to)),
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
        "owner": owner(step, table),
        "effect": effect(&step.effect),
        "target": target,
        "certain": step.certain && step.doubt.is_none(),
        "doubt": step.doubt.as_deref(),
    })
}

/// What each step of a packet does, hook by hook.
fn steps_of(journey: &Journey<'_>, text: &mut String) {
    let mut at = None;
    for (index, step) in journey.trace.steps.iter().enumerate() {
        for way in ways(journey, index) {
            let _ = writeln!(text, "\nrouting: {}", way_text(way));
        }
        if at != Some(step.hook) {
            let _ = writeln!(text, "\n{}", hook(step.hook));
            at = Some(step.hook);
        }
        let _ = writeln!(text, "  {}", line(step));
    }
    for way in ways(journey, journey.trace.steps.len()) {
        let _ = writeln!(text, "\nrouting: {}", way_text(way));
    }
}

fn ways<'j>(journey: &'j Journey<'_>, before: usize) -> impl Iterator<Item = &'j Way> {
    journey.turns.iter().filter(move |turn| turn.after == before).map(|turn| &turn.way)
}

fn way_text(way: &Way) -> String {
    match way {
        Way::Local => "to this machine".to_owned(),
        Way::Out(interface) => format!("out by {}", printable(interface)),
        Way::Lost(why) | Way::Refused(why) => printable(why).into_owned(),
    }
}

/// A step on one line: `ip filter DOCKER: iifname "eth0" accept`, or our sentence with its line of the policy.
fn line(step: &Step<'_>) -> String {
    let place = format!("{} {} {}", step.table.family, step.table.name, step.chain);
    let says = match step.comment().filter(|_| is_ours(step)) {
        Some(comment) => format!("{} -> {}", without_prefix(comment), effect_words(&step.effect)),
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

fn effect_words(done: &Effect<'_>) -> String {
    match done {
        Effect::Jump(chain) | Effect::Goto(chain) => format!("chain {chain}"),
        Effect::Translate(to) => format!("translated to {}", translation(to)),
        other => effect(other).to_owned(),
    }
}

/// Why the tables don't tell everything: the rules of iptables-legacy, whose tables are named in `legacy`, are not among
/// them, and chains of bridges may drop frames, and are not followed.
#[must_use]
pub fn beyond<'a>(tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>, legacy: &[String]) -> Option<Doubt> {
    use crate::ruleset::{Family, Policy, Verdict as Says};
    if !legacy.is_empty() {
        let legacy = legacy.join(", ");
        return Some(
            format!("iptables-legacy rules are loaded (table {legacy}), which nf_tables does not show").into(),
        );
    }
    let harmless = |expr: &Expr| {
        matches!(expr, Expr::Counter { .. } | Expr::Verdict(Says::Accept | Says::Continue | Says::Return))
    };
    let mut of_bridges = tables.into_iter().filter(|(id, _)| id.family == Family::Bridge);
    let (id, _) = of_bridges.find(|(_, table)| {
        table.chains.values().any(|chain| {
            let drops = chain.base.as_ref().is_some_and(|base| base.policy == Policy::Drop);
            drops || chain.rules.iter().any(|rule| !rule.exprs.iter().all(harmless))
        })
    })?;
    Some(
        format!("{} judges frames between the ports of a bridge, which is not followed", render::table_title(id))
            .into(),
    )
}
