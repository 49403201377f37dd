//! The rules of `outgoing` and `forward`.

use super::own;
use super::peers::Resolver;
use super::places::{Place, Role};
use super::{Action, Containers, Peers, PolicyRule, Whose, not_empty, ports, value, values};
use crate::facts::Facts;
use crate::net::IfPattern;
use crate::policy::{self, Diagnostic, Given, List, Policy, Severity, Text};
use std::collections::BTreeMap;

/// The verdicts on what no rule mentions.
pub(super) struct Defaults<'a> {
    pub(super) outgoing: Action,
    pub(super) forward: Action,
    pub(super) containers: &'a Containers,
}

/// Reads `action`; allows if it is absent.
pub(super) fn action(given: &Given<Text>, problems: &mut Vec<Diagnostic>) -> Action {
    let words = [("allow", Action::Allow), ("deny", Action::Deny), ("reject", Action::Reject)];
    value(given, problems, |text| values::action("action", &text.value, &words)).unwrap_or_default()
}

pub(super) fn outgoing<'a>(
    policy: &'a Policy,
    facts: &Facts,
    defaults: &Defaults<'_>,
    resolver: &mut Resolver<'a>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, PolicyRule> {
    let mut rules = BTreeMap::new();
    for typed in &policy.outgoing {
        let before = errors(problems);
        let denies = action(&typed.action, &mut Vec::new()) != Action::Allow;
        let to = if denies { Place::OutgoingDeniedTo } else { Place::OutgoingTo };
        let rule = rule(typed, facts, [Place::OutgoingFrom, to, Place::OutgoingExcept], resolver, problems);
        let from = Senders::of(&rule.from, resolver);
        let (host_sends, containers_send) = (defaults.outgoing, defaults.containers.outgoing);
        let changes_nothing = if denies || errors(problems) > before {
            None
        } else if from.host && host_sends == Action::Allow {
            Some(("everything goes out already: this rule changes nothing", "defaults: { outgoing: deny }"))
        } else if from.containers && containers_send == Action::Allow {
            let message = "containers open everything already: this rule changes nothing for them";
            Some((message, "containers: { outgoing: deny }"))
        } else {
            None
        };
        if let Some((message, key)) = changes_nothing {
            problems.push(
                Diagnostic::at(typed.name.span, message)
                    .help(format!("write `{key}`; to close something, `action: deny`")),
            );
        }
        closes_containers(typed, &rule, resolver, problems);
        rules.insert(typed.name.value.clone(), rule);
    }
    rules
}

/// Checks a rule that keeps containers apart: it must name the sender's bridge exactly, since it denies connections
/// to those behind all others.
fn closes_containers(
    typed: &policy::PolicyRule,
    rule: &PolicyRule,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let names_containers = rule.to.groups.keys().any(|name| resolver.kinds(name).containers);
    let mut bridges = rule.from.interfaces.iter().cloned().collect::<Vec<_>>();
    bridges.extend(rule.from.groups.keys().flat_map(|name| resolver.kinds(name).interfaces));
    let everyone = rule.from.groups.keys().any(|name| resolver.kinds(name).containers);
    if names_containers && (everyone || bridges.is_empty() || bridges.iter().any(|bridge| bridge.wildcard)) {
        let message = "`to: containers` means those behind other bridges than the sender's, so the sender's has to be named exactly";
        let span = typed.from.here().map_or(typed.name.span, |list| list.span);
        problems
            .push(Diagnostic::at(span, message).help("write the bridge: `from: { interface: br-app }`, without `*`"));
    }
}

/// Whom a `from` of `outgoing` names.
struct Senders {
    host: bool,
    containers: bool,
}

impl Senders {
    fn of(from: &Peers, resolver: &Resolver<'_>) -> Self {
        let groups = || from.groups.keys().map(|name| resolver.kinds(name));
        Self {
            host: from.host || !from.users.is_empty() || groups().any(|kinds| kinds.users),
            containers: !from.interfaces.is_empty()
                || groups().any(|kinds| kinds.containers || !kinds.interfaces.is_empty()),
        }
    }
}

