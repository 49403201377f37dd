//! Docker is told to load no rules.

use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "docker-iptables-off",
    severity: Severity::Warning,
    what: "Docker runs with `\"iptables\": false`",
    why: "networks are not kept apart, docker-proxy hides who asks, and only palisade guards the addresses of \
          containers",
    remedy: "take `iptables` out of where it is set, then `systemctl restart docker`",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let docker = facts.host.docker.as_ref().filter(|docker| !docker.iptables)?;
    let from = &docker.iptables_from;
    Some(FINDING.found(
        format!(
            "Docker may not load rules (`iptables: false` in {from}): containers have no way out unless something else \
             masquerades, every published port is answered by docker-proxy, which hides who asks from the container, networks \
             are not kept apart, and only palisade keeps others away from the addresses of containers"
        ),
        format!(
            "take `iptables` out of {from}, then `systemctl restart docker`: palisade guards what is published, whatever Docker loads"
        ),
    ))
}
