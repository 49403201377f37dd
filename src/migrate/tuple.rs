//! One rule of a list of which the first that matches decides, in the words that ufw has for it.

use super::spans::Spans;
use crate::net::{IfName, IfPattern, Version, number};
use crate::policy::address_range;
use std::net::{IpAddr, Ipv4Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Allow,
    Deny,
    Reject,
    Limit,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
            Self::Limit => "limit",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Log {
    No,
    New,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Any,
    Tcp,
    Udp,
    Sctp,
    /// Echo requests, over the rule's version.
    Ping,
    /// A protocol without ports: its number, and ufw's name for it.
    Other(u8, &'static str),
}

/// The protocols without ports that ufw knows, by its names.
pub(super) const PORTLESS: [(&str, u8); 6] =
    [("ipv6", 41), ("esp", 50), ("ah", 51), ("igmp", 2), ("gre", 47), ("vrrp", 112)];

impl Protocol {
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "any" => Some(Self::Any),
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => PORTLESS.into_iter().find(|(name, _)| *name == text).map(|(name, number)| Self::Other(number, name)),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Ping => "ping",
            Self::Other(_, name) => name,
        }
    }
}

/// Which of ufw's chains a rule stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    In,
    Out,
    Routed,
}

/// An address or a network as it is written, and the addresses that it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) text: String,
    pub(super) spans: Spans,
    /// Whether the mask is no prefix: then the addresses are those of the smallest network around.
    pub(super) is_odd: bool,
}

impl Place {
    pub(super) fn read(text: &str, version: Version) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, rest)| (address, Some(rest)));
        let address: IpAddr = address.parse().ok().filter(|address| Version::of(*address) == version)?;
        let bits = version.address_bits();
        let (length, is_odd) = match length {
            None => (bits, false),
            Some(mask) if mask.contains('.') && version == Version::V4 => {
                let mask: Ipv4Addr = mask.parse().ok()?;
                let ones = u8::try_from(mask.to_bits().leading_ones()).ok()?;
                (ones, mask.to_bits().count_ones() != u32::from(ones))
            }
            Some(length) => (length.parse().ok().filter(|length| *length <= bits)?, false),
        };
        let rest = version.last_address().checked_shr(length.into()).unwrap_or_default();
        let first = number(address) & !rest;
        Some(Self { text: text.to_owned(), spans: Spans::from(vec![(first, first | rest)]), is_odd })
    }

    /// Reads a member of a set: an address, a network, or a range of addresses.
    pub(super) fn of_a_set(text: &str, version: Version) -> Option<(u128, u128)> {
        if let Some((first, last)) = text.split_once('-') {
            let address = |text: &str| text.parse::<IpAddr>().ok().filter(|address| Version::of(*address) == version);
            let (first, last) = (number(address(first)?), number(address(last)?));
            return (first <= last).then_some((first, last));
        }
        let place = Self::read(text, version).filter(|place| !place.is_odd)?;
        place.spans.as_slice().first().copied()
    }
}

/// One rule of one IP version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    /// The line of its file, counted from 1.
    pub(super) line: usize,
    /// The file and the line.
    pub(super) place: String,
    pub(super) version: Version,
    pub(super) way: Way,
    pub(super) action: Action,
    pub(super) log: Log,
    pub(super) protocol: Protocol,
    /// The ports that are asked for, first and last of each range; none: all.
    pub(super) ports: Vec<(u16, u16)>,
    pub(super) to: Place,
    /// The sender's ports.
    pub(super) sender_ports: Vec<(u16, u16)>,
    pub(super) from: Place,
    /// The profile that the ports are of.
    pub(super) profile: Option<String>,
    /// The profile that the sender's ports are of.
    pub(super) sender_profile: Option<String>,
    pub(super) incoming: Option<IfPattern>,
    pub(super) outgoing: Option<IfPattern>,
    pub(super) comment: Option<String>,
}

impl Tuple {
    pub(super) fn is_any_source(&self) -> bool {
        self.from.spans.is_all(self.version)
    }

    pub(super) fn is_any_destination(&self) -> bool {
        self.to.spans.is_all(self.version)
    }

    /// Whether it speaks of more than a policy can say: a sender's port, or a mask that is no prefix.
    pub(super) fn is_inexact(&self) -> bool {
        !self.sender_ports.is_empty() || self.from.is_odd || self.to.is_odd
    }

    /// Whether no packet has such an address: one of IPv4 in the form of IPv6, which is never sent (RFC 4291, 2.5.5.2).
    pub(super) fn is_of_nobody(&self) -> bool {
        let mapped = Spans::from(vec![(0xffff << 32, 0xffff_ffff_ffff)]);
        self.version == Version::V6 && (mapped.covers(&self.from.spans) || mapped.covers(&self.to.spans))
    }

    /// Where it stands: `user.rules:12`.
    pub(super) fn place(&self) -> String {
        self.place.clone()
    }
}

/// An interface's name as iptables writes it: a trailing `+` stands for any ending.
pub(super) fn interface(text: &str) -> Option<IfPattern> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.+,=%@-".contains(c);
    let is_name = !text.is_empty() && text.len() <= IfName::MAX_LEN && text.chars().all(allowed);
    // No interface has such a name, or a policy takes it for something else.
    let is_other = [".", ".."].contains(&text) || text.contains(['@', ',']) || address_range(text).is_ok();
    let (name, wildcard) = text.strip_suffix('+').map_or((text, false), |name| (name, true));
    (is_name && !is_other && !name.is_empty()).then(|| IfPattern { name: name.to_owned(), wildcard })
}
