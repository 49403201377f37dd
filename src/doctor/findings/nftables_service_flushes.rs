//! nftables.service flushes the rules of all programs.

use crate::doctor::{Facts, Finding, Kind, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "nftables-service-flushes",
    severity: Severity::Error,
    what: "`nftables.service` is enabled, and its file, or one that it includes, flushes the rules of everyone; a warning \
           where the package's drop-in has palisade's loaded again",
    why: "whenever it starts, palisade's rules and those of container engines are gone",
    remedy: "`systemctl disable nftables`, without `--now`: stopping it flushes, too",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let flush = facts.host.flush.as_ref()?;
    let (file, line) = (flush.file.display(), flush.line);
    let flushes =
        format!("nftables.service is enabled, and {file}:{line} flushes the rules of everyone: whenever it starts");
    let help = format!(
        "`systemctl disable nftables` (without --now: stopping it flushes, too), or take `flush ruleset` out of {file}"
    );
    if !facts.host.flush_is_mended {
        return Some(
            FINDING.found(format!("{flushes}, palisade's rules and those of container engines are gone"), help),
        );
    }
    let message = format!(
        "{flushes}, palisade's rules are gone until its drop-in has loaded them again, a moment later, and those of \
         container engines are gone"
    );
    Some(Finding { severity: Severity::Warning, ..FINDING.found(message, help) })
}
