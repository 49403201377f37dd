//! What is said of a session that could not connect again.

use super::Remedy;
use crate::machine::Session;
use crate::printable::printable;
use std::fmt;

/// A session that could not connect again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// The session.
    pub session: Session,
    /// The sentence of the denying rule, with its line: `what else comes in is denied (policy.yaml:4)`.
    pub denied_by: String,
    /// What lets it in.
    pub remedy: Remedy,
}

impl fmt::Display for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, remedy, .. } = self;
        write!(f, "{session} could not connect again.\nDenied by: {}\n{remedy}", printable(&self.denied_by))
    }
}

impl Lockout {
    /// Warns that the session could not connect again, where that does not stop the command.
    pub fn warn(&self) {
        tracing::warn!("{} could not connect again: {}", self.session, self.denied_by);
    }
}

/// The sessions that could not connect again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Lockouts(pub Vec<Lockout>);

impl fmt::Display for Lockouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elsewhere = |lockout: &Lockout| matches!(lockout.remedy, Remedy::Elsewhere(_));
        f.write_str(if self.0.iter().all(elsewhere) {
            "you could not connect again, whatever the policy says: "
        } else {
            "this policy would lock you out: "
        })?;
        f.write_str("nothing was changed, the old rules are in force\n\n")?;
        self.0.iter().try_for_each(|lockout| writeln!(f, "{lockout}"))?;
        f.write_str("To load it all the same: palisade apply --force")
    }
}

impl Lockouts {
    /// Why somebody is not taken out of a group, or not blocked, for a time; `remedy` is what to do all the same.
    #[must_use]
    pub fn of_temporary(&self, what: &str, remedy: &str) -> String {
        let mut text = format!("{what} would lock you out: nothing was changed\n\n");
        for Lockout { session, denied_by, .. } in &self.0 {
            text.push_str(&format!("{session} could not connect again.\nDenied by: {}\n\n", printable(denied_by)));
        }
        text + remedy
    }

    /// Why a kept ruleset is refused. Names no change of the policy, since another ruleset would be loaded.
    #[must_use]
    pub fn of_ruleset(&self, number: u32) -> String {
        let mut text =
            format!("ruleset {number} would lock you out: nothing was changed, the present rules are in force\n\n");
        for Lockout { session, denied_by, .. } in &self.0 {
            text.push_str(&format!("{session} could not connect again.\nDenied by: {}\n\n", printable(denied_by)));
        }
        text + &format!("To go back to it all the same: palisade rollback --to {number} --force")
    }
}
