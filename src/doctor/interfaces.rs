//! Names of interfaces, and how a policy treats them.

pub(super) use crate::preflight::in_a_policy;
use crate::resolve::Resolved;

pub(super) fn is_container(policy: &Resolved, name: &str) -> bool {
    policy.containers.covers(name)
}
