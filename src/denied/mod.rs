//! Who was denied which port, why by the policy, and what would let them in.
//!
//! The kernel remembers the source, the protocol and the port of what the table denies (`compile/denied`). The reason is
//! found in the policy that the rules were made from: it is the policy's, not that of the one rule that a packet met.

mod admits;
mod suggestion;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_suggestions;
mod why;

pub use admits::in_full;
pub(crate) use admits::{count_in_words, peers_in_words, words as range_in_words};
pub use suggestion::suggestion;
pub use why::{Reason, Why, services_about, why};

use crate::compile::{Denial, REMEMBERED_MS};
use crate::net::{Ports, Transport, Version};
use std::net::IpAddr;
use std::time::Duration;

/// A source that was denied a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What it was: for this machine, or for one behind it.
    pub towards: Denial,
    /// The address.
    pub source: IpAddr,
    /// The port that it asked for; this machine's where a container publishes it.
    pub port: Ports,
    /// How many of its packets were remembered: as many as were denied, unless they came faster than is remembered.
    pub packets: u64,
    /// How long ago the last of them came.
    pub ago: Duration,
}

/// A connection that is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it is: for this machine, or for one behind it.
    pub towards: Denial,
    /// Whose it is.
    pub source: IpAddr,
    /// What it asks for.
    pub what: Wanted,
    /// The address that it asks for; `None` if it is not known.
    pub to: Option<IpAddr>,
}

/// What a connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A port.
    Port(Transport, u16),
    /// An IP protocol without ports, by its number.
    Protocol(u8),
    /// An answer to an echo request.
    Ping,
}

impl std::fmt::Display for Wanted {
    /// As policies write it: `9000/tcp`, `50/proto`, `ping`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(transport, port) => write!(f, "{port}/{}", transport.name()),
            Self::Protocol(number) => write!(f, "{number}/proto"),
            Self::Ping => f.write_str("ping"),
        }
    }
}

impl Denied {
    /// The connection that was denied. Which address it asked for is not remembered.
    #[must_use]
    pub const fn refused(&self) -> Refused {
        let what = Wanted::Port(self.port.transport, self.port.first);
        Refused { towards: self.towards, source: self.source, what, to: None }
    }

    /// Reads an element of a set: its key, the packets that its counter has, and after how many milliseconds it runs out.
    /// `None` if these are not of such a set.
    #[must_use]
    pub fn read(
        towards: Denial,
        version: Version,
        key: &[u8],
        packets: u64,
        expires_ms: Option<u64>,
    ) -> Option<Self> {
        let (source, rest) = key.split_at_checked(version.address_len())?;
        let &[protocol, _, _, _, high, low, _, _] = rest else { return None };
        let port = u16::from_be_bytes([high, low]);
        Some(Self {
            towards,
            source: version.address_in(source)?,
            port: Ports { transport: Transport::from_number(protocol)?, first: port, last: port },
            packets,
            ago: Duration::from_millis(REMEMBERED_MS.saturating_sub(expires_ms?)),
        })
    }
}
