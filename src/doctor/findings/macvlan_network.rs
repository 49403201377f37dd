//! Containers that are directly on the wire.

use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "macvlan-network",
    severity: Severity::Warning,
    what: "networks of macvlan or ipvlan",
    why: "their packets never pass the hooks of this machine, so that no line of the policy holds for them",
    remedy: "guard them in the container or in the network; or give them a bridge",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    const DRIVERS: [&str; 4] = ["macvlan", "ipvlan", "macvtap", "ipvtap"];
    let mut found: Vec<String> = Vec::new();
    for engine in &facts.host.engines {
        let networks = engine.networks.iter().filter(|network| DRIVERS.contains(&network.driver.as_str()));
        found.extend(
            networks.map(|network| format!("{}'s network {} ({})", engine.name, network.name, network.driver)),
        );
    }
    // Through a link with a network behind it, this machine reaches that network itself.
    let guests = facts.host.links.iter().filter(|link| !link.has_network && !link.is_way_out);
    found.extend(guests.filter_map(|link| {
        let kind = link.kind.as_deref().filter(|kind| DRIVERS.contains(kind))?;
        Some(format!("the interface {} ({kind})", link.name))
    }));
    (!found.is_empty()).then(|| {
        FINDING.found(
            format!(
                "{}: who is in it has an address of its own on the wire, and its packets never pass the hooks of this machine, so \
                 that no line of the policy holds for them",
                some(found)
            ),
            "guard them where they are, in the container or in the network; or give them a bridge: `docker network create \
             NAME`, `docker network connect NAME CONTAINER`",
        )
    })
}
