//! What is wrong with a value, before its place is known.

use super::diagnostic::{Diagnostic, Span};

/// What is wrong with a value that does not know where it stands.
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
