//! Who reaches a port.

use super::asked::{Asked, Target};
use super::{CANT_TELL, DENIED, MOST_MESSAGES, Question};
use crate::commands::Report;
use crate::commands::exposure::{Found, Kernel};
use crate::commands::with_file;
use crate::denied::services_about;
use crate::error::Error;
use crate::exposure::{Row, exposure_of, row_json, table};
use crate::printable::printable;
use crate::resolve::Action;
use crate::ruleset::TableId;
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) fn report(question: &Question<'_>, asked: &Asked, found: &Found) -> Result<Report, Error> {
    let planned = question.desired.map(|desired| (&desired.id, &desired.table));
    question.socket.ask_live(|live| {
        let kernel = Kernel { socket: question.socket, routing: question.routing, live, planned };
        let of_port = |target: &Target| -> Result<(Vec<Row>, bool), Error> {
            let (protocol, port) = target.numbers();
            kernel.on_machine(found, MOST_MESSAGES, |machine| exposure_of(machine, protocol, port))
        };
        let answers: Vec<(Vec<Row>, bool)> = asked.targets.iter().map(of_port).collect::<Result<_, Error>>()?;
        let is_loaded = planned.is_some() || live.ruleset.tables.contains_key(&TableId::palisade());
        Ok(written(question, asked, &answers, &kernel, is_loaded))
    })?
}

fn written(
    question: &Question<'_>,
    asked: &Asked,
    answers: &[(Vec<Row>, bool)],
    kernel: &Kernel<'_>,
    is_loaded: bool,
) -> Report {
    let rows: Vec<Row> = answers.iter().flat_map(|(rows, _)| rows.clone()).collect();
    let listings = kernel.listings(&rows);
    let mut text = format!("{}\n", table(&rows, &listings));
    let mut ports: Vec<Value> = Vec::new();
    for (target, (rows, listens)) in asked.targets.iter().zip(answers) {
        let services = services(question, *target);
        for (words, _) in &services {
            let _ = writeln!(text, "{}", printable(words));
        }
        if services.is_empty() && question.policy.is_some() {
            let _ = writeln!(text, "no service has {}", target.words());
        }
        if !listens {
            let _ = writeln!(text, "nothing listens on {} here: the row says who would reach it", target.words());
        }
        let services: Vec<Value> = services.into_iter().map(|(_, json)| json).collect();
        for row in rows {
            let mut port = row_json(row, &listings);
            if let Some(fields) = port.as_object_mut() {
                fields.insert("asked".to_owned(), json!(target.words()));
                fields.insert("listens".to_owned(), json!(listens));
                fields.insert("services".to_owned(), json!(services));
            }
            ports.push(port);
        }
    }
    if let Some(note) = &asked.note {
        let _ = writeln!(text, "{note}");
    }
    if !is_loaded {
        text.push_str("palisade itself is not loaded: `palisade apply` loads the policy\n");
    }
    let is_unknown = |row: &Row| row.reach.iter().flatten().any(|reach| !reach.unknown.is_empty());
    let (verdict, status) = if rows.iter().any(|row| !row.admitted.is_empty()) {
        ("allow", 0)
    } else if rows.iter().any(is_unknown) {
        ("unknown", CANT_TELL)
    } else {
        ("deny", DENIED)
    };
    let json = json!({ "verdict": verdict, "steps": [], "ports": ports, "note": asked.note });
    Report { status, text: text.trim_start().into(), json }
}

/// The services of the policy that have a port, in words and for programs.
fn services(question: &Question<'_>, target: Target) -> Vec<(String, Value)> {
    let (Some(policy), Some(wanted)) = (question.policy, target.wanted()) else { return Vec::new() };
    let one = |(name, service): (&str, &crate::resolve::Service)| {
        let does = match service.action {
            Action::Allow => "has",
            Action::Deny | Action::Reject => "denies",
        };
        let limit = service.limit.map(|rate| rate.to_string());
        let at_most = limit.as_ref().map(|limit| format!(", at most {limit} of each address")).unwrap_or_default();
        let place = policy.place(service.line);
        (
            format!("the service {name} {does} {}{at_most} ({place})", target.words()),
            with_file(json!({ "name": name, "line": service.line, "limit": limit }), Some((policy, service.line))),
        )
    };
    services_about(policy, wanted).into_iter().map(one).collect()
}
