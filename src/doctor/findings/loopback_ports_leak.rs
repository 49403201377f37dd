//! A port published on 127.0.0.1 can be reached from the wire.

use crate::doctor::engines::{keep_loaded, severity, who_leaks};
use crate::doctor::published::{By, reached_on_loopback};
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use std::collections::BTreeSet;

pub(super) const FINDING: Kind = Kind {
    id: "loopback-ports-leak",
    severity: Severity::Warning,
    what: "the engine lets a neighbour reach a port that is published to 127.0.0.1 alone; a note while palisade is loaded \
           and denies it",
    why: "what was meant for this machine alone is open to its network; palisade alone denies it",
    remedy: "`palisade apply`, and `systemctl enable palisade` for the next boot; or Docker 28 or newer",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let leaks = reached_on_loopback(facts, By::Others);
    let mut ports: BTreeSet<String> = leaks.iter().map(ToString::to_string).collect();
    // iptables-legacy rules can't be followed, and these versions are known to leak.
    let unseen = facts.host.engines.iter().filter(|engine| engine.is_too_old() && !facts.host.legacy.is_empty());
    ports.extend(unseen.flat_map(|engine| engine.loopback_ports.iter().cloned()));
    (!ports.is_empty()).then(|| {
        let closed = reached_on_loopback(facts, By::All).is_disjoint(&leaks);
        let who = who_leaks(facts.host.engines.iter().find(|engine| engine.is_too_old()), &leaks);
        let finding = FINDING.found(
            format!(
                "{} published to 127.0.0.1 alone, and {who} lets a machine on the same network reach it, which puts 127.0.0.1 on \
                 the wire; palisade alone denies it",
                match ports.len() {
                    1 => format!("{} is", some(ports)),
                    _ => format!("{} are", some(ports)),
                }
            ),
            keep_loaded(facts, closed),
        );
        Finding { severity: severity(facts, closed), ..finding }
    })
}
