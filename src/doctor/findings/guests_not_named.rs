//! Guest interfaces whose traffic the policy stops without naming them.

use crate::access::Port;
use crate::doctor::remedy::{Harm, try_host, try_policy};
use crate::doctor::words::{set_sysctl, some};
use crate::doctor::{Facts, Finding, Host, Kind, Severity, cluster};
use crate::machine::Sysctls;
use crate::net::{IfPattern, Ports, Transport};
use crate::netlink::RoutedLink;
use crate::preflight::{containers_line, is_named, with_containers};
use crate::resolve::{Action, Group, Resolved, Service};
use std::collections::BTreeSet;

pub(super) const FINDING: Kind = Kind {
    id: "guests-not-named",
    severity: Severity::Warning,
    what: "an interface of guests (a bridge, Kubernetes', a VPN's) whose traffic `forward: deny` stops, and that no \
           part of the policy names",
    why: "its guests reach this machine alone",
    remedy: "the line that the finding names: all interfaces of containers with this one among them, if that was tried \
             and shuts nothing; if the guests are to be stopped, `doctor: { ignore: [...] }`",
};

/// Kinds of interfaces with guests behind them, whatever their names.
const KINDS: [&str; 8] = ["bridge", "tun", "wireguard", "vxlan", "geneve", "ipip", "sit", "gre"];
/// The kinds whose guests are not on this machine: a VPN, a tunnel to another network. They are no containers.
const TUNNELS: [&str; 5] = ["tun", "wireguard", "ipip", "sit", "gre"];
/// How veth interfaces to guests are named, of those that are routed and not ports of a bridge.
const WIRES: [&str; 4] = ["cali", "lxc", "veth", "vnet"];

pub(super) fn is_wrong(facts: &Facts<'_>) -> bool {
    !stopped(facts).is_empty()
}

/// The interfaces that it is about.
pub(super) fn interfaces(facts: &Facts<'_>) -> BTreeSet<String> {
    stopped(facts).into_iter().map(|link| link.name.clone()).collect()
}

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    let found = stopped(facts);
    let (it, them) = match found.len() {
        0 => return None,
        1 => ("it", "its guests"),
        _ => ("them", "their guests"),
    };
    let kind = if policy.defaults.forward == Action::Reject { "reject" } else { "deny" };
    let names = some(found.iter().map(|link| link.name.clone()));
    Some(FINDING.found(
        format!(
            "the policy does not name {names}, and stops what is forwarded from {it} and to {it} (`forward: {kind}`): {them} \
             reach this machine alone"
        ),
        help(facts, policy, &found),
    ))
}

/// The interfaces whose guests are stopped. Traffic of guests to other networks is forwarded, and counts as
/// containers' only if the policy names their interface.
fn stopped<'f>(facts: &Facts<'f>) -> Vec<&'f RoutedLink> {
    let host = facts.host;
    let Some(policy) = host.policy.valid().filter(|policy| policy.defaults.forward != Action::Allow) else {
        return Vec::new();
    };
    let forwards = host.sysctls.forwards_v4 == Some(true) || host.sysctls.forwards_v6 == Some(true);
    let stopped = |link: &&RoutedLink| {
        let routed = forwards && link.has_network && !link.is_way_out && link.master.is_none() && is_of_guests(link);
        (routed || is_bridged(host, link)) && !is_named(policy, &link.name)
    };
    host.links.iter().filter(stopped).collect()
}

/// Whether frames between ports of a bridge pass the forward hook, as they do with bridge-nf-call-iptables.
fn is_bridged(host: &Host, bridge: &RoutedLink) -> bool {
    let ports = host.links.iter().filter(|link| link.master.as_deref() == Some(&bridge.name)).count();
    bridge.kind.as_deref() == Some("bridge") && host.sysctls.bridge_calls_iptables == Some(true) && ports > 1
}

/// For each interface a remedy that was tried, or why there is none; then what to write if nothing is wrong.
fn help(facts: &Facts<'_>, policy: &Resolved, found: &[&RoutedLink]) -> String {
    let may_be_containers =
        |link: &&RoutedLink| !link.is_way_out && !TUNNELS.contains(&link.kind.as_deref().unwrap_or_default());
    let (guests, others): (Vec<&RoutedLink>, Vec<&RoutedLink>) = found.iter().copied().partition(may_be_containers);
    let (ways_out, tunnels): (Vec<&RoutedLink>, Vec<&RoutedLink>) =
        others.into_iter().partition(|link| link.is_way_out);
    let mut parts: Vec<String> = Vec::new();
    if !guests.is_empty() {
        parts.push(for_guests(facts, policy, &guests));
    }
    if !ways_out.is_empty() {
        parts.push(for_ways_out(facts, &ways_out));
    }
    if !tunnels.is_empty() {
        parts.push(format!(
            "no line lets through what comes from {} alone: as an interface of containers it would lose what the policy \
             opens to addresses, and `forward: allow` forwards for every interface",
            listed(&tunnels)
        ));
    }
    let ignore = "doctor: { ignore: [{ id: guests-not-named, because: they reach this machine alone }] }";
    parts.push(format!("if they are to be stopped, say so in the policy: `{ignore}`"));
    parts.join("; ")
}

