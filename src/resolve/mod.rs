//! Resolves names to values: a [`Policy`] and the facts about this machine become a [`Resolved`].
//!
//! This module reports every semantic error, all at once, each with a remedy.

mod expectations;
mod forward_to;
mod ignored;
mod lists;
pub mod lockdown;
mod nat;
mod notes;
mod own;
mod peers;
mod peers_elsewhere;
mod places;
mod ports;
mod ports_elsewhere;
mod resolved;
mod rules;
mod runs;
mod values;
mod warnings;

pub(crate) use forward_to::forwards_contradict;
pub(crate) use lists::broken;
pub(crate) use ports::{Item as PortsItem, in_words as ports_in_words, item as ports_item};
pub(crate) use runs::{port_runs, runs_of};

pub use peers::PRIVATE;
pub use warnings::{admit_ssh, ssh_is_shut};

pub use resolved::{
    Action, ContainerLines, Containers, DefaultLines, Defaults, Elsewhere, Expectation, ForwardTo, Group, Line, Nat,
    Peers, PolicyRule, Rate, Resolved, ReversePath, Service, Temporary,
};

use crate::facts::Facts;
use crate::policy::{self, Diagnostic, Fault, Given, List, Policy, Severity, Text, quote};
use crate::ruleset::LimitUnit;
use peers::Resolver;
use places::Role;
use std::collections::BTreeMap;

/// The rate at which denied connections are logged unless the policy sets another.
const LOG_DENIED: Rate = Rate { count: 10, unit: LimitUnit::Minute, line: None };

/// How many host names a policy may have: all are looked up within ten seconds.
const MAX_NAMES: usize = 256;

/// Resolves a policy.
///
/// # Errors
/// Every semantic problem, each with its place and a remedy, and the warnings among them.
pub fn resolve(policy: &Policy, facts: &Facts) -> Result<Resolved, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let containers = resolve_containers(&policy.containers, &mut problems);
    if facts.names.iter().count() > MAX_NAMES {
        let message = format!("the policy has more than {MAX_NAMES} host names");
        problems
            .push(Diagnostic::general(message).help("write networks, or name files of addresses: `{ file: PATH }`"));
    }
    let mut resolver = Resolver::new(policy, facts, &containers.interfaces, &mut problems);
    let mut services = BTreeMap::new();
    for service in &policy.services {
        services.insert(service.name.value.clone(), resolve_service(service, facts, &mut resolver, &mut problems));
    }
    runs::check_services(&policy.services, &services, &mut problems);
    forward_to::check(&policy.services, &services, &mut problems);
    let block = resolver.peers(&policy.block, Role::Block, &mut problems);
    let defaults = resolve_defaults(&policy.defaults, &mut problems);
    let sections =
        rules::Defaults { outgoing: defaults.outgoing, forward: defaults.forward, containers: &containers };
    let outgoing = rules::outgoing(policy, facts, &sections, &mut resolver, &mut problems);
    let forward = rules::forward(policy, facts, &sections, &mut resolver, &mut problems);
    runs::check_rules("outgoing", &policy.outgoing, &outgoing, &mut problems);
    runs::check_rules("forward", &policy.forward, &forward, &mut problems);
    let nat = nat::resolve(policy, &mut resolver, &mut problems);
    let expectations = expectations::resolve(policy, facts, &mut resolver, &mut problems);
    let log_denied = value(&policy.log_denied, &mut problems, values::rate_or_off).unwrap_or(Some(LOG_DENIED));
    let ignored = ignored::resolve(&policy.ignored, &mut problems);
    let groups = resolver.used_groups(&mut problems);
    // Warnings are collected beside the problems, in the order of the policy.
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let mut resolved = Resolved {
        file: policy.file.clone(),
        defaults,
        default_lines: default_lines(&policy.defaults),
        groups,
        services,
        outgoing,
        forward,
        nat,
        block,
        containers,
        log_denied,
        expectations,
        ignored,
        user_names: user_names(policy, facts),
        names: facts.names.clone(),
        kernel: facts.kernel,
        warnings: problems,
    };
    let mut warnings = warnings::warnings(policy, &resolved);
    warnings.extend(notes::notes(policy, &resolved));
    resolved.warnings.extend(warnings);
    Ok(resolved)
}

/// The users that the policy names, by number.
fn user_names(policy: &Policy, facts: &Facts) -> BTreeMap<u32, String> {
    let named = policy.users().filter_map(|name| Some((*facts.users.get(&name.value)?, name.value.clone())));
    named.collect()
}

/// Reads a value if it is present, and reports what is wrong with it.
fn value<T>(
    given: &Given<Text>,
    problems: &mut Vec<Diagnostic>,
    read: impl FnOnce(&Text) -> Result<T, Fault>,
) -> Option<T> {
    let text = given.here()?;
    read(text).map_err(|fault| problems.push(fault.at(text.span))).ok()
}

fn resolve_defaults(typed: &policy::Defaults, problems: &mut Vec<Diagnostic>) -> Defaults {
    let verdicts = [("allow", Action::Allow), ("deny", Action::Deny), ("reject", Action::Reject)];
    let mut read = |key: &str, given: &Given<Text>, allowed: &[(&str, Action)], otherwise: Action| {
        value(given, problems, |text| values::action(key, &text.value, allowed)).unwrap_or(otherwise)
    };
    let otherwise = Defaults::default();
    Defaults {
        incoming: read("incoming", &typed.incoming, &verdicts, otherwise.incoming),
        outgoing: read("outgoing", &typed.outgoing, &verdicts, otherwise.outgoing),
        forward: read("forward", &typed.forward, &verdicts, otherwise.forward),
        ping: read("ping", &typed.ping, &verdicts[..2], otherwise.ping),
        reverse_path: value(&typed.reverse_path, problems, |text| values::reverse_path(&text.value))
            .unwrap_or(otherwise.reverse_path),
    }
}

