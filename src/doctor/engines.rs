//! Container engines: what they need of this machine, and what they leave open.

use super::published::{Leaks, Published, leaks, published};
use super::{Facts, Finding, some, warning};
use crate::explain::owner_of;
use crate::machine::Engine;
use std::collections::BTreeSet;

/// The first version of Docker that drops what is sent to a container's own address, and what a wire brings to 127.0.0.1.
const PROTECTING: u32 = 28;
const KEEP_LOADED: &str = "keep palisade loaded, after the next boot too: `systemctl enable palisade`; Docker 28 and newer drop \
                           these packets themselves";

impl Engine {
    /// Whether it is a Docker that is too old to keep others away from the addresses of its containers.
    fn is_too_old(&self) -> bool {
        let major = self.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        self.name == "Docker" && major.is_some_and(|major| major < PROTECTING)
    }

    /// `Docker 20.10.24`
    fn title(&self) -> String {
        self.version.iter().fold(self.name.clone(), |name, version| format!("{name} {version}"))
    }
}

pub(super) fn examine(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let published = published(facts);
    let leaks = leaks(facts, &published);
    findings.extend(without_rules(facts));
    findings.extend(macvlan(facts));
    findings.extend(forwarding(facts, &published));
    findings.extend(bridge_netfilter(facts));
    findings.extend(direct_routing(facts, &leaks));
    findings.extend(loopback(facts, &leaks));
}

/// The engines that need forwarding now: those that have loaded rules, and Docker where its daemon runs.
fn here(facts: &Facts<'_>) -> BTreeSet<&'static str> {
    let of_rules = facts.rules.tables.iter().flat_map(|(id, table)| {
        table
            .chains
            .keys()
            .filter_map(|chain| owner_of(id, chain, None))
            .filter(|owner| ["Docker", "Podman"].contains(owner))
    });
    of_rules.chain(facts.docker.as_ref().map(|_| "Docker")).collect()
}

fn without_rules(facts: &Facts<'_>) -> Option<Finding> {
    let docker = facts.docker.as_ref().filter(|docker| !docker.iptables)?;
    let from = &docker.iptables_from;
    Some(warning(
        "docker-iptables-off",
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

fn macvlan(facts: &Facts<'_>) -> Option<Finding> {
    const DRIVERS: [&str; 4] = ["macvlan", "ipvlan", "macvtap", "ipvtap"];
    let mut found: Vec<String> = Vec::new();
    for engine in &facts.engines {
        let networks = engine.networks.iter().filter(|network| DRIVERS.contains(&network.driver.as_str()));
        found.extend(
            networks.map(|network| format!("{}'s network {} ({})", engine.name, network.name, network.driver)),
        );
    }
    // One with a network behind it is this machine's own way to it.
    let guests = facts.links.iter().filter(|link| !link.has_network && !link.is_way_out);
    found.extend(guests.filter_map(|link| {
        let kind = link.kind.as_deref().filter(|kind| DRIVERS.contains(kind))?;
        Some(format!("the interface {} ({kind})", link.name))
    }));
    (!found.is_empty()).then(|| {
        warning(
            "macvlan-network",
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

fn forwarding(facts: &Facts<'_>, published: &BTreeSet<Published>) -> Option<Finding> {
    let engines = here(facts);
    let v4 = !engines.is_empty() && facts.sysctls.forwards_v4 == Some(false);
    let v6 = published.iter().any(|one| one.to.is_ipv6()) && facts.sysctls.forwards_v6 == Some(false);
    let sysctls: Vec<&str> = [(v4, "net.ipv4.ip_forward"), (v6, "net.ipv6.conf.all.forwarding")]
        .into_iter()
        .filter_map(|(off, name)| off.then_some(name))
        .collect();
    (!sysctls.is_empty()).then(|| {
        let engines: Vec<&str> = engines.into_iter().collect();
        warning(
            "forwarding-off",
            format!(
                "{} is 0, and {} needs it to be 1: containers don't reach the outside, nor does anyone their published ports \
                 unless docker-proxy stands in",
                sysctls.join(" and "),
                engines.join(" and ")
            ),
            sysctls
                .iter()
                .map(|name| format!("`sysctl -w {name}=1`"))
                .chain(["and the same in a file of /etc/sysctl.d for the next boot".to_owned()])
                .collect::<Vec<_>>()
                .join(", "),
        )
    })
}

/// Docker passes calls of containers to ports of their own network, and keeps those apart that may not talk, by rules that
/// frames on a bridge have to meet.
fn bridge_netfilter(facts: &Facts<'_>) -> Option<Finding> {
    let docker = facts.docker.as_ref().filter(|docker| docker.iptables)?;
    if facts.sysctls.bridge_calls_iptables == Some(true) {
        return None;
    }
    let silent = facts.engines.iter().filter(|engine| engine.name == "Docker").flat_map(|engine| &engine.networks);
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
    Some(warning(
        "bridge-netfilter-off",
        format!("net.bridge.bridge-nf-call-iptables is not 1, which Docker needs as it is set up here: {why}"),
        "`modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1`, and both for the next boot in \
         /etc/modules-load.d and /etc/sysctl.d",
    ))
}

fn direct_routing(facts: &Facts<'_>, leaks: &Leaks) -> Option<Finding> {
    let loads = facts.docker.as_ref().is_none_or(|docker| docker.iptables);
    let too_old = facts.engines.iter().find(|engine| engine.is_too_old() && loads);
    let open: BTreeSet<String> = leaks.direct.iter().map(|one| one.to.to_string()).collect();
    let found = match (too_old, open.len()) {
        (None, 0) => return None,
        (_, 0) => String::new(),
        (_, 1) => format!(" ({} is open)", some(open)),
        _ => format!(" ({} are open)", some(open)),
    };
    let who = who(too_old, &leaks.direct);
    Some(warning(
        "direct-routing",
        format!(
            "{who} does not keep others away from the addresses of its containers{found}: who routes packets there by this \
             machine gets past what is published; palisade alone denies it"
        ),
        KEEP_LOADED,
    ))
}

/// Who leaves something open: an engine by its version, else the owner of the rules that translate.
fn who(engine: Option<&Engine>, open: &BTreeSet<Published>) -> String {
    let owner = open.iter().find_map(|one| one.owner).unwrap_or("the container engine");
    engine.map_or_else(|| owner.to_owned(), Engine::title)
}

fn loopback(facts: &Facts<'_>, leaks: &Leaks) -> Option<Finding> {
    let mut ports: BTreeSet<String> = leaks.loopback.iter().map(ToString::to_string).collect();
    // Rules of the older iptables can't be followed, and those versions are known to leak.
    let unseen = facts.engines.iter().filter(|engine| engine.is_too_old() && !facts.legacy.is_empty());
    ports.extend(unseen.flat_map(|engine| engine.loopback_ports.iter().cloned()));
    (!ports.is_empty()).then(|| {
        let who = who(facts.engines.iter().find(|engine| engine.is_too_old()), &leaks.loopback);
        warning(
            "loopback-ports-leak",
            format!(
                "{} published to 127.0.0.1 alone, and {who} lets a machine on the same network reach it, which puts 127.0.0.1 on \
                 the wire; palisade alone denies it",
                match ports.len() {
                    1 => format!("{} is", some(ports)),
                    _ => format!("{} are", some(ports)),
                }
            ),
            KEEP_LOADED,
        )
    })
}
