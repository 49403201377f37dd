//! Why a policy denies.

use super::{Refused, Wanted};
use crate::compile::Denial;
use crate::net::{IfPattern, Ports};
use crate::policy::quote;
use crate::resolve::{Action, Line, Peers, PolicyRule, Resolved, Service};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The reason for which a policy denies a source a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The service or the rule that is about the port; `None` if none is.
    pub name: Option<String>,
    /// The line of the policy that denies; `None` where it is silent and a default denies.
    pub line: Option<Line>,
    /// The kind of reason.
    pub reason: Reason,
    /// The reason, as a sentence.
    pub words: String,
}

/// The kinds of reasons; those of services and rules in the order of how close they come to letting it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No service or rule is about it.
    Default,
    /// `block` names it.
    Blocked,
    /// A service or a rule denies it.
    Denies,
    /// It is not in `from`.
    NotInFrom,
    /// It is in `except`.
    Except,
    /// It comes in by another interface, or asks for another address.
    Elsewhere,
    /// The policy as it is now lets it in.
    LetsIn,
    /// It came too often.
    Limit,
}

/// A service or a rule, as far as it matters.
pub(super) struct Written<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) line: Line,
    pub(super) action: Action,
    pub(super) from: &'a Peers,
    pub(super) except: &'a Peers,
    on: &'a BTreeSet<IfPattern>,
    /// Whether it is about some addresses alone that packets are sent to.
    to: bool,
    limit: Option<Option<Line>>,
}

/// Why the policy denies it. What was denied by a policy that was applied before may be allowed by this one: then that is
/// said. Who is in `block` was not remembered as denied, and is asked about by [`Reason::Blocked`] alone.
#[must_use]
pub fn why(policy: &Resolved, refused: &Refused) -> Why {
    if policy.members(&policy.block).addresses.contains(refused.source) {
        let line = policy.block.line;
        return Why { name: None, line, reason: Reason::Blocked, words: "in `block`".to_owned() };
    }
    let written = about(policy, refused);
    let names = |peers: &Peers| peers.any || policy.members(peers).addresses.contains(refused.source);
    let (denying, allowing): (Vec<_>, Vec<_>) = written.into_iter().partition(|rule| rule.action != Action::Allow);
    for rule in denying {
        if names(rule.from) && !policy.members(rule.except).addresses.contains(refused.source) {
            return rule.says(Reason::Denies, format!("denied by the {} {}", rule.kind, quote(rule.name)));
        }
    }
    let reason = |rule: &Written<'_>| rule.denies(policy, refused.source, names(rule.from));
    // The reason of the service that comes closest to letting it in.
    allowing.iter().map(reason).max_by_key(|why| why.reason).unwrap_or_else(|| by_default(policy, refused))
}

/// The services that are about it, by name, each with its line.
#[must_use]
pub fn services_about(policy: &Resolved, what: Wanted) -> Vec<(&str, &Service)> {
    let services = policy.services.iter();
    let about = services.filter(|(_, one)| has(what, one.all, &one.ports, &one.protocols, one.ping));
    about.map(|(name, service)| (name.as_str(), service)).collect()
}

fn has(what: Wanted, all: bool, ports: &BTreeSet<Ports>, protocols: &BTreeSet<u8>, ping: bool) -> bool {
    let named = match what {
        Wanted::Port(transport, port) => {
            ports.iter().any(|ports| ports.transport == transport && (ports.first..=ports.last).contains(&port))
        }
        Wanted::Protocol(number) => protocols.contains(&number),
        Wanted::Ping => ping,
    };
    all || named
}

impl<'a> From<(&'a str, &'a Service)> for Written<'a> {
    fn from((name, service): (&'a str, &'a Service)) -> Self {
        let Service { line, action, from, except, on, .. } = service;
        let limit = service.limit.map(|rate| rate.line);
        Self {
            kind: "service",
            name,
            line: *line,
            action: *action,
            from,
            except,
            on,
            to: !service.to.is_empty(),
            limit,
        }
    }
}

