//! What the export does not say, or says otherwise than the policy.

use crate::resolve::Line;
use std::collections::BTreeSet;
use std::fmt;

/// How much of the policy a remark says is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is not exported.
    LeftOut,
    /// It is open to fewer than in the policy.
    Narrowed,
    /// The access is exported as it is; something else is not the cloud's.
    Note,
}

impl Kind {
    /// Its name in messages and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Narrowed => "narrowed",
            Self::Note => "note",
        }
    }
}

/// What the export does not say, or says otherwise than the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The line of the policy; `None` for a default that it does not set.
    pub line: Option<Line>,
    /// What it is about: a service, or a default.
    pub about: String,
    /// How much is missing.
    pub kind: Kind,
    /// The rest of the sentence.
    pub text: String,
}

impl fmt::Display for Remark {
    /// `left out: wireguard: ...`; without the line, which moves without a change of the policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind.name(), self.about, self.text)
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Remarks(BTreeSet<Remark>);

impl Remarks {
    pub(super) fn add(&mut self, kind: Kind, about: &str, line: Option<Line>, text: impl Into<String>) {
        self.0.insert(Remark { line, about: about.to_owned(), kind, text: text.into() });
    }

    /// In the order of the policy.
    pub(super) fn all(self) -> Vec<Remark> {
        self.0.into_iter().collect()
    }
}