pub(super) fn forward<'a>(
    policy: &'a Policy,
    facts: &Facts,
    defaults: &Defaults<'_>,
    resolver: &mut Resolver<'a>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, PolicyRule> {
    let mut rules = BTreeMap::new();
    for typed in &policy.forward {
        let places = [Place::ForwardFrom, Place::ForwardTo, Place::ForwardExcept];
        let rule = rule(typed, facts, places, resolver, problems);
        if rule.action != Action::Allow {
            resolver.nobody_for_a_time(&typed.from, problems);
        }
        let allows = rule.action == Action::Allow && defaults.forward == Action::Allow;
        if allows && !rule.to.is_empty() && !may_be_a_container(&rule.to, resolver) {
            let message = "everything is routed already: this rule changes nothing";
            let help = "write `defaults: { forward: deny }`; to close something, `action: deny`";
            problems.push(Diagnostic::at(typed.name.span, message).help(help));
        }
        rules.insert(typed.name.value.clone(), rule);
    }
    rules
}

/// Whether a destination may be a container's own address, for which `defaults.incoming` applies.
fn may_be_a_container(to: &Peers, resolver: &Resolver<'_>) -> bool {
    let meets = |interface: &IfPattern| resolver.containers().iter().any(|bridge| bridge.meets(interface));
    let groups = || to.groups.keys().map(|name| resolver.kinds(name));
    to.any
        || !to.addresses.is_empty()
        || !to.names.is_empty()
        || to.interfaces.iter().any(&meets)
        || groups().any(|kinds| kinds.addresses || kinds.containers || kinds.interfaces.iter().any(&meets))
}

/// Resolves one rule; `places` are those of `from`, `to` and `except`.
fn rule<'a>(
    typed: &'a policy::PolicyRule,
    facts: &Facts,
    places: [Place; 3],
    resolver: &mut Resolver<'a>,
    problems: &mut Vec<Diagnostic>,
) -> PolicyRule {
    let name = &typed.name;
    if let Err(fault) = values::rule_name(&name.value) {
        problems.push(fault.at(name.span));
    }
    let items = needed(&typed.ports, name, "ports", "write which, such as `ports: 443/tcp`, or `any`", problems);
    let asked = ports::asked(items, facts, problems);
    let senders = if places.contains(&Place::OutgoingFrom) {
        "`from: host` is this machine, `containers` its containers"
    } else {
        "write who may open it: `from: any` is everyone but this machine and its containers"
    };
    needed(&typed.from, name, "from", senders, problems);
    needed(&typed.to, name, "to", "write where to; `to: any` is everywhere", problems);
    not_empty(&typed.on, "on", problems);
    let [from, to, except] = places.map(Role::At);
    let verdict = action(&typed.action, problems);
    if verdict != Action::Allow {
        [&typed.from, &typed.to].into_iter().for_each(|list| resolver.no_names(list, problems));
    }
    PolicyRule {
        line: name.span.into(),
        ports: asked.ports,
        protocols: asked.protocols,
        ping: asked.ping,
        all: asked.all,
        from: resolver.peers(&typed.from, from, problems),
        to: resolver.peers(&typed.to, to, problems),
        except: resolver.peers(&typed.except, except, problems),
        on: typed.on.here().map(|list| own::interfaces(list, "on", problems)).unwrap_or_default(),
        action: verdict,
        log: value(&typed.log, problems, |text| values::boolean("log", &text.value)).unwrap_or(false),
        comment: value(&typed.comment, problems, |text| values::comment(&text.value)),
    }
}

/// How many of these are no warnings.
pub(super) fn errors(problems: &[Diagnostic]) -> usize {
    problems.iter().filter(|problem| problem.severity == Severity::Error).count()
}

/// The items of a list that a rule needs. Reports a list that is absent or empty.
pub(super) fn needed<'a, T>(
    given: &'a Given<List<T>>,
    name: &Text,
    key: &str,
    help: &str,
    problems: &mut Vec<Diagnostic>,
) -> &'a [T] {
    super::needed(given, &Whose { kind: "rule", name, otherwise: None }, key, help, problems)
}
