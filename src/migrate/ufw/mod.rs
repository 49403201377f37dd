//! An installation of ufw as a policy.
//!
//! ```text
//! user.rules ─ tuples, rules ─► units: one command each
//!            ─ cut ─► what is left of each behind the earlier ones ─ service ─► write ─► the policy
//!            ─ expect ─► what has to be true of it
//! ```

mod expect;
mod incoming;
mod more;
mod routed;
mod rules;
mod sent;
mod settings;
mod tuples;
mod units;

use crate::machine::PublishedPort;
use crate::migrate::cut::{Plan, Translated};
use crate::migrate::names::Names;
use crate::migrate::report::{Entry, Fate, Report};
use crate::migrate::service::{Bridges, Service, joined};
use crate::migrate::tuple::Action;
use crate::migrate::write::{APPLY, CHECK, Document, Rule};
use crate::migrate::{Imported, Live};
use crate::net::Version;
use rules::Rules;
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// The folder of the rules, and where older releases kept them.
const RULES: [&str; 3] = ["etc/ufw", "lib/ufw", "var/lib/ufw"];
/// The settings.
const DEFAULTS: &str = "etc/default/ufw";
const CONF: &str = "etc/ufw/ufw.conf";

/// The files that are read, where they are there. Their paths are relative to the root.
pub const FILES: [&str; 19] = [
    DEFAULTS,
    CONF,
    "etc/ufw/user.rules",
    "etc/ufw/user6.rules",
    "lib/ufw/user.rules",
    "lib/ufw/user6.rules",
    "var/lib/ufw/user.rules",
    "var/lib/ufw/user6.rules",
    "etc/ufw/before.rules",
    "etc/ufw/before6.rules",
    "etc/ufw/after.rules",
    "etc/ufw/after6.rules",
    "usr/share/ufw/iptables/before.rules",
    "usr/share/ufw/iptables/before6.rules",
    "usr/share/ufw/iptables/after.rules",
    "usr/share/ufw/iptables/after6.rules",
    "etc/ufw/sysctl.conf",
    "etc/ufw/before.init",
    "etc/ufw/after.init",
];

/// What was read of an installation.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// The files by their paths, as [`FILES`] names them.
    pub files: BTreeMap<String, String>,
    /// Those that are executable.
    pub executable: BTreeSet<String>,
    /// The machine that they are of, where it is this one.
    pub live: Option<Live>,
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
    Ok(translated(installation, &settings, [&four, &six]))
}

fn translated(installation: &Installation, settings: &Settings, [four, six]: [&Rules; 2]) -> Imported {
    let mut report = Report::default();
    let bridges = Bridges::of(installation.live.as_ref(), settings.incoming != Action::Allow);
    let more = more::read(&installation.files, &mut report);
    let plan = Plan { default: settings.incoming, ping: None };
    let translated = Translated { redirects: more.redirects.clone(), refused: more.refused.clone() };
    let mut names = Names::default();
    let context = incoming::Context { plan, translated: &translated, bridges: &bridges };
    let made = incoming::translate(four, six, &context, &mut names);
    let [deciding_four, deciding_six] = &made.deciding;
    let expect = expect::expectations(&expect::Rules {
        deciding: [deciding_four, deciding_six],
        inexact: &made.inexact,
        translated: &translated,
        default: settings.incoming,
        six: settings.six,
    });
    let published = installation.live.as_ref().map(|live| live.published.as_slice());
    let (default, has_docker) = (settings.forward, more.has_docker);
    let context = routed::Context { default, bridges: &bridges, has_docker, published };
    let mut routed = routed::translate(four, six, &context, &mut names);
    let mut sent = sent::translate(four, six, settings.outgoing, &mut names);
    let services = made.services.into_iter().chain(std::mem::take(&mut routed.services));
    let mut services: Vec<Service> = joined(services.collect());
    if !settings.six {
        without_six(settings, &mut names, &mut services, &mut sent.rules, &mut routed.rules);
    }
    let entries = made.entries.into_iter().chain(sent.entries).chain(std::mem::take(&mut routed.entries));
    report.rules.splice(0..0, entries);
    not_of_ufw(four, six, &mut report);
    more::of_the_machine(&installation.files, &installation.executable, &mut report);
    standing(settings, &services, made.one_version, &mut report);
    of_containers(&services, &more, published.unwrap_or_default(), &mut report);
    let document = Document {
        firewall: "ufw",
        host: None,
        named: Vec::new(),
        head: head(settings),
        defaults: defaults_of(settings, more.ping),
        denied: denied(&settings.level),
        services,
        offers: [routed.offers, multicast(&more, settings, &mut report)],
        nat: more.nat(&mut names),
        outgoing: sent.rules,
        forward: routed.rules,
        expect,
    };
    Imported { policy: document.text(), report }
}

