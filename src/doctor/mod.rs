//! What on this machine works against the policy: findings computed from facts, each with what it means and the command
//! that mends it.

mod engines;
mod firewalls;
mod interfaces;
mod own;
mod published;

#[cfg(test)]
mod tests;

pub use firewalls::Enabled;
pub use own::{Kernel, Loaded, PolicyState};

use crate::machine::{DockerOptions, Engine, Flush, UnitState};
use crate::netlink::RoutedLink;
use crate::printable::{printable, shell_word};
use crate::ruleset::Ruleset;
use crate::simulate::{Routes, Sets};
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

/// What is known of this machine. What could not be read stands in `unexamined`, and in its own place is as if nothing
/// were there.
#[derive(Clone)]
pub struct Facts<'f> {
    /// The policy.
    pub policy: PolicyState<'f>,
    /// Its path, as it was typed.
    pub path: &'f str,
    /// The rules of all tables, palisade's own among them.
    pub rules: &'f Ruleset,
    /// What is in their sets.
    pub sets: &'f dyn Sets,
    /// Where packets go.
    pub routes: &'f dyn Routes,
    /// The interfaces.
    pub links: Vec<RoutedLink>,
    /// The tables of the older iptables that are loaded.
    pub legacy: Vec<String>,
    /// The sysctls.
    pub sysctls: Sysctls,
    /// What `palisade.service` does at boot; `None` where systemd does not run.
    pub boot: Option<UnitState>,
    /// Other firewalls that are loaded at boot.
    pub enabled: Enabled,
    /// Where the rules that `nftables.service` loads at boot flush those of everyone; `None` where they do not, or it is
    /// not enabled.
    pub flush: Option<Flush>,
    /// Whether palisade's rules are then loaded again, as the package's drop-in has it.
    pub flush_is_mended: bool,
    /// How Docker's daemon was started; `None` where it does not run.
    pub docker: Option<DockerOptions>,
    /// What the container engines say of themselves.
    pub engines: Vec<Engine>,
    /// Whether this kernel takes the rules.
    pub kernel: Kernel,
    /// What is loaded.
    pub loaded: Loaded,
    /// How long a change still waits for confirmation, in words.
    pub waits: Option<String>,
    /// What could not be found out, and why.
    pub unexamined: Vec<Unexamined>,
}

/// The sysctls that matter; `None` where there is none of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward`.
    pub forwards_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_v6: Option<bool>,
    /// `net.bridge.bridge-nf-call-iptables`.
    pub bridge_calls_iptables: Option<bool>,
}

/// Something that could not be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexamined {
    /// What, as the object of a sentence: "the networks of Docker".
    pub what: String,
    /// Why, as a clause.
    pub why: String,
    /// What would help.
    pub help: String,
}

/// All findings, the worst first.
#[must_use]
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    own::examine(facts, &mut findings);
    firewalls::examine(facts, &mut findings);
    engines::examine(facts, &mut findings);
    interfaces::examine(facts, &mut findings);
    for Unexamined { what, why, help } in &facts.unexamined {
        findings.push(note("not-examined", format!("{what} could not be examined: {why}"), help));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Names of others are in its words: on one line, with nothing that a terminal would obey.
fn error(id: &'static str, message: impl Into<String>, help: impl Into<String>) -> Finding {
    let shown = |text: String| printable(&text).into_owned();
    Finding { id, severity: Severity::Error, message: shown(message.into()), help: shown(help.into()) }
}

fn warning(id: &'static str, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, ..error(id, message, help) }
}

fn note(id: &'static str, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding { severity: Severity::Note, ..error(id, message, help) }
}

/// A command in backquotes about something that others have named; `None` where the name is none to be copied.
fn command(begin: &str, name: &str, end: &str) -> Option<String> {
    // What stands between backquotes ends with the first.
    let name = shell_word(name).filter(|name| !name.contains('`'))?;
    Some(format!("`{begin}{name}{end}`"))
}

/// `a, b and c`, or `a, b, c and 4 more`.
fn some(words: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let words: Vec<String> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if words.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        [first, second, third, rest @ ..] => format!("{first}, {second}, {third} and {} more", rest.len()),
        _ => words.join(" and "),
    }
}
