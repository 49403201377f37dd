//! Translates the rules of other firewalls to a policy.
//!
//! Texts of files in, the text of a policy and a report out: whoever calls this reads the files, and has the policy
//! proved before anybody sees it.

pub mod ufw;
