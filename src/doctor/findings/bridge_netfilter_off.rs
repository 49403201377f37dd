//! Frames on a bridge bypass Docker's rules for them.

use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "bridge-netfilter-off",
    severity: Severity::Warning,
    what: "`bridge-nf-call-iptables` is not 1, and Docker needs it: without docker-proxy, or for a network whose \
           containers may not talk to each other",
    why: "calls of containers to ports of their own network get no answer, or those talk to each other that may not",
    remedy: "`modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1`, and both for the next boot",
};

/// Docker needs its rules to see bridged frames, in two cases: when containers call published ports of their own
/// network, and to separate containers that may not reach each other.
pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let docker = facts.host.docker.as_ref().filter(|docker| docker.iptables)?;
    if facts.host.sysctls.bridge_calls_iptables == Some(true) {
        return None;
    }
    let silent =
        facts.host.engines.iter().filter(|engine| engine.name == "Docker").flat_map(|engine| &engine.networks);
    let silent: Vec<String> = silent
        .filter(|network| network.driver == "bridge" && !network.talks)
        .map(|network| network.name.clone())
        .collect();
    let why = match silent.as_slice() {
        [] if docker.userland_proxy => return None,
        [] => "without docker-proxy, a container's call to a port that its own network publishes gets no answer"
            .to_owned(),
        silent => format!(
            "containers of {}, which may not talk to each other, do so all the same",
            some(silent.iter().cloned())
        ),
    };
    Some(FINDING.found(
        format!("net.bridge.bridge-nf-call-iptables is not 1, which Docker needs as it is set up here: {why}"),
        "`modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1`, and for the next boot `echo br_netfilter \
         >>/etc/modules-load.d/palisade.conf && echo net.bridge.bridge-nf-call-iptables=1 >>/etc/sysctl.d/90-palisade.conf`",
    ))
}
