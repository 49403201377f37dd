//! A finding, and the kind that it is of.

use super::Facts;
use crate::printable::printable;
use serde::Serialize;

/// What works against the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of finding it is: a word that stays the same from version to version.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, and what it means.
    pub message: String,
    /// What mends it: a command, or what to write where.
    pub help: String,
}

/// How bad a finding is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is not in force, or will not be after the next boot, or others decide what it says.
    Error,
    /// Something denies what the policy allows, or leaves open what palisade alone then closes.
    Warning,
    /// It could not be found out whether something is wrong.
    Note,
}

impl Severity {
    /// The word for it, as JSON has it too.
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
    /// A word that stays the same from version to version.
    pub id: &'static str,
    /// How bad it is, unless the one that is found says otherwise.
    pub severity: Severity,
    /// What is found.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What mends it, in general.
    pub remedy: &'static str,
}

impl Kind {
    /// One of this kind was found. Names of others are in its words: they are put on one line, with nothing that a
    /// terminal would obey.
    pub(super) fn found(&self, message: impl Into<String>, help: impl Into<String>) -> Finding {
        let shown = |text: String| printable(&text).into_owned();
        Finding { id: self.id, severity: self.severity, message: shown(message.into()), help: shown(help.into()) }
    }
}

/// How a kind of finding is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// There is one at most.
    One(fn(&Facts<'_>) -> Option<Finding>),
    /// There is one for each thing that is wrong.
    Each(fn(&Facts<'_>) -> Vec<Finding>),
}

impl Check {
    /// What is found.
    #[must_use]
    pub fn run(self, facts: &Facts<'_>) -> Vec<Finding> {
        match self {
            Self::One(check) => check(facts).into_iter().collect(),
            Self::Each(check) => check(facts),
        }
    }
}
