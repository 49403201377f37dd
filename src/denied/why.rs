//! Why a policy denies.

use super::Denied;
use crate::compile::Denial;
use crate::net::{IfPattern, Ports};
use crate::policy::quote;
use crate::resolve::{Action, Line, Peers, Resolved};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The reason for which a policy denies a source a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The service or the rule that is about the port; `None` if none is.
    pub name: Option<String>,
    /// The line of the policy that denies; `None` where it is silent and a default denies.
    pub line: Option<Line>,
    /// The reason, as a sentence.
    pub words: String,
}

/// A service or a rule, as far as it matters.
struct Written<'a> {
    kind: &'static str,
    name: &'a str,
    line: Line,
    action: Action,
    from: &'a Peers,
    except: &'a Peers,
    on: &'a BTreeSet<IfPattern>,
    /// Whether it is about some addresses alone that packets are sent to.
    to: bool,
    limit: Option<Option<Line>>,
}

/// Why the policy denies it. What was denied by a policy that was applied before may be allowed by this one: then that is
/// said.
#[must_use]
pub fn why(policy: &Resolved, denied: &Denied) -> Why {
    let written = about(policy, denied);
    let names = |peers: &Peers| peers.any || policy.members(peers).addresses.contains(denied.source);
    let (denying, allowing): (Vec<_>, Vec<_>) = written.into_iter().partition(|rule| rule.action != Action::Allow);
    for rule in denying {
        if names(rule.from) && !policy.members(rule.except).addresses.contains(denied.source) {
            return rule.says(format!("denied by the {} {}", rule.kind, quote(rule.name)));
        }
    }
    let reason = |rule: &Written<'_>| rule.denies(policy, denied.source, names(rule.from));
    let reasons = allowing.iter().map(reason);
    // The reason of the service that comes closest to letting it in.
    reasons.max_by_key(|(closeness, _)| *closeness).map_or_else(|| by_default(policy, denied), |(_, why)| why)
}

/// The services or rules that are about the port.
fn about<'a>(policy: &'a Resolved, denied: &Denied) -> Vec<Written<'a>> {
    let has = |all: bool, ports: &BTreeSet<Ports>| {
        let covers = |ports: &Ports| {
            ports.transport == denied.port.transport && (ports.first..=ports.last).contains(&denied.port.first)
        };
        all || ports.iter().any(covers)
    };
    match denied.towards {
        Denial::Incoming => {
            let services = policy.services.iter().filter(|(_, service)| has(service.all, &service.ports));
            let written = services.map(|(name, service)| Written {
                kind: "service",
                name,
                line: service.line,
                action: service.action,
                from: &service.from,
                except: &service.except,
                on: &service.on,
                to: !service.to.is_empty(),
                limit: service.limit.map(|rate| rate.line),
            });
            written.collect()
        }
        Denial::Forward => {
            let rules = policy.forward.iter().filter(|(_, rule)| has(rule.all, &rule.ports));
            let written = rules.map(|(name, rule)| Written {
                kind: "rule",
                name,
                line: rule.line,
                action: rule.action,
                from: &rule.from,
                except: &rule.except,
                on: &rule.on,
                to: !rule.to.any,
                limit: None,
            });
            written.collect()
        }
    }
}

impl Written<'_> {
    fn says(&self, words: String) -> Why {
        Why { name: Some(self.name.to_owned()), line: Some(self.line), words }
    }

    /// Why it does not let a source in, and how close it comes to that.
    fn denies(&self, policy: &Resolved, source: IpAddr, is_named: bool) -> (u8, Why) {
        let (kind, name) = (self.kind, quote(self.name));
        if !is_named {
            let by_interface = !policy.members(self.from).interfaces.is_empty();
            let beside = if by_interface { ", and it came in by no interface that is named there" } else { "" };
            return (1, self.says(format!("not in `from` of the {kind} {name}{beside}")));
        }
        if policy.members(self.except).addresses.contains(source) {
            return (2, self.says(format!("in `except` of the {kind} {name}")));
        }
        if let Some(line) = self.limit {
            let why = self.says(format!("more often than the limit of the {kind} {name} allows"));
            return (5, Why { line: line.or(why.line), ..why });
        }
        if !self.on.is_empty() {
            return (3, self.says(format!("it came in by another interface than `on` of the {kind} {name} says")));
        }
        if self.to {
            return (3, self.says(format!("it asked for another address than `to` of the {kind} {name} says")));
        }
        (4, self.says(format!("the {kind} {name} lets it in by the policy as it is now")))
    }
}

fn by_default(policy: &Resolved, denied: &Denied) -> Why {
    let (line, words) = match denied.towards {
        Denial::Incoming => (policy.default_lines.incoming, "no service is about this port"),
        Denial::Forward => (policy.default_lines.forward, "no rule of `forward` is about this port"),
    };
    Why { name: None, line, words: words.to_owned() }
}
