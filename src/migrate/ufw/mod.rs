//! An installation of ufw as a policy.
//!
//! ```text
//! user.rules ─ tuples, rules ─► units: one command each
//!            ─ cut ─► what is left of each behind the earlier ones ─ service ─► write ─► the policy
//!            ─ expect ─► what has to be true of it
//! ```

mod cut;
mod expect;
mod incoming;
mod names;
mod report;
mod rules;
mod service;
mod settings;
mod spans;
mod tuples;
mod units;
mod write;

#[cfg(test)]
mod tests;

pub use report::{Entry, Fate, Note, Report};

use crate::net::Version;
use cut::Plan;
use names::Names;
use rules::Rules;
use service::Bridges;
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use tuples::Action;
use write::Document;

/// The folder of the rules, and where older releases kept them.
const RULES: [&str; 3] = ["etc/ufw", "lib/ufw", "var/lib/ufw"];
/// The settings.
const DEFAULTS: &str = "etc/default/ufw";
const CONF: &str = "etc/ufw/ufw.conf";

/// The files that are read, where they are there. Their paths are relative to the root.
pub const FILES: [&str; 8] = [
    DEFAULTS,
    CONF,
    "etc/ufw/user.rules",
    "etc/ufw/user6.rules",
    "lib/ufw/user.rules",
    "lib/ufw/user6.rules",
    "var/lib/ufw/user.rules",
    "var/lib/ufw/user6.rules",
];

/// What was read of an installation.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// The files by their paths, as [`FILES`] names them.
    pub files: BTreeMap<String, String>,
}

/// A policy, and what became of each rule.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The policy's text.
    pub policy: String,
    /// The report.
    pub report: Report,
}

/// Translates an installation.
///
/// # Errors
/// There is none, or ufw itself could not use it: in words.
pub fn import(installation: &Installation) -> Result<Imported, String> {
    let file = |path: &str| installation.files.get(path).map(String::as_str);
    let defaults = file(DEFAULTS).ok_or("etc/default/ufw is not there: no ufw is installed below this root")?;
    let settings = settings::read(defaults, file(CONF).unwrap_or_default())?;
    let folder = RULES.into_iter().find(|folder| file(&format!("{folder}/user.rules")).is_some());
    let folder = folder.ok_or("etc/ufw/user.rules is not there: ufw has no rules below this root")?;
    let four = rules::read(file(&format!("{folder}/user.rules")).unwrap_or_default(), Version::V4);
    let six = match file(&format!("{folder}/user6.rules")) {
        Some(text) if settings.six => rules::read(text, Version::V6),
        _ => Rules::default(),
    };
    let mut report = Report::default();
    let bridges = Bridges { default_denies: settings.incoming != Action::Allow, ..Bridges::default() };
    let (plan, redirects) = (Plan { default: settings.incoming }, Vec::new());
    let mut names = Names::default();
    let context = incoming::Context { plan, redirects: &redirects, bridges: &bridges };
    let made = incoming::translate(&four, &six, &context, &mut names);
    let [deciding_four, deciding_six] = &made.deciding;
    let expect = expect::expectations(&expect::Rules {
        deciding: [deciding_four, deciding_six],
        inexact: &made.inexact,
        redirects: &redirects,
        default: settings.incoming,
        six: settings.six,
    });
    report.rules = made.entries;
    not_of_ufw(&four, &six, &mut report);
    standing(&settings, &made.services, made.one_version, &mut report);
    let document = Document {
        head: head(&settings),
        defaults: defaults_of(&settings),
        denied: denied(&settings.level),
        services: made.services,
        expect,
        ..Document::default()
    };
    Ok(Imported { policy: document.text(), report })
}

fn head(settings: &Settings) -> Vec<String> {
    let mut head = vec![
        "Written by `palisade import ufw`. Read its report, keep this as /etc/palisade/policy.yaml, and then:".to_owned(),
        "  palisade check".to_owned(),
        "  palisade apply --confirm 60s     and `palisade confirm` in a new connection".to_owned(),
    ];
    if !settings.enabled {
        head.push("ufw was not enabled: these rules were not in force.".to_owned());
    }
    head
}

fn word(action: Action) -> String {
    if action == Action::Limit { Action::Deny.name() } else { action.name() }.to_owned()
}

fn defaults_of(settings: &Settings) -> Vec<(&'static str, String)> {
    vec![
        ("incoming", word(settings.incoming)),
        ("outgoing", word(settings.outgoing)),
        ("forward", word(settings.forward)),
    ]
}

/// How often ufw logged what it denied.
fn denied(level: &str) -> Option<String> {
    Some(if level == "off" { "off" } else { "3/minute" }.to_owned())
}

/// What stands in the files of rules and is not ufw's.
fn not_of_ufw(four: &Rules, six: &Rules, report: &mut Report) {
    for (name, rules) in [("user.rules", four), ("user6.rules", six)] {
        for (line, text, why) in &rules.malformed {
            report.rules.push(Entry {
                fate: Fate::NotTranslated,
                rule: text.clone(),
                places: vec![format!("{name}:{line}")],
                why: vec![format!("malformed, and skipped by ufw, too: {why}")],
            });
        }
        for (line, text) in &rules.by_hand {
            report.rules.push(Entry {
                fate: Fate::NotTranslated,
                rule: text.clone(),
                places: vec![format!("{name}:{line}")],
                why: vec!["edited by hand: ufw would lose it at its next command".to_owned()],
            });
        }
    }
}

/// What is said once.
fn standing(settings: &Settings, services: &[service::Service], one_version: Option<Version>, report: &mut Report) {
    if !settings.enabled {
        report.remark("ufw was not enabled (ENABLED=no in ufw.conf): these rules were not in force");
    }
    if services.iter().any(|service| service.limit) {
        report.note(
            None,
            "`limit: 5/minute` is never more open than ufw's limit, which let in 5 at once and 10 a minute; ufw refused \
             the excess and counted over all limited ports together, palisade drops it and counts for each service",
        );
    }
    if settings.six {
        if let Some(version) = one_version {
            let all = if version == Version::V4 { "0.0.0.0/0" } else { "::/0" };
            report.note(None, format!("containers are in `any` and not in `{all}`: add `containers` where they ask such a port over {version}"));
        }
    } else {
        report.note(
            Some(DEFAULTS.to_owned()),
            "IPV6=no: `\"0.0.0.0/0\"` stands where ufw said any, which leaves containers out; and this machine may send over \
             IPv6 now, which ufw dropped",
        );
    }
    let unused: BTreeSet<&str> = BTreeSet::from(["medium", "high", "full"]);
    if unused.contains(settings.level.as_str()) {
        report.note(
            Some(CONF.to_owned()),
            format!("LOGLEVEL={} also logged what is allowed: palisade logs that where a service has `log: true`", settings.level),
        );
    }
}
