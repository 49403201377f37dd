//! The policy can't be loaded.

use crate::doctor::words::command;
use crate::doctor::{Facts, Finding, Kind, PolicyState, Severity};

pub(super) const FINDING: Kind = Kind {
    id: "policy-invalid",
    severity: Severity::Error,
    what: "the policy has problems, or is not as it expects",
    why: "it can't be loaded, nor is it at the next boot",
    remedy: "what the finding says of the first problem; `palisade check` says it of all",
};

pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let PolicyState::Invalid { problems, message, at, help } = &facts.host.policy else { return None };
    let at = at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    let more = match problems {
        0 | 1 => String::new(),
        2 => ", and another problem".to_owned(),
        more => format!(", and {} more problems", more - 1),
    };
    let check =
        command("palisade --policy ", &facts.host.path, " check").unwrap_or_else(|| "`palisade check`".to_owned());
    Some(FINDING.found(
        format!("the policy can't be loaded, nor is it at the next boot: {message}{at}{more}"),
        match help {
            Some(help) => format!("{help}; {check} shows the line, and all else that is wrong with it"),
            None => format!("{check} says what is wrong with it and what to write instead"),
        },
    ))
}
