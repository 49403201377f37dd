//! What a cloud firewall is told: who may reach which port. It knows neither order nor denials.

use super::sources::Sources;
use crate::net::{Ports, Version};
use crate::resolve::Line;
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

/// How much of the policy a remark says is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is not exported.
    LeftOut,
    /// It is open to fewer than in the policy.
    Narrowed,
    /// The access is exported as it is; something else is not the cloud's.
    Note,
}

impl Kind {
    /// Its name in messages and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Narrowed => "narrowed",
            Self::Note => "note",
        }
    }
}

/// What the export does not say, or says otherwise than the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The line of the policy; `None` for a default that it does not set.
    pub line: Option<Line>,
    /// What it is about: a service, or a default.
    pub about: String,
    /// How much is missing.
    pub kind: Kind,
    /// The rest of the sentence.
    pub text: String,
}

impl fmt::Display for Remark {
    /// `left out: wireguard: ...`; without the line, which moves without a change of the policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind.name(), self.about, self.text)
    }
}
