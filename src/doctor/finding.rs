//! A finding and its kind.

use super::Facts;
use crate::printable::printable;
use serde::Serialize;

/// Something that works against the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind: an identifier that is the same in every version.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The problem, and what it means.
    pub message: String,
    /// The remedy: a command, or what to write where.
    pub help: String,
}

/// The severity of a finding, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is not in force, or will not be after the next boot, or others decide what it means.
    Error,
    /// Something denies what the policy allows or leaves open what it denies, or it could not be determined whether
    /// something is wrong.
    Warning,
    /// Nothing is wrong as long as palisade's rules are loaded, and there is something to know.
    Note,
}

impl Severity {
    /// Its name, also in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A kind of finding. Its texts are a row of the table in docs/operations.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// An identifier that is the same in every version.
    pub id: &'static str,
    /// Its severity, unless the single finding has another one.
    pub severity: Severity,
    /// The problem.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// The remedy, in general.
    pub remedy: &'static str,
}

impl Kind {
    /// Makes a finding of this kind. Its texts contain names that others chose: they are put on one line, and
    /// terminal controls are made printable.
    pub(super) fn found(&self, message: impl Into<String>, help: impl Into<String>) -> Finding {
        let shown = |text: String| printable(&text).into_owned();
        Finding { id: self.id, severity: self.severity, message: shown(message.into()), help: shown(help.into()) }
    }
}

/// The check for a kind of finding.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Gives at most one.
    One(fn(&Facts<'_>) -> Option<Finding>),
    /// Gives one for each thing that is wrong.
    Each(fn(&Facts<'_>) -> Vec<Finding>),
    /// Its remedy changes the policy, and is tried before it is given. The trial asks `is_wrong` of the changed facts.
    Tried {
        /// Whether it has anything to report.
        is_wrong: fn(&Facts<'_>) -> bool,
        /// Gives at most one, with a remedy that was tried.
        check: fn(&Facts<'_>) -> Option<Finding>,
    },
}

impl Check {
    /// Runs the check.
    #[must_use]
    pub fn run(self, facts: &Facts<'_>) -> Vec<Finding> {
        match self {
            Self::One(check) => check(facts).into_iter().collect(),
            Self::Each(check) => check(facts),
            Self::Tried { check, .. } => check(facts).into_iter().collect(),
        }
    }

    /// Whether it finds anything. Tries no remedy, so that a trial can ask it.
    pub(super) fn is_wrong(self, facts: &Facts<'_>) -> bool {
        match self {
            Self::One(check) => check(facts).is_some(),
            Self::Each(check) => !check(facts).is_empty(),
            Self::Tried { is_wrong, .. } => is_wrong(facts),
        }
    }
}
