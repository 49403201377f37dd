//! What a cloud firewall is told: who may reach which port. It knows neither order nor denials.

use super::sources::Sources;
use crate::net::{Ports, Version};
use std::fmt;

/// What may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// These ports.
    Ports(Ports),
    /// Echo requests.
    Ping,
    /// ICMP over IPv4, ICMPv6 over IPv6, whatever the type.
    Icmp,
    /// An ICMP error over a family, by its type.
    Error(Version, u8),
    /// Another IP protocol, by its number.
    Protocol(u8),
    /// Every port and protocol.
    Everything,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(ports) => ports.fmt(f),
            Self::Ping => f.write_str("ping"),
            Self::Icmp => f.write_str("icmp"),
            Self::Error(version, number) => write!(f, "the {version} ICMP error {number}"),
            Self::Protocol(number) => write!(f, "{number}/proto"),
            Self::Everything => f.write_str("every port and protocol"),
        }
    }
}

/// One thing, and who may reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The service that says so, or the default.
    pub service: String,
    /// Its author's comment.
    pub comment: Option<String>,
    /// What may be reached.
    pub what: What,
    /// Who may; never nobody.
    pub sources: Sources,
}