/// Denies IPv6 in each direction whose default allows, as ufw did where it was told to leave IPv6 alone.
fn without_six(
    settings: &Settings,
    names: &mut Names,
    services: &mut Vec<Service>,
    outgoing: &mut Vec<Rule>,
    forward: &mut Vec<Rule>,
) {
    let (ports, all) = (vec!["any".to_owned()], vec!["\"::/0\"".to_owned()]);
    let (action, places) = (Some("deny"), vec![format!("{DEFAULTS}: IPV6=no")]);
    if settings.incoming == Action::Allow {
        let (name, from) = (names.free("no-ipv6-in"), all.clone());
        let (ports, places) = (ports.clone(), places.clone());
        services.insert(0, Service { name, ports, from, action, places, ..Service::default() });
    }
    let rule = |name: String, from: Vec<String>, to: Vec<String>| Rule {
        name,
        ports: ports.clone(),
        from,
        to,
        action,
        places: places.clone(),
        ..Rule::default()
    };
    if settings.outgoing == Action::Allow {
        outgoing.insert(0, rule(names.free("no-ipv6"), vec!["host".to_owned()], all.clone()));
    }
    if settings.forward == Action::Allow {
        forward.insert(0, rule(names.free("no-ipv6-through"), all, vec!["any".to_owned()]));
    }
}

/// What everyone could ask by multicast, as lines to take over.
fn multicast(more: &more::More, settings: &Settings, report: &mut Report) -> Vec<String> {
    if settings.incoming == Action::Allow {
        return Vec::new();
    }
    let [names, devices] = more.multicast;
    let mdns = "mdns: { ports: 5353/udp, from: any, to: [224.0.0.251, \"ff02::fb\"] }";
    let upnp = "upnp: { ports: 1900/udp, from: any, to: [239.255.255.250, \"ff02::f\"] }";
    let lines: Vec<&str> =
        [(names, mdns), (devices, upnp)].into_iter().filter(|(is, _)| *is).map(|(_, line)| line).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    report.remark(
        "ufw let everyone ask by multicast (before.rules): to keep it, take over the lines below the services",
    );
    let head = "ufw let everyone ask by multicast. To keep it, add to `services`:".to_owned();
    std::iter::once(head).chain(lines.into_iter().map(|line| format!("  {line}"))).collect()
}

/// What containers publish, past ufw.
fn of_containers(services: &[Service], more: &more::More, published: &[PublishedPort], report: &mut Report) {
    if more.has_docker {
        report.note(
            Some("etc/ufw/after.rules".to_owned()),
            "ufw-docker let every private address reach every published port; palisade does not: add `private` to `from` \
             where you rely on it",
        );
        return;
    }
    crate::migrate::published::closed_now("ufw", services, published, report);
}

fn head(settings: &Settings) -> Vec<String> {
    let mut head = vec![
        "Written by `palisade import ufw`. Read its report, keep this as /etc/palisade/policy.yaml, and then:"
            .to_owned(),
        CHECK.to_owned(),
        APPLY.to_owned(),
    ];
    if !settings.enabled {
        head.push("ufw was not enabled: these rules were not in force.".to_owned());
    }
    head
}

fn word(action: Action) -> String {
    if action == Action::Limit { Action::Deny.name() } else { action.name() }.to_owned()
}

fn defaults_of(settings: &Settings, ping: Option<bool>) -> Vec<(&'static str, String)> {
    let ping = ping.map(|answers| ("ping", if answers { "allow" } else { "deny" }.to_owned()));
    let defaults = vec![
        ("incoming", word(settings.incoming)),
        ("outgoing", word(settings.outgoing)),
        ("forward", word(settings.forward)),
    ];
    defaults.into_iter().chain(ping).collect()
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
        for tuple in &rules.of_nobody {
            report.rules.push(Entry {
                fate: Fate::NoEffect,
                rule: rules::as_added(tuple),
                places: vec![tuple.place()],
                why: vec!["an IPv4 address in the form of IPv6: no packet has one".to_owned()],
            });
        }
        for (line, text) in &rules.by_hand {
            report.rules.push(Entry {
                fate: Fate::NotTranslated,
                rule: text.clone(),
                places: vec![format!("{name}:{line}")],
                why: std::iter::once("edited by hand: ufw would lose it at its next command".to_owned())
                    .chain(more::denies(text))
                    .collect(),
            });
        }
    }
}

/// What is said once.
fn standing(settings: &Settings, services: &[Service], one_version: Option<Version>, report: &mut Report) {
    if !settings.enabled {
        report.note(Some(CONF.to_owned()), "ENABLED=no: ufw was not enabled, and these rules were not in force");
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
            crate::migrate::service::of_one_version(version, report);
        }
    } else {
        report.note(
            Some(DEFAULTS.to_owned()),
            "IPV6=no: `\"0.0.0.0/0\"` stands where ufw said any, which leaves containers out",
        );
    }
    if settings.manages_builtins {
        report.note(
            Some(DEFAULTS.to_owned()),
            "MANAGE_BUILTINS=yes: ufw emptied the chains of all; palisade leaves other programs' rules alone",
        );
    }
    if !settings.modules.is_empty() {
        let modules = settings.modules.join(" ");
        report.note(
            Some(DEFAULTS.to_owned()),
            format!("ufw loaded the modules {modules}; to keep them: /etc/modules-load.d/was-ufw.conf, one a line"),
        );
    }
    if ["medium", "high", "full"].contains(&settings.level.as_str()) {
        report.note(
            Some(CONF.to_owned()),
            format!(
                "LOGLEVEL={} also logged what is allowed: palisade logs that where a service has `log: true`",
                settings.level
            ),
        );
    }
}
