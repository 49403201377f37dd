//! Questions on a terminal.

use crate::error::Error;
use crate::process::progress::above;
use std::io::{IsTerminal, Write};

/// Whether somebody sits at a terminal, who can be asked.
pub(super) fn is_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question that is answered with yes or no. `refused` is what is not done otherwise: `not disabled`.
///
/// # Errors
/// The answer is no, or nobody can answer.
pub(super) fn agreed(question: &str, refused: &str) -> Result<(), Error> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::Declined(format!("{refused}: pass --yes when stdin is not a terminal")));
    }
    let asked = |source| Error::Io { what: "can't ask".to_owned(), source };
    put(question).map_err(asked)?;
    let mut answer = String::new();
    stdin.read_line(&mut answer).map_err(asked)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::Declined(refused.to_owned())),
    }
}

/// Writes to the terminal at once.
pub(super) fn put(text: &str) -> std::io::Result<()> {
    above(|| {
        let mut terminal = std::io::stderr();
        terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush())
    })
}
