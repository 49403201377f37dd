//! Guest interfaces whose traffic the policy stops without naming them.

use crate::doctor::interfaces::in_a_policy;
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::netlink::RoutedLink;
use crate::preflight::is_named;
use crate::resolve::Action;

pub(super) const FINDING: Kind = Kind {
    id: "guests-not-named",
    severity: Severity::Warning,
    what: "an interface of guests (a bridge, Kubernetes', a VPN's) whose traffic `forward: deny` stops, and that no \
           part of the policy names",
    why: "its guests reach this machine alone",
    remedy: "add it to `containers: { interfaces: [...] }`, or say `defaults: { forward: allow }`; if they are to \
             be stopped, name it",
};

/// Kinds of interfaces with guests behind them, whatever their names.
const KINDS: [&str; 8] = ["bridge", "tun", "wireguard", "vxlan", "geneve", "ipip", "sit", "gre"];
/// How veth interfaces to guests are named, of those that are routed and not ports of a bridge.
const WIRES: [&str; 4] = ["cali", "lxc", "veth", "vnet"];

/// Traffic of guests to other networks is forwarded, and counts as containers' only if the policy names their
/// interface.
pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let policy = facts.host.policy.valid()?;
    if policy.defaults.forward == Action::Allow {
        return None;
    }
    let forwards = facts.host.sysctls.forwards_v4 == Some(true) || facts.host.sysctls.forwards_v6 == Some(true);
    let ports = |bridge: &RoutedLink| {
        facts.host.links.iter().filter(|link| link.master.as_deref() == Some(&bridge.name)).count()
    };
    let stopped = |link: &&RoutedLink| {
        let routed = forwards && link.has_network && !link.is_way_out && link.master.is_none() && is_of_guests(link);
        // With bridge-nf-call-iptables, frames between ports of a bridge pass the forward hook, too.
        let bridged = link.kind.as_deref() == Some("bridge")
            && facts.host.sysctls.bridge_calls_iptables == Some(true)
            && ports(link) > 1;
        (routed || bridged) && !is_named(policy, &link.name)
    };
    let found: Vec<String> = facts.host.links.iter().filter(stopped).map(|link| link.name.clone()).collect();
    let first = in_a_policy(found.first()?);
    let (it, them) = if found.len() == 1 { ("it", "its guests") } else { ("them", "their guests") };
    let kind = if policy.defaults.forward == Action::Reject { "reject" } else { "deny" };
    Some(FINDING.found(
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

fn is_of_guests(link: &RoutedLink) -> bool {
    let kind = link.kind.as_deref().unwrap_or_default();
    KINDS.contains(&kind) || kind == "veth" && WIRES.iter().any(|begin| link.name.starts_with(begin))
}
