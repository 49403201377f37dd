//! A policy with every name resolved to a value: the input of [`compile`](crate::compile).

use super::Line;
use crate::facts::Kernel;
use crate::names::Names;
use crate::net::{Addresses, IfPattern, Ports, Version};
use crate::policy::{Diagnostic, Span};
use crate::ruleset::LimitUnit;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// A valid policy with all names replaced by values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The policy's file name without its folder, as comments in the kernel name it.
    pub file: String,
    /// The paths of the files that it includes, relative to its folder.
    pub included: Vec<String>,
    /// The verdicts on connections that no line mentions.
    pub defaults: Defaults,
    /// The lines that set the defaults.
    pub default_lines: DefaultLines,
    /// The groups that services or `block` name (`private` among them), by name.
    pub groups: BTreeMap<String, Group>,
    /// The services by name.
    pub services: BTreeMap<String, Service>,
    /// The rules of `outgoing` by name.
    pub outgoing: BTreeMap<String, PolicyRule>,
    /// The rules of `forward` by name.
    pub forward: BTreeMap<String, PolicyRule>,
    /// The lines of `nat` by name.
    pub nat: BTreeMap<String, Nat>,
    /// The sources that are dropped before connection tracking.
    pub block: Peers,
    /// What containers may do.
    pub containers: Containers,
    /// How often denied connections are logged; `None` is never.
    pub log_denied: Option<Rate>,
    /// What has to be true of the ruleset. No rules are made of it.
    pub expectations: Vec<Expectation>,
    /// The findings of doctor that do not count, by their identifier, with the reason. No rules are made of it.
    pub ignored: BTreeMap<&'static str, String>,
    /// The users that it names, by number. No rules are made of it.
    pub user_names: BTreeMap<u32, String>,
    /// What is known of its host names. No rules are made of what the groups and lists do not have.
    pub names: Names,
    /// The features of the kernel that the rules are for.
    pub kernel: Kernel,
    /// What it probably does not mean, and what may surprise. No rules are made of it.
    pub warnings: Vec<Diagnostic>,
}

impl Resolved {
    /// The groups in use that take addresses for a time.
    pub fn temporary(&self) -> BTreeMap<&str, Temporary> {
        let nested = self.groups.values().flat_map(|group| &group.temporary);
        nested.map(|(name, temporary)| (name.as_str(), *temporary)).collect()
    }

    /// The members of peers, with those of the groups they name.
    #[must_use]
    pub fn members(&self, peers: &Peers) -> Group {
        let groups: Vec<&Group> = peers.groups.keys().filter_map(|name| self.groups.get(name)).collect();
        let parts: Vec<&Addresses> = groups
            .iter()
            .map(|group| &group.addresses)
            .chain([&peers.addresses])
            .filter(|part| !part.is_empty())
            .collect();
        let interfaces =
            groups.iter().flat_map(|group| &group.interfaces).chain(&peers.interfaces).cloned().collect();
        let names = groups.iter().flat_map(|group| &group.names).chain(&peers.names).cloned().collect();
        let temporary = groups.iter().flat_map(|group| group.temporary.clone()).collect();
        Group { addresses: Addresses::union(&parts), interfaces, names, temporary, ..Group::default() }
    }
}

/// The verdicts on new connections that no line mentions.
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
    /// What is required of a packet's source.
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

/// The lines that set the defaults; `None` for a default that the policy does not set.
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

/// A verdict of a default or a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Accept.
    #[default]
    Allow,
    /// Drop without an answer.
    Deny,
    /// Refuse with a TCP reset or an ICMP error.
    Reject,
}

impl Action {
    /// Its name in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
        }
    }
}

/// What is required of a packet's source, besides that it must not be an address of this machine, nor of a container
/// behind another interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// Nothing more.
    Off,
    /// The route to the source must leave by the interface that the packet came in by.
    Strict,
}

