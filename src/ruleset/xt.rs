//! Common matches and targets of iptables, read from their C structures.
//!
//! Structures and numbers follow `include/uapi/linux/netfilter/xt_*.h`, `netfilter_ipv4/ipt_*.h` and
//! `netfilter_ipv6/ip6t_*.h`. An unknown revision, flag or length makes the whole extension unknown.

mod info;
mod matches;
mod targets;

pub use matches::{Conntrack, Match, SourceBounds};
pub use targets::{ConnectionMark, Target};

use super::Extension;

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// Whether to match ports outside the range.
    pub inverted: bool,
}

impl Range {
    /// Whether the range matches a port; `None` if the port is unknown and matters.
    #[must_use]
    pub fn holds(self, port: Option<u16>) -> Option<bool> {
        if (self.first, self.last) == (0, u16::MAX) {
            return Some(!self.inverted);
        }
        port.map(|port| (self.first..=self.last).contains(&port) != self.inverted)
    }
}

/// An extension as a rule has it.
#[cfg(test)]
fn extension(name: &str, revision: u32, info: &[u8]) -> Extension {
    Extension { name: name.to_owned(), revision, info: info.to_vec() }
}
