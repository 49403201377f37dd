//! Problems of a value whose place is not known yet.

use super::diagnostic::{Diagnostic, Span};

/// A problem of a value, without its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(crate) fn at(self, span: Span) -> Diagnostic {
        let problem = Diagnostic::at(span, self.message);
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}