/// What containers may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// The bridges of container engines. A packet that comes in by one of them was sent by a container. Empty if the
    /// policy says that this machine has no containers.
    pub interfaces: BTreeSet<IfPattern>,
    /// The verdict on connections that containers open to the outside.
    pub outgoing: Action,
    /// Whether containers reach every port of this machine (`Allow`), or only those that services open to them
    /// (`Deny`).
    pub host: Action,
    /// The lines that set these values.
    pub lines: ContainerLines,
}

impl Containers {
    /// Whether the policy counts an interface of that name as one of containers.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.interfaces.iter().any(|interface| interface.covers(name))
    }
}

/// The lines of `containers`; `None` for a value that the policy does not set.
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
    /// The bridges that container engines and virtual machine managers create by default. Containers may open
    /// connections to the outside, but not to this machine.
    fn default() -> Self {
        // Docker's; nerdctl's, whose other networks are `br-*`; that of the CNI plugin `bridge`.
        let exact = ["docker0", "docker_gwbridge", "nerdctl0", "cni0"].map(|name| (name, false));
        // The last two are systemd-nspawn's: a container's own wire, and the bridge of a zone.
        let begin = ["br-", "podman", "cni-podman", "lxcbr", "lxdbr", "incusbr", "virbr", "ve-", "vz-"];
        let begin = begin.map(|name| (name, true));
        let interface = |(name, wildcard): (&str, bool)| IfPattern { name: name.to_owned(), wildcard };
        Self {
            interfaces: exact.into_iter().chain(begin).map(interface).collect(),
            outgoing: Action::Allow,
            host: Action::Deny,
            lines: ContainerLines::default(),
        }
    }
}

/// A named group, with the members of nested groups and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Where it is defined; `None` for a built-in one.
    pub line: Option<Line>,
    /// Its addresses.
    pub addresses: Addresses,
    /// Its interfaces.
    pub interfaces: BTreeSet<IfPattern>,
    /// Its users, by number.
    pub users: BTreeSet<u32>,
    /// The host names whose addresses are among its own.
    pub names: BTreeSet<String>,
    /// The groups that take addresses for a time: itself, and nested ones.
    pub temporary: BTreeMap<String, Temporary>,
}

/// How a group takes addresses for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// The line that says so.
    pub line: Line,
    /// For how long at most.
    pub most: Duration,
}

/// The peers that a `from`, an `except` or `block` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The line of the first item; `None` when there are no items.
    pub line: Option<Line>,
    /// Whether everyone is named. All else is redundant then.
    pub any: bool,
    /// The groups named, each with the line that names it.
    pub groups: BTreeMap<String, Line>,
    /// Addresses, networks, ranges and files listed without a group.
    pub addresses: Addresses,
    /// Interfaces listed without a group.
    pub interfaces: BTreeSet<IfPattern>,
    /// Users listed without a group, by number.
    pub users: BTreeSet<u32>,
    /// The host names listed without a group, whose addresses are among those above.
    pub names: BTreeSet<String>,
    /// Whether this machine itself is named.
    pub host: bool,
}

impl Peers {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any
            && !self.host
            && self.groups.is_empty()
            && self.addresses.is_empty()
            && self.interfaces.is_empty()
            && self.users.is_empty()
            && self.names.is_empty()
    }
}

/// A service: ports, and the peers that may reach them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The line of its name.
    pub line: Line,
    /// TCP, UDP and SCTP ports.
    pub ports: BTreeSet<Ports>,
    /// Other IP protocols by number.
    pub protocols: BTreeSet<u8>,
    /// Whether echo requests are among what it is about.
    pub ping: bool,
    /// Whether it is about every port and protocol. The three above are empty then.
    pub all: bool,
    /// Whether it allows or denies.
    pub action: Action,
    /// The machine behind this one that answers.
    pub forward_to: Option<ForwardTo>,
    /// The peers that may reach it.
    pub from: Peers,
    /// The peers that may not, although `from` names them.
    pub except: Peers,
    /// The destination addresses it applies to; empty means all of this machine's.
    pub to: Addresses,
    /// The incoming interfaces it applies to; empty means all.
    pub on: BTreeSet<IfPattern>,
    /// The rate of new connections allowed to each source address.
    pub limit: Option<Rate>,
    /// Whether each new connection is logged.
    pub log: bool,
    /// The author's comment.
    pub comment: Option<String>,
}