fn resolve_containers(typed: &policy::Containers, problems: &mut Vec<Diagnostic>) -> Containers {
    let verdicts = [("allow", Action::Allow), ("deny", Action::Deny), ("reject", Action::Reject)];
    let otherwise = Containers::default();
    let mut read = |key: &str, given: &Given<Text>, allowed: &[(&str, Action)], otherwise: Action| {
        value(given, problems, |text| values::action(key, &text.value, allowed)).unwrap_or(otherwise)
    };
    let outgoing = read("outgoing", &typed.outgoing, &verdicts, otherwise.outgoing);
    let host = read("host", &typed.host, &verdicts[..2], otherwise.host);
    let line = |given: &Given<Text>| given.here().map(|text| text.span.line);
    let lines = ContainerLines {
        interfaces: typed.interfaces.here().map(|list| list.span.line),
        outgoing: line(&typed.outgoing),
        host: line(&typed.host),
    };
    let interfaces = match typed.interfaces.here() {
        Some(list) => own::interfaces(list, "interfaces", problems),
        None => otherwise.interfaces,
    };
    Containers { interfaces, outgoing, host, lines }
}

fn default_lines(typed: &policy::Defaults) -> DefaultLines {
    let line = |given: &Given<Text>| given.here().map(|text| text.span.line);
    DefaultLines {
        incoming: line(&typed.incoming),
        outgoing: line(&typed.outgoing),
        forward: line(&typed.forward),
        ping: line(&typed.ping),
        reverse_path: line(&typed.reverse_path),
    }
}

fn resolve_service<'a>(
    service: &'a policy::Service,
    facts: &Facts,
    resolver: &mut Resolver<'a>,
    problems: &mut Vec<Diagnostic>,
) -> Service {
    let name = &service.name;
    if let Err(fault) = values::service_name(&name.value) {
        problems.push(fault.at(name.span));
    }
    let whose = Whose { kind: "service", name, otherwise: Some("to allow nobody, remove the service") };
    let items = needed(&service.ports, &whose, "ports", "write which, such as `ports: 22/tcp`", problems);
    let asked = ports::asked(items, facts, problems);
    needed(&service.from, &whose, "from", "write who may reach it; `from: any` is everyone", problems);
    let action = rules::action(&service.action, problems);
    if action != Action::Allow
        && let Given::Here(limit) = &service.limit
    {
        let message = "a service that denies has no limit: what keeps to the rate would be denied, too";
        problems.push(Diagnostic::at(limit.span, message).help("remove `limit`"));
    }
    if action != Action::Allow {
        resolver.no_names(&service.from, problems);
        resolver.nobody_for_a_time(&service.from, problems);
    }
    let forward_to = forward_to::read(service, &asked, action, problems);
    not_empty(&service.to, "to", problems);
    not_empty(&service.on, "on", problems);
    Service {
        line: name.span.line,
        ports: asked.ports,
        protocols: asked.protocols,
        ping: asked.ping,
        all: asked.all,
        action,
        forward_to,
        from: resolver.peers(&service.from, Role::From, problems),
        except: resolver.peers(&service.except, Role::Except, problems),
        to: service.to.here().map(|list| own::addresses(list, problems)).unwrap_or_default().into_iter().collect(),
        on: service.on.here().map(|list| own::interfaces(list, "on", problems)).unwrap_or_default(),
        limit: value(&service.limit, problems, values::rate),
        log: value(&service.log, problems, |text| values::boolean("log", &text.value)).unwrap_or(false),
        comment: value(&service.comment, problems, |text| values::comment(&text.value)),
    }
}

/// What must have a list.
struct Whose<'a> {
    kind: &'static str,
    name: &'a Text,
    /// What else may be meant by an empty list.
    otherwise: Option<&'static str>,
}

/// The items of a list that a part of the policy needs. Reports a list that is absent or empty, each with its help.
fn needed<'a, T>(
    given: &'a Given<List<T>>,
    whose: &Whose<'_>,
    key: &str,
    help: &str,
    problems: &mut Vec<Diagnostic>,
) -> &'a [T] {
    let Whose { kind, name, otherwise } = whose;
    match given {
        Given::Absent => {
            let message = format!("the {kind} {} does not say `{key}`", quote(&name.value));
            problems.push(Diagnostic::at(name.span, message).help(help));
            &[]
        }
        Given::Unreadable => &[],
        Given::Here(list) => {
            if list.empty {
                let message = format!("the list `{key}` of the {kind} {} is empty", quote(&name.value));
                let help = otherwise.map_or_else(|| help.to_owned(), |otherwise| format!("{help}; {otherwise}"));
                problems.push(Diagnostic::at(list.span, message).help(help));
            }
            &list.items
        }
    }
}

/// Refuses an empty `to` or `on`, which could mean everything or nothing.
fn not_empty<T>(given: &Given<List<T>>, key: &str, problems: &mut Vec<Diagnostic>) {
    if let Given::Here(list) = given
        && list.empty
    {
        problems.push(
            Diagnostic::at(list.span, format!("the list `{key}` is empty"))
                .help(format!("leave `{key}` out: all are meant then")),
        );
    }
}
