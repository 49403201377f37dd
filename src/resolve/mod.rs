//! Names to values: a [`Policy`](crate::policy::Policy) and the facts about this machine become a [`Resolved`].

mod resolved;

pub use resolved::{Action, Defaults, Group, Interface, Line, Peers, Ports, Rate, Resolved, Service, Transport};

use crate::facts::Facts;
use crate::policy::{Diagnostic, Policy};

/// Resolves a policy.
///
/// # Errors
/// Every problem of meaning, each with its place and a remedy.
pub fn resolve(policy: &Policy, facts: &Facts) -> Result<Resolved, Vec<Diagnostic>> {
    let _ = (policy, facts);
    Err(vec![Diagnostic::general("not yet")])
}
