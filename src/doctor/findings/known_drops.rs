//! Programs that ban sources and daemons of VPNs, whose rules drop some sources and nobody else.

use crate::doctor::firewalls::{BANNING, Denier, drops_of_others, is_of_known_program};
use crate::doctor::{Facts, Finding, Kind, Severity};
use std::collections::BTreeMap;

pub(super) const FINDING: Kind = Kind {
    id: "known-drops",
    severity: Severity::Note,
    what: "rules of fail2ban, CrowdSec, sshguard or Tailscale, which drop some sources and nobody else",
    why: "whom they drop is denied whatever the policy allows; who drops in *input* alone does not keep anybody from \
          ports that containers publish",
    remedy: "nothing has to be done; `block` in the policy holds for published ports, too",
};

/// One for each program.
pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let mut by_program: BTreeMap<&str, Vec<Denier<'_>>> = BTreeMap::new();
    for drop in drops_of_others(facts).into_iter().filter(|drop| is_of_known_program(facts, drop)) {
        by_program.entry(drop.owner.unwrap_or_default()).or_default().push(drop);
    }
    by_program.into_iter().map(|(program, drops)| finding(program, &drops)).collect()
}

fn finding(program: &str, drops: &[Denier<'_>]) -> Finding {
    if !BANNING.contains(&program) {
        return FINDING.found(
            format!("{program} drops packets with addresses of its network that do not come by its interface"),
            "nothing has to be done: it loads these rules itself, and they decide about nobody else",
        );
    }
    if drops.iter().any(|drop| drop.hook == "forward") {
        return FINDING.found(
            format!("{program} bans: it drops the sources that it has banned, whatever the policy allows"),
            "nothing has to be done; the program itself lifts a ban",
        );
    }
    FINDING.found(
        format!(
            "{program} bans: it drops the sources that it has banned in input alone, so that they still reach the ports \
             that containers publish"
        ),
        "nothing has to be done; to keep a source away from published ports, too, name it in the policy's `block`",
    )
}
