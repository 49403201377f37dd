//! Container engines: which are here, and which leave something open.

use super::Facts;
use super::published::Published;
use crate::owners::owner_of;
use std::collections::BTreeSet;

/// The first version of Docker that drops what is sent to a container's own address, and what a wire brings to 127.0.0.1.
const PROTECTING: u32 = 28;
/// What keeps closed what an engine leaves open.
pub(super) const KEEP_LOADED: &str = "keep palisade loaded, after the next boot too: `systemctl enable palisade`; Docker \
                                      28 and newer drop these packets themselves";

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// `Docker` or `Podman`.
    pub name: String,
    /// Its version, `28.5.2` for one; `None` where it does not say.
    pub version: Option<String>,
    /// Its networks.
    pub networks: Vec<EngineNetwork>,
    /// The ports that it publishes to a loopback address, as `9200/tcp`.
    pub loopback_ports: BTreeSet<String>,
}

/// A network of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, `macvlan` and so on.
    pub driver: String,
    /// Whether its containers may talk to each other.
    pub talks: bool,
}

impl Engine {
    /// Whether it is a Docker that is too old to keep others away from the addresses of its containers.
    pub(super) fn is_too_old(&self) -> bool {
        let major = self.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        self.name == "Docker" && major.is_some_and(|major| major < PROTECTING)
    }

    /// `Docker 20.10.24`
    fn title(&self) -> String {
        self.version.iter().fold(self.name.clone(), |name, version| format!("{name} {version}"))
    }
}

/// The engines that need forwarding now: those that have loaded rules, and Docker where its daemon runs.
pub(super) fn engines_here(facts: &Facts<'_>) -> BTreeSet<&'static str> {
    let of_rules = facts.rules.tables.iter().flat_map(|(id, table)| {
        table
            .chains
            .keys()
            .filter_map(|chain| owner_of(id, chain, None))
            .filter(|owner| ["Docker", "Podman"].contains(owner))
    });
    of_rules.chain(facts.host.docker.as_ref().map(|_| "Docker")).collect()
}

/// Who leaves something open: an engine by its version, else the owner of the rules that translate.
pub(super) fn who_leaks(engine: Option<&Engine>, open: &BTreeSet<Published>) -> String {
    let owner = open.iter().find_map(|one| one.owner).unwrap_or("the container engine");
    engine.map_or_else(|| owner.to_owned(), Engine::title)
}