impl<'a> From<(&'a str, &'a PolicyRule)> for Written<'a> {
    fn from((name, rule): (&'a str, &'a PolicyRule)) -> Self {
        let PolicyRule { line, action, from, except, on, .. } = rule;
        Self { kind: "rule", name, line: *line, action: *action, from, except, on, to: !rule.to.any, limit: None }
    }
}

/// The services or rules that are about the port.
fn about<'a>(policy: &'a Resolved, refused: &Refused) -> Vec<Written<'a>> {
    match refused.towards {
        Denial::Incoming => services_about(policy, refused.what).into_iter().map(Written::from).collect(),
        Denial::Forward => {
            let rules = policy.forward.iter();
            let about = rules.filter(|(_, one)| has(refused.what, one.all, &one.ports, &one.protocols, one.ping));
            about.map(|(name, rule)| Written::from((name.as_str(), rule))).collect()
        }
    }
}

/// The service or the rule of that name.
pub(super) fn written<'a>(policy: &'a Resolved, towards: Denial, name: &str) -> Option<Written<'a>> {
    match towards {
        Denial::Incoming => {
            policy.services.get_key_value(name).map(|(name, one)| Written::from((name.as_str(), one)))
        }
        Denial::Forward => policy.forward.get_key_value(name).map(|(name, one)| Written::from((name.as_str(), one))),
    }
}

impl Written<'_> {
    fn says(&self, reason: Reason, words: String) -> Why {
        Why { name: Some(self.name.to_owned()), line: Some(self.line), reason, words }
    }

    /// Why it does not let a source in.
    fn denies(&self, policy: &Resolved, source: IpAddr, is_named: bool) -> Why {
        let (kind, name) = (self.kind, quote(self.name));
        if !is_named {
            let by_interface = !policy.members(self.from).interfaces.is_empty();
            let beside = if by_interface { ", and it came in by no interface that is named there" } else { "" };
            return self.says(Reason::NotInFrom, format!("not in `from` of the {kind} {name}{beside}"));
        }
        if policy.members(self.except).addresses.contains(source) {
            return self.says(Reason::Except, format!("in `except` of the {kind} {name}"));
        }
        if let Some(line) = self.limit {
            let why = self.says(Reason::Limit, format!("more often than the limit of the {kind} {name} allows"));
            return Why { line: line.or(why.line), ..why };
        }
        if !self.on.is_empty() {
            let words = format!("it came in by another interface than `on` of the {kind} {name} says");
            return self.says(Reason::Elsewhere, words);
        }
        if self.to {
            let words = format!("it asked for another address than `to` of the {kind} {name} says");
            return self.says(Reason::Elsewhere, words);
        }
        self.says(Reason::LetsIn, format!("the {kind} {name} lets it in by the policy as it is now"))
    }
}

fn by_default(policy: &Resolved, refused: &Refused) -> Why {
    let (line, words) = match (refused.towards, refused.what) {
        (Denial::Incoming, Wanted::Ping) => (policy.default_lines.ping, "no service is about pings"),
        (Denial::Incoming, Wanted::Protocol(_)) => {
            (policy.default_lines.incoming, "no service is about this protocol")
        }
        (Denial::Incoming, Wanted::Port(..)) => (policy.default_lines.incoming, "no service is about this port"),
        (Denial::Forward, Wanted::Ping) => (policy.default_lines.forward, "no rule of `forward` is about pings"),
        (Denial::Forward, Wanted::Protocol(_)) => {
            (policy.default_lines.forward, "no rule of `forward` is about this protocol")
        }
        (Denial::Forward, Wanted::Port(..)) => {
            (policy.default_lines.forward, "no rule of `forward` is about this port")
        }
    };
    Why { name: None, line, reason: Reason::Default, words: words.to_owned() }
}
