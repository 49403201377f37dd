//! The ports of all services, split wherever the set of services changes.

use super::Service;
use crate::net::{Intervals, Ports, Transport};
use crate::policy::{self, Diagnostic, quote};
use std::collections::{BTreeMap, BTreeSet};

/// How many rules may dispatch shared ports to services, one rule per service and run of ports. This many take a
/// hundred megabytes. Nested ranges need a number of rules that grows with the square of the number of services.
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

/// Counts the dispatch rules for ports that several services share, or whose only service has a limit and thus may
/// need an excess chain.
fn rules(services: &[(&str, &Service)]) -> usize {
    let limited: BTreeSet<&str> =
        services.iter().filter(|(_, service)| service.limit.is_some()).map(|&(name, _)| name).collect();
    let mut count = 0_usize;
    for transport in Transport::ALL {
        port_runs(services.iter().copied(), transport, |_, _, open| {
            if open.len() > 1 || open.first().is_some_and(|name| limited.contains(name)) {
                count = count.saturating_add(open.len());
            }
        });
    }
    count
}

/// Reports the service that exceeds the bound, before any rule is made.
pub(super) fn check(typed: &[policy::Service], services: &BTreeMap<String, Service>, problems: &mut Vec<Diagnostic>) {
    let in_file_order: Vec<(&str, &Service)> = typed
        .iter()
        .filter_map(|typed| services.get_key_value(&typed.name.value))
        .map(|(name, service)| (name.as_str(), service))
        .collect();
    let fit = |count: usize| in_file_order.get(..count).is_none_or(|services| rules(services) <= MAX_RULES);
    let (mut fitting, mut too_many) = (0, in_file_order.len());
    if fit(too_many) {
        return;
    }
    while too_many - fitting > 1 {
        let between = fitting.midpoint(too_many);
        *(if fit(between) { &mut fitting } else { &mut too_many }) = between;
    }
    if let Some(service) = typed.get(fitting) {
        let name = quote(&service.name.value);
        let message = format!("with the service {name} more than {MAX_RULES} rules are needed for shared ports");
        let label = "each run of ports that several services share takes a rule for each of them";
        let help = "let fewer ranges of ports lie in each other, or make one service of several";
        problems.push(Diagnostic::at(service.name.span, message).label(label).help(help));
    }
}