fn listed(links: &[&RoutedLink]) -> String {
    some(links.iter().map(|link| link.name.clone()))
}

/// The remedy for interfaces that may be those of containers.
fn for_guests(facts: &Facts<'_>, policy: &Resolved, guests: &[&RoutedLink]) -> String {
    let pattern = |link: &&RoutedLink| IfPattern { name: link.name.clone(), wildcard: false };
    let known = policy.containers.interfaces.iter().cloned();
    let mut changed = with_containers(policy, known.chain(guests.iter().map(pattern)).collect());
    let Some(line) = containers_line(&changed.containers.interfaces) else {
        return "no policy can name it: give it another name (`ls /sys/class/net` lists all), then run this again"
            .to_owned();
    };
    let alone = only(facts.host, guests);
    let facts = facts.around(&alone, facts.table());
    let mut lines = vec![line];
    let mut tried = tried(&facts, &changed);
    if let (Err(Harm::Cluster(_)), Some((service, line))) = (&tried, for_cluster(&facts, policy)) {
        let group = Group { interfaces: changed.containers.interfaces.clone(), ..Group::default() };
        changed.groups.insert("containers".to_owned(), group);
        changed.services.insert("kubernetes".to_owned(), service);
        lines.push(line);
        tried = self::tried(&facts, &changed);
    }
    match tried {
        Ok(()) => {
            let lines: Vec<String> = lines.iter().map(|line| format!("`{line}`")).collect();
            format!("in the policy, write {}", lines.join(" and "))
        }
        Err(harm) => format!("no line is known that helps: `{}` {}", lines.join("`, `"), harm.words()),
    }
}

/// Nobody may lose anything, and nobody but containers may gain anything.
fn tried(facts: &Facts<'_>, changed: &Resolved) -> Result<(), Harm> {
    let containers: Vec<String> = changed.containers.interfaces.iter().map(ToString::to_string).collect();
    try_policy(facts, FINDING.id, changed, |change| {
        // Who opens the connections, whichever way they go.
        let by = change.by.as_deref().or(change.from.as_deref()).unwrap_or_default();
        let of_containers = by == "containers" || by.split(", ").all(|name| containers.iter().any(|one| one == name));
        // Guests never answer this machine's own requests for an address.
        let is_dhcp = change.proto == "udp" && [Some(Port::One(68)), Some(Port::One(546))].contains(&change.port);
        (change.loses.is_empty() || is_dhcp) && (of_containers || change.gains.is_empty())
    })
}

/// A service that lets pods call what this machine itself answers for the cluster, such as its API, and its line.
fn for_cluster(facts: &Facts<'_>, policy: &Resolved) -> Option<(Service, String)> {
    let ports = cluster::own_ports(facts);
    if ports.is_empty() || policy.services.contains_key("kubernetes") {
        return None;
    }
    let mut service = Service::default();
    service.from.groups.insert("containers".to_owned(), 0);
    let mut words = Vec::new();
    for (protocol, port) in ports {
        let transport = Transport::from_number(protocol)?;
        service.ports.insert(Ports { transport, first: port, last: port });
        words.push(format!("{port}/{}", transport.name()));
    }
    let line = format!("services: {{ kubernetes: {{ ports: [{}], from: containers }} }}", words.join(", "));
    Some((service, line))
}

/// The remedy for bridges that are the way to the outside: they are no interfaces of containers.
fn for_ways_out(facts: &Facts<'_>, bridges: &[&RoutedLink]) -> String {
    let sysctls = Sysctls { bridge_calls_iptables: Some(false), ..facts.host.sysctls };
    let alone = only(facts.host, bridges);
    let without = Host { sysctls, ..alone.clone() };
    // Docker would set it again.
    let may = facts.host.docker.is_none();
    let bridges = listed(bridges);
    match try_host(&facts.around(&alone, facts.table()), FINDING.id, &without) {
        Ok(()) if may => format!(
            "{}, so that frames within {bridges} are no forwarded packets",
            set_sysctl("net.bridge.bridge-nf-call-iptables", 0)
        ),
        _ => format!(
            "no line lets frames within {bridges} pass: it is the way to the outside, so that everyone there would count \
             as a container, and Docker needs bridge-nf-call-iptables; put the guests on a bridge of their own"
        ),
    }
}

/// The same machine with these of its interfaces of guests alone, so that the remedy for some is tried by itself.
fn only(host: &Host, links: &[&RoutedLink]) -> Host {
    let mut host = host.clone();
    let is_one = |link: &RoutedLink| links.iter().any(|one| one.name == link.name);
    let policy = host.policy.valid().cloned();
    let named = |link: &RoutedLink| policy.as_ref().is_some_and(|policy| is_named(policy, &link.name));
    let others_bridged: Vec<String> =
        host.links.iter().filter(|link| is_bridged(&host, link)).map(|link| link.name.clone()).collect();
    let is_other = |link: &RoutedLink| (is_of_guests(link) || others_bridged.contains(&link.name)) && !named(link);
    host.links.retain(|link| is_one(link) || !is_other(link));
    host
}

fn is_of_guests(link: &RoutedLink) -> bool {
    let kind = link.kind.as_deref().unwrap_or_default();
    KINDS.contains(&kind) || kind == "veth" && WIRES.iter().any(|begin| link.name.starts_with(begin))
}
