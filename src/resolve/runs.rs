//! The ports of all services, or of all rules of a section, split wherever the set of those that have them changes.

use super::{PolicyRule, Service};
use crate::net::{Intervals, Ports, Transport};
use crate::policy::{self, Diagnostic, Text, quote};
use std::collections::{BTreeMap, BTreeSet};

/// How many rules may dispatch shared ports to services, or to the rules of a section: one per service and run of ports.
/// This many take a hundred megabytes. Nested ranges need a number of rules that grows with the square of the number of
/// services.
const MAX_RULES: usize = 65_536;

/// Visits the runs of ports that at least one service has, in ascending order: first port, last port, services.
pub(crate) fn port_runs<'a>(
    services: impl IntoIterator<Item = (&'a str, &'a Service)>,
    transport: Transport,
    visit: impl FnMut(u16, u16, &BTreeSet<&'a str>),
) {
    runs_of(services.into_iter().map(|(name, service)| (name, &service.ports)), transport, visit);
}

/// Like [`port_runs`], for any owners of ports.
pub(crate) fn runs_of<'a>(
    owners: impl IntoIterator<Item = (&'a str, &'a BTreeSet<Ports>)>,
    transport: Transport,
    mut visit: impl FnMut(u16, u16, &BTreeSet<&'a str>),
) {
    // The end of a range is exclusive: 65536 does not fit in a port.
    let mut edges: Vec<(u32, bool, &str)> = Vec::new();
    for (name, ports) in owners {
        let ports = ports.iter().filter(|ports| ports.transport == transport);
        let runs: Intervals<u16> = ports.map(|ports| (ports.first, ports.last)).collect();
        for &(first, last) in runs.as_slice() {
            edges.extend([(first.into(), true, name), (u32::from(last) + 1, false, name)]);
        }
    }
    edges.sort_unstable();
    let (mut open, mut begin) = (BTreeSet::new(), 0);
    for (port, opens, name) in edges {
        if port > begin && !open.is_empty() {
            let port_of = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
            visit(port_of(begin), port_of(port - 1), &open);
        }
        begin = port;
        if opens {
            open.insert(name);
        } else {
            open.remove(name);
        }
    }
}

/// Who has ports: a service, or a rule of a section.
struct Owner<'a> {
    name: &'a Text,
    ports: &'a BTreeSet<Ports>,
    /// Whether it takes a rule for each run of its ports, even where it is alone.
    limited: bool,
}

/// Counts the dispatch rules for ports that several owners share, or whose only owner has a limit and thus may need an
/// excess chain.
fn rules(owners: &[Owner<'_>]) -> usize {
    let name = |owner: &Owner<'_>| owner.name.value.clone();
    let limited: BTreeSet<String> = owners.iter().filter(|owner| owner.limited).map(name).collect();
    let mut count = 0_usize;
    for transport in Transport::ALL {
        let named = owners.iter().map(|owner| (owner.name.value.as_str(), owner.ports));
        runs_of(named, transport, |_, _, open| {
            if open.len() > 1 || open.first().is_some_and(|name| limited.contains(*name)) {
                count = count.saturating_add(open.len());
            }
        });
    }
    count
}

/// Reports the service that exceeds the bound, before any rule is made.
pub(super) fn check_services(
    typed: &[policy::Service],
    services: &BTreeMap<String, Service>,
    problems: &mut Vec<Diagnostic>,
) {
    let owners = typed.iter().filter_map(|typed| {
        let service = services.get(&typed.name.value)?;
        Some(Owner { name: &typed.name, ports: &service.ports, limited: service.limit.is_some() })
    });
    check(&owners.collect::<Vec<_>>(), |name| format!("the service {name}"), "service", problems);
}

/// Reports the rule of a section that exceeds the bound, before any rule is made.
pub(super) fn check_rules(
    section: &str,
    typed: &[policy::PolicyRule],
    rules: &BTreeMap<String, PolicyRule>,
    problems: &mut Vec<Diagnostic>,
) {
    let owners = typed.iter().filter_map(|typed| {
        Some(Owner { name: &typed.name, ports: &rules.get(&typed.name.value)?.ports, limited: false })
    });
    let of_section = |name: String| format!("the rule {name} of `{section}`");
    check(&owners.collect::<Vec<_>>(), of_section, "rule", problems);
}

fn check(in_file_order: &[Owner<'_>], called: impl Fn(String) -> String, kind: &str, problems: &mut Vec<Diagnostic>) {
    let fit = |count: usize| in_file_order.get(..count).is_none_or(|owners| rules(owners) <= MAX_RULES);
    let (mut fitting, mut too_many) = (0, in_file_order.len());
    if fit(too_many) {
        return;
    }
    while too_many - fitting > 1 {
        let between = fitting.midpoint(too_many);
        *(if fit(between) { &mut fitting } else { &mut too_many }) = between;
    }
    if let Some(owner) = in_file_order.get(fitting) {
        let what = called(quote(&owner.name.value));
        let message = format!("with {what} more than {MAX_RULES} rules are needed for shared ports");
        let label = format!("each run of ports that several {kind}s share takes a rule for each of them");
        let help = format!("let fewer ranges of ports lie in each other, or make one {kind} of several");
        problems.push(Diagnostic::at(owner.name.span, message).label(label).help(help));
    }
}