/// Where a service is answered: at least one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardTo {
    /// The address over IPv4.
    pub v4: Option<Ipv4Addr>,
    /// The address over IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The port over IPv4; `None` leaves it.
    pub port_v4: Option<u16>,
    /// The port over IPv6; `None` leaves it.
    pub port_v6: Option<u16>,
}

impl ForwardTo {
    /// The target over one version.
    #[must_use]
    pub fn over(&self, version: Version) -> Option<(IpAddr, Option<u16>)> {
        match version {
            Version::V4 => self.v4.map(|address| (address.into(), self.port_v4)),
            Version::V6 => self.v6.map(|address| (address.into(), self.port_v6)),
        }
    }
}

/// A rule of `outgoing` or `forward`: ports, who opens connections to them, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// The line of its name.
    pub line: Line,
    /// TCP, UDP and SCTP ports.
    pub ports: BTreeSet<Ports>,
    /// Other IP protocols by number.
    pub protocols: BTreeSet<u8>,
    /// Whether echo requests are among what it is about.
    pub ping: bool,
    /// Whether it is about every port and protocol. The three above are empty then.
    pub all: bool,
    /// Who opens.
    pub from: Peers,
    /// Where to. Interfaces are those that packets leave by.
    pub to: Peers,
    /// For whom it does not hold, although `from` names them.
    pub except: Peers,
    /// The incoming interfaces it applies to; empty means all.
    pub on: BTreeSet<IfPattern>,
    /// Whether it allows or denies.
    pub action: Action,
    /// Whether each new connection is logged.
    pub log: bool,
    /// The author's comment.
    pub comment: Option<String>,
}

/// A line of `nat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// The line of its name.
    pub line: Line,
    /// Whose packets are translated.
    pub from: Peers,
    /// The interfaces that they leave by, without a group.
    pub to: Peers,
    /// The address that becomes their source; `None` is an address of the outgoing interface.
    pub source: Option<IpAddr>,
    /// The author's comment.
    pub comment: Option<String>,
}

/// A count per unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; never 0.
    pub count: u32,
    /// The unit of time.
    pub unit: LimitUnit,
    /// The line that sets it; `None` for a default.
    pub line: Option<Line>,
}

impl fmt::Display for Rate {
    /// `6/minute`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.name())
    }
}

/// Ports that have to be open, or shut, for some sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The place of the ports in the policy.
    pub span: Span,
    /// Whether the ports have to be open; otherwise they have to be shut.
    pub allow: bool,
    /// The ports. The expectation holds only if it holds for all of them.
    pub ports: BTreeSet<Ports>,
    /// Other IP protocols by number.
    pub protocols: BTreeSet<u8>,
    /// Whether it is about echo requests.
    pub ping: bool,
    /// Whether it is about every port and protocol.
    pub all: bool,
    /// Whether it is about every source, whichever interface it comes in by.
    pub any: bool,
    /// The source addresses, including those of groups and files. Shared by all ports that are expected together.
    pub addresses: Arc<Addresses>,
    /// The incoming interfaces whose senders count as sources.
    pub interfaces: BTreeSet<IfPattern>,
    /// The incoming interfaces it applies to; empty means all.
    pub on: BTreeSet<IfPattern>,
    /// The senders on this machine, and where the connections go; `None` for connections to this machine.
    pub elsewhere: Option<Arc<Elsewhere>>,
}

/// What an expectation of connections to elsewhere says besides its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Whether this machine itself is a sender.
    pub host: bool,
    /// The users of this machine that are senders, by number.
    pub users: BTreeSet<u32>,
    /// Whether every destination is meant.
    pub any: bool,
    /// The destination addresses.
    pub addresses: Addresses,
    /// The interfaces that packets leave by.
    pub interfaces: BTreeSet<IfPattern>,
}
