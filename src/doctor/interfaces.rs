//! Interfaces that the policy does not know, or takes for others than they are.

use super::{Facts, Finding, error, some, warning};
use crate::net::IfPattern;
use crate::netlink::RoutedLink;
use crate::printable::is_invisible;
use crate::resolve::{Action, Peers, Resolved};

/// Kinds of interfaces that guests are behind, whatever they are called.
const KINDS: [&str; 8] = ["bridge", "tun", "wireguard", "vxlan", "geneve", "ipip", "sit", "gre"];
/// How the ends of wires to guests begin that are no bridge's port, of those that routes lead to.
const WIRES: [&str; 4] = ["cali", "lxc", "veth", "vnet"];

pub(super) fn examine(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(policy) = facts.policy.valid() else { return };
    findings.extend(way_out(facts, policy));
    findings.extend(guests(facts, policy));
}

/// Who comes in by the interfaces of containers counts as a container, whoever it is.
fn way_out(facts: &Facts<'_>, policy: &Resolved) -> Option<Finding> {
    let taken = |link: &&RoutedLink| link.is_way_out && is_container(policy, &link.name);
    let link = facts.links.iter().find(taken)?;
    let name = &link.name;
    let others: Vec<String> = facts
        .links
        .iter()
        .filter(|other| !other.is_way_out && is_container(policy, &other.name))
        .filter_map(|other| in_a_policy(&other.name))
        .collect();
    let list = if others.is_empty() { "docker0".to_owned() } else { others.join(", ") };
    Some(error(
        "way-out-is-containers",
        format!(
            "{name} is this machine's way to the outside and one of the interfaces of containers: everyone out there counts \
             as a container, and gets what the policy allows to containers alone"
        ),
        format!(
            "say in the policy which interfaces are those of containers: `containers: {{ interfaces: [{list}] }}`"
        ),
    ))
}

/// What guests send elsewhere passes this machine, and is neither to nor from a container unless the policy says so.
fn guests(facts: &Facts<'_>, policy: &Resolved) -> Option<Finding> {
    if policy.defaults.forward == Action::Allow {
        return None;
    }
    let forwards = facts.sysctls.forwards_v4 == Some(true) || facts.sysctls.forwards_v6 == Some(true);
    let ports =
        |bridge: &RoutedLink| facts.links.iter().filter(|link| link.master.as_deref() == Some(&bridge.name)).count();
    let stopped = |link: &&RoutedLink| {
        let routed = forwards && link.has_network && !link.is_way_out && link.master.is_none() && is_of_guests(link);
        // Frames from port to port pass the same hook where the kernel is told so.
        let bridged = link.kind.as_deref() == Some("bridge")
            && facts.sysctls.bridge_calls_iptables == Some(true)
            && ports(link) > 1;
        (routed || bridged) && !names(policy, &link.name)
    };
    let found: Vec<String> = facts.links.iter().filter(stopped).map(|link| link.name.clone()).collect();
    let first = in_a_policy(found.first()?);
    let (it, them) = if found.len() == 1 { ("it", "its guests") } else { ("them", "their guests") };
    let kind = if policy.defaults.forward == Action::Reject { "reject" } else { "deny" };
    Some(warning(
        "guests-not-named",
        format!(
            "the policy does not name {}, and stops what is forwarded from {it} and to {it} (`forward: {kind}`): {them} reach \
             this machine alone",
            some(found)
        ),
        match first {
            Some(first) => format!(
                "in the policy, add {first} to `containers: {{ interfaces: [...] }}`, or say `defaults: {{ forward: allow }}`; if \
                 they are to be stopped, name it in a group (`{{ interface: {first} }}`) or in a service's `on`"
            ),
            None => {
                "no policy can name it: give it another name (`ip link` lists all), then run this again".to_owned()
            }
        },
    ))
}

/// A name as YAML reads it, in quotes where it needs them; `None` for one that no policy takes.
fn in_a_policy(name: &str) -> Option<String> {
    // YAML takes these for something else than a name.
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !words.contains(&name.to_ascii_lowercase().as_str())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let refused = |c: char| c.is_whitespace() || is_invisible(c) || "/:\"'\\`*".contains(c);
    match name {
        _ if plain => Some(name.to_owned()),
        _ if name.contains(refused) => None,
        _ => Some(format!("\"{name}\"")),
    }
}

fn is_of_guests(link: &RoutedLink) -> bool {
    let kind = link.kind.as_deref().unwrap_or_default();
    KINDS.contains(&kind) || kind == "veth" && WIRES.iter().any(|begin| link.name.starts_with(begin))
}

fn is_container(policy: &Resolved, name: &str) -> bool {
    policy.containers.interfaces.iter().any(|interface| interface.covers(name))
}

/// Whether any part of the policy speaks of an interface.
fn names(policy: &Resolved, name: &str) -> bool {
    let of_peers = |peers: &Peers| covers(&peers.interfaces, name);
    let of_services = policy
        .services
        .values()
        .any(|service| covers(&service.on, name) || of_peers(&service.from) || of_peers(&service.except));
    is_container(policy, name)
        || of_services
        || of_peers(&policy.block)
        || policy.groups.values().any(|group| covers(&group.interfaces, name))
}

fn covers<'i>(interfaces: impl IntoIterator<Item = &'i IfPattern>, name: &str) -> bool {
    interfaces.into_iter().any(|interface| interface.covers(name))
}
