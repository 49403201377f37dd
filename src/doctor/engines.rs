//! Container engines: which run here, and which leave something open.

use super::{Facts, Loaded, Severity};
use crate::explain::owner_of;
use crate::machine::Engine;
use crate::preflight::Published;
use std::collections::BTreeSet;

/// The first version of Docker that drops packets sent to a container's own address, and packets from the wire to
/// 127.0.0.1.
const PROTECTING: u32 = 28;

impl Engine {
    /// Whether it is a Docker too old to keep others away from its containers' addresses.
    pub(super) fn is_too_old(&self) -> bool {
        let major = self.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        self.name == "Docker" && major.is_some_and(|major| major < PROTECTING)
    }

    /// `Docker 20.10.24`
    fn title(&self) -> String {
        self.version.iter().fold(self.name.clone(), |name, version| format!("{name} {version}"))
    }
}

/// The engines that need forwarding now: those with rules in the kernel, and Docker if its daemon runs.
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

/// The severity of what an engine leaves open: a note while palisade's rules deny it, `closed`.
pub(super) fn severity(facts: &Facts<'_>, closed: bool) -> Severity {
    let loaded = matches!(facts.host.loaded, Loaded::Policy | Loaded::Differs(_) | Loaded::Something);
    if loaded && closed { Severity::Note } else { Severity::Warning }
}

/// Who leaves something open: the engine with its version, or else the owner of the translating rules.
pub(super) fn who_leaks(engine: Option<&Engine>, open: &BTreeSet<Published>) -> String {
    let owner = open.iter().find_map(|one| one.owner).unwrap_or("the container engine");
    engine.map_or_else(|| owner.to_owned(), Engine::title)
}

/// The remedy against what an engine leaves open, `closed` by palisade's rules or not.
pub(super) fn keep_loaded(facts: &Facts<'_>, closed: bool) -> String {
    let by_itself = "Docker 28 and newer drop these packets themselves";
    let keep = "`systemctl enable palisade`";
    match facts.host.loaded {
        Loaded::Nothing => format!("`palisade apply`, and for the next boot {keep}; {by_itself}"),
        _ if closed => format!("keep palisade loaded, after the next boot too: {keep}; {by_itself}"),
        _ => format!(
            "the policy lets them pass, too: write `defaults: {{ incoming: deny }}`, and name in `services` what is to be open; \
             {by_itself}"
        ),
    }
}
