//! Changes of access: what one class of packets gains or loses, and how that is told.

use super::evaluate::OutcomeRegions;
use super::region::{Region, Regions};
use super::space::Target;
use crate::net::Transport;
use serde::Serialize;
use std::fmt;

/// How many ranges of sources a line of text names.
pub(super) const SHOWN_RANGES: usize = 8;

/// Sources whose access to some ports changes or, of what this machine and its containers open, destinations.
///
/// Displayed as `9000/tcp: 203.0.113.0/24 gains, 1.1.1.3 loses`, `out 25/tcp from host: any loses`, or `through 22/tcp
/// from wg0 to 10.0.0.5 by eth1: any gains`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccessChange {
    /// Which way these connections go; `None` for what comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Who opens them, if they go elsewhere: `host`, `user 1001`, `containers`, the names of interfaces that they come
    /// in by; `None` for the interfaces that no rule names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The interfaces that they leave by, or `containers`; `None` for the interfaces that no rule names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The only sources that it is about, if this machine or its containers open the connections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The only destinations that it is about, if others open the connections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<String>,
    /// `9000`, or `"8000-8010"`; `None` for what has no ports.
    pub port: Option<Port>,
    /// `tcp`, `udp`, `sctp`; `icmp` for echo requests; the number of another IP protocol, `other` for all that no
    /// rule names; `any` for all of these together.
    pub proto: String,
    /// Who may open connections that were denied: networks, ranges and addresses, or `any`. Where to, if `direction` is
    /// `out`.
    pub gains: Vec<String>,
    /// Who may no longer open them.
    pub loses: Vec<String>,
    /// Sources for which it can't be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// The incoming interfaces that the change is limited to, if others differ: `eth1`, `br-*`, `containers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether the change is about ports that containers publish, instead of this machine's own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
    /// The interfaces of these containers, if what the containers behind other interfaces publish differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// The machines behind this one that answer, by a service's `forward_to`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarded_to: Vec<String>,
    /// The change as a line of text.
    #[serde(skip)]
    pub(super) text: String,
}

/// Which way connections to elsewhere go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From this machine or its containers.
    Out,
    /// From others, through this machine.
    Through,
}

/// A port or a range of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Port {
    /// A single port.
    One(u16),
    /// `8000-8010`.
    Range(String),
}

impl AccessChange {
    /// The first and the last of the ports that it is about; `None` for what has no ports.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        match self.port.as_ref()? {
            Port::One(port) => Some((*port, *port)),
            Port::Range(range) => {
                let (first, last) = range.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()?))
            }
        }
    }
}

impl fmt::Display for AccessChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The sources of one version whose access changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) gains: Region,
    pub(super) loses: Region,
    pub(super) unknown: Region,
}

/// The sources whose access to one class of packets changes.
pub(super) fn compared(regions: &mut Regions, before: &OutcomeRegions<'_>, after: &OutcomeRegions<'_>) -> Cell {
    if before == after && before.passes(regions) == before.may_pass(regions) {
        return Cell::default();
    }
    let (passed, passes) = (before.passes(regions), after.passes(regions));
    let (could, can) = (before.may_pass(regions), after.may_pass(regions));
    // Unknown are the sources whose access is uncertain before or after.
    let doubtful_before = regions.minus(could, passed);
    let doubtful_after = regions.minus(can, passes);
    Cell {
        gains: regions.minus(passes, could),
        loses: regions.minus(passed, can),
        unknown: regions.or(doubtful_before, doubtful_after),
    }
}

/// Joins two runs of ports if the second begins right after the first.
pub(super) fn joined(a: Target, b: Target) -> Option<Target> {
    match (a, b) {
        (Target::Ports { protocol, first, last }, Target::Ports { protocol: other, first: next, last: end })
            if protocol == other && last.checked_add(1) == Some(next) =>
        {
            Some(Target::Ports { protocol, first, last: end })
        }
        _ => None,
    }
}

pub(super) fn name(target: Target) -> (Option<Port>, String) {
    match target {
        Target::Ports { protocol, first, last } => {
            let name = Transport::from_number(protocol).map_or("sctp", Transport::name);
            let port = if first == last { Port::One(first) } else { Port::Range(format!("{first}-{last}")) };
            (Some(port), name.to_owned())
        }
        Target::Ping => (None, "icmp".to_owned()),
        Target::Protocol(number) => (None, number.to_string()),
        Target::OtherProtocols(_) => (None, "other".to_owned()),
    }
}

impl fmt::Display for Target {
    /// `9000/tcp`, `60000-61000/udp`, `ping`, `50/proto`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, name(*self)) {
            (Self::Ping, _) => f.write_str("ping"),
            (Self::OtherProtocols(_), _) => f.write_str("other protocols"),
            (_, (Some(Port::One(port)), proto)) => write!(f, "{port}/{proto}"),
            (_, (Some(Port::Range(ports)), proto)) => write!(f, "{ports}/{proto}"),
            (_, (None, number)) => write!(f, "{number}/proto"),
        }
    }
}
