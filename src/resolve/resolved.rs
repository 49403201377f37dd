//! What a policy means once every name has become a value: the input of [`compile`](crate::compile).

use crate::facts::Kernel;
use crate::net::{Addresses, IfPattern, Ports};
use crate::policy::Span;
use crate::ruleset::LimitUnit;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A line of the policy, counted from 1; where a rule of the kernel came from.
pub type Line = u32;

/// A valid policy with all names replaced by values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The policy's file name without its folder, as comments in the kernel name it.
    pub file: String,
    /// What happens to connections that no line speaks of.
    pub defaults: Defaults,
    /// Where the policy says so.
    pub default_lines: DefaultLines,
    /// The groups that services or `block` name (`private` among them), by name.
    pub groups: BTreeMap<String, Group>,
    /// The services by name.
    pub services: BTreeMap<String, Service>,
    /// Who is dropped before connection tracking.
    pub block: Peers,
    /// What containers may do.
    pub containers: Containers,
    /// How often denied connections are logged; `None` is never.
    pub log_denied: Option<Rate>,
    /// What has to be true of all this; no rule is made of it.
    pub expectations: Vec<Expectation>,
    /// What the kernel that the rules are for can be asked.
    pub kernel: Kernel,
}

/// What happens to new connections that no line speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// To this machine, or to a port that a container publishes.
    pub incoming: Action,
    /// From this machine.
    pub outgoing: Action,
    /// Routed, neither to nor from a container.
    pub forward: Action,
    /// Whether echo requests are answered: `Allow` or `Deny`.
    pub ping: Action,
    /// Whether a source has to be where its packets come from.
    pub reverse_path: ReversePath,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            incoming: Action::Deny,
            outgoing: Action::Allow,
            forward: Action::Deny,
            ping: Action::Allow,
            reverse_path: ReversePath::Off,
        }
    }
}

/// The lines of the defaults; `None` where the policy is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefaultLines {
    /// Of `incoming`.
    pub incoming: Option<Line>,
    /// Of `outgoing`.
    pub outgoing: Option<Line>,
    /// Of `forward`.
    pub forward: Option<Line>,
    /// Of `ping`.
    pub ping: Option<Line>,
    /// Of `reverse_path`.
    pub reverse_path: Option<Line>,
}

/// A default verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Accept.
    Allow,
    /// Drop without an answer.
    Deny,
    /// Refuse with a TCP reset or an ICMP error.
    Reject,
}

/// What is asked of a packet's source, beside that it is neither this machine's own nor a container's elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// Nothing more.
    Off,
    /// Packets to it would leave by the interface that this one came in by.
    Strict,
}

/// What containers may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// The bridges of container engines: what comes in by one of them is sent by a container. Empty on a machine that is
    /// said to have none.
    pub interfaces: BTreeSet<IfPattern>,
    /// What containers may open to the outside.
    pub outgoing: Action,
    /// Whether containers reach every port of this machine (`Allow`), or those that services open to them (`Deny`).
    pub host: Action,
    /// Where the policy says so.
    pub lines: ContainerLines,
}

/// The lines of `containers`; `None` where the policy is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerLines {
    /// Of `interfaces`.
    pub interfaces: Option<Line>,
    /// Of `outgoing`.
    pub outgoing: Option<Line>,
    /// Of `host`.
    pub host: Option<Line>,
}

impl Default for Containers {
    /// The bridges that container engines and guests' managers make by themselves; out they may, in they may not.
    fn default() -> Self {
        let exact = ["docker0", "docker_gwbridge"].map(|name| (name, false));
        let begin = ["br-", "podman", "cni-podman", "lxcbr", "lxdbr", "incusbr", "virbr"].map(|name| (name, true));
        let interface = |(name, wildcard): (&str, bool)| IfPattern { name: name.to_owned(), wildcard };
        Self {
            interfaces: exact.into_iter().chain(begin).map(interface).collect(),
            outgoing: Action::Allow,
            host: Action::Deny,
            lines: ContainerLines::default(),
        }
    }
}

/// A named group, nested groups and files included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Where it is defined; `None` for a built-in one.
    pub line: Option<Line>,
    /// Its addresses.
    pub addresses: Addresses,
    /// Its interfaces.
    pub interfaces: BTreeSet<IfPattern>,
}

/// The peers that a `from`, an `except` or `block` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The line of the first item; `None` when there are no items.
    pub line: Option<Line>,
    /// Everyone: the rest is redundant.
    pub any: bool,
    /// The groups named, each with the line that names it.
    pub groups: BTreeMap<String, Line>,
    /// Addresses, networks, ranges and files that stand here without a group's name.
    pub addresses: Addresses,
    /// Interfaces that stand here without a group's name.
    pub interfaces: BTreeSet<IfPattern>,
}

impl Peers {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any && self.groups.is_empty() && self.addresses.is_empty() && self.interfaces.is_empty()
    }
}

/// A service: ports, and who may reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where its name stands.
    pub line: Line,
    /// TCP, UDP and SCTP ports.
    pub ports: BTreeSet<Ports>,
    /// Other IP protocols by number.
    pub protocols: BTreeSet<u8>,
    /// Who may reach it.
    pub from: Peers,
    /// Who may not, although `from` names them.
    pub except: Peers,
    /// The destination addresses it holds for; empty is all of this machine's.
    pub to: Addresses,
    /// The incoming interfaces it holds for; empty is all.
    pub on: BTreeSet<IfPattern>,
    /// New connections that one source address may open.
    pub limit: Option<Rate>,
    /// Whether each new connection is logged.
    pub log: bool,
    /// What the author says of it.
    pub comment: Option<String>,
}

/// So many in a unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; never 0.
    pub count: u32,
    /// In how long.
    pub unit: LimitUnit,
    /// The line that says so; `None` for a default.
    pub line: Option<Line>,
}

/// Ports that have to be open, or shut, for some sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Where the ports stand in the policy.
    pub span: Span,
    /// Whether they have to be open: else they have to be shut.
    pub allow: bool,
    /// The ports, all of which are meant.
    pub ports: BTreeSet<Ports>,
    /// Other IP protocols by number.
    pub protocols: BTreeSet<u8>,
    /// Everyone, wherever they come in.
    pub any: bool,
    /// The addresses, groups and files included; one list for all ports that are expected together.
    pub addresses: Arc<Addresses>,
    /// Whoever comes in by these.
    pub interfaces: BTreeSet<IfPattern>,
    /// The incoming interfaces that it speaks of; empty is all.
    pub on: BTreeSet<IfPattern>,
}
