//! Others can reach containers by their own addresses.

use crate::doctor::engines::{keep_loaded, severity, who_leaks};
use crate::doctor::published::{By, reached_directly};
use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use std::collections::BTreeSet;

pub(super) const FINDING: Kind = Kind {
    id: "direct-routing",
    severity: Severity::Warning,
    what: "the engine lets others reach the addresses of its containers; a note while palisade is loaded and denies it",
    why: "who routes packets there by this machine gets past what is published; palisade alone denies it",
    remedy: "`palisade apply`, and `systemctl enable palisade` for the next boot; or Docker 28 or newer",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let loads = facts.host.docker.as_ref().is_none_or(|docker| docker.iptables);
    let too_old = facts.host.engines.iter().find(|engine| engine.is_too_old() && loads);
    let leaks = reached_directly(facts, By::Others);
    let open: BTreeSet<String> = leaks.iter().map(|one| one.to.to_string()).collect();
    let found = match (too_old, open.len()) {
        (None, 0) => return None,
        (_, 0) => String::new(),
        (_, 1) => format!(" ({} is open)", some(open)),
        _ => format!(" ({} are open)", some(open)),
    };
    let who = who_leaks(too_old, &leaks);
    let closed = reached_directly(facts, By::All).is_disjoint(&leaks);
    let finding = FINDING.found(
        format!(
            "{who} does not keep others away from the addresses of its containers{found}: who routes packets there by this \
             machine gets past what is published; palisade alone denies it"
        ),
        keep_loaded(facts, closed),
    );
    Some(Finding { severity: severity(facts, closed), ..finding })
}
