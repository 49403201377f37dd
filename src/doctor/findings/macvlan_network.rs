//! Containers that are directly on the wire.

use crate::doctor::words::{command, some};
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "macvlan-network",
    severity: Severity::Warning,
    what: "networks of macvlan or ipvlan",
    why: "their packets never pass the hooks of this machine, so that no line of the policy holds for them",
    remedy: "guard them in the container or in the network, and say so: `doctor: { ignore: [...] }`; or give them a bridge, \
             and take the network away",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    const DRIVERS: [&str; 4] = ["macvlan", "ipvlan", "macvtap", "ipvtap"];
    let (mut found, mut ways): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for engine in &facts.host.engines {
        for network in engine.networks.iter().filter(|network| DRIVERS.contains(&network.driver.as_str())) {
            found.push(format!("{}'s network {} ({})", engine.name, network.name, network.driver));
            let client = engine.name.to_lowercase();
            ways.extend(command(&format!("{client} network rm "), &network.name, ""));
        }
    }
    // Through a link with a network behind it, this machine reaches that network itself.
    let guests = facts.host.links.iter().filter(|link| !link.has_network && !link.is_way_out);
    for link in guests {
        let Some(kind) = link.kind.as_deref().filter(|kind| DRIVERS.contains(kind)) else { continue };
        found.push(format!("the interface {} ({kind})", link.name));
        ways.extend(command("ip link delete ", &link.name, ""));
    }
    let ways = match ways.as_slice() {
        [] => String::new(),
        ways => format!("; to take it away once they are on a bridge, {}", ways.join(", ")),
    };
    (!found.is_empty()).then(|| {
        FINDING.found(
            format!(
                "{}: who is in it has an address of its own on the wire, and its packets never pass the hooks of this machine, so \
                 that no line of the policy holds for them",
                some(found)
            ),
            format!(
                "guard them where they are, in the container or in the network, then say so in the policy: `doctor: {{ ignore: [{{ id: \
                 macvlan-network, because: they are guarded where they are }}] }}`{ways}"
            ),
        )
    })
}
