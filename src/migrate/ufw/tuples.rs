//! The comments in which ufw keeps its rules: `### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in`.

use super::spans::Spans;
use crate::net::{IfName, IfPattern, Version, number};
use crate::printable::printable;
use std::net::{IpAddr, Ipv4Addr};

/// What stands before the fields of a rule.
pub(super) const MARK: &str = "### tuple ###";
/// How many ports one rule can have; a range counts as two.
const MOST_PORTS: usize = 15;

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
    /// A protocol without ports: its number, and ufw's name for it.
    Other(u8, &'static str),
}

/// The protocols without ports that ufw knows, by its names.
pub(super) const PORTLESS: [(&str, u8); 6] =
    [("ipv6", 41), ("esp", 50), ("ah", 51), ("igmp", 2), ("gre", 47), ("vrrp", 112)];

impl Protocol {
    fn read(text: &str) -> Option<Self> {
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
}

/// One rule of one IP version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    /// The line of its file, counted from 1.
    pub(super) line: usize,
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
        let file = if self.version == Version::V4 { "user.rules" } else { "user6.rules" };
        format!("{file}:{}", self.line)
    }

    /// Reads what stands behind the mark. `Err` is why ufw skips the line.
    pub(super) fn read(text: &str, line: usize, version: Version) -> Result<Self, String> {
        let (fields, comment) = match text.split_once(" comment=") {
            Some((fields, hex)) => (fields, Some(of_hex(hex.trim())).filter(|comment| !comment.is_empty())),
            None => (text, None),
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let (first, profiles, place) = match fields.as_slice() {
            [first @ .., dapp, sapp] if first.len() == 6 => (first, Some((*dapp, *sapp)), None),
            [first @ .., dapp, sapp, place] if first.len() == 6 => (first, Some((*dapp, *sapp)), Some(*place)),
            [first @ .., place] if first.len() == 6 => (first, None, Some(*place)),
            first if first.len() == 6 => (first, None, None),
            other => return Err(format!("it has {} fields, and a rule has 6 to 9", other.len())),
        };
        let [action, protocol, ports, to, sender_ports, from] = first else {
            return Err("it has too few fields".to_owned());
        };
        let (routed, action) = action.strip_prefix("route:").map_or((false, *action), |rest| (true, rest));
        let (action, log) = action_of(action).ok_or_else(|| format!("`{}` is no action", printable(action)))?;
        let protocol = Protocol::read(protocol).ok_or_else(|| format!("`{}` is no protocol", printable(protocol)))?;
        let read_ports = |text: &str| ports_of(text).ok_or_else(|| format!("`{}` is no port", printable(text)));
        let (ports, sender_ports) = (read_ports(ports)?, read_ports(sender_ports)?);
        let is_list = |ports: &[(u16, u16)]| ports.len() > 1 || ports.iter().any(|(first, last)| first != last);
        match protocol {
            Protocol::Other(..) if !ports.is_empty() || !sender_ports.is_empty() => {
                return Err(format!("{} has no ports", protocol.name()));
            }
            Protocol::Any if is_list(&ports) || is_list(&sender_ports) => {
                return Err("a list or a range of ports takes `tcp` or `udp`".to_owned());
            }
            _ => {}
        }
        let address = |text: &str| {
            Place::read(text, version).ok_or_else(|| format!("`{}` is no {version} address", printable(text)))
        };
        let (to, from) = (address(to)?, address(from)?);
        let (way, incoming, outgoing) = way_of(place.unwrap_or("in"), routed)?;
        let name = |text: &str| Some(text.replace("%20", " ")).filter(|name| name != "-");
        let (profile, sender_profile) =
            profiles.map_or((None, None), |(profile, sender)| (name(profile), name(sender)));
        Ok(Self {
            line,
            version,
            way,
            action,
            log,
            protocol,
            ports,
            to,
            sender_ports,
            from,
            profile,
            sender_profile,
            incoming,
            outgoing,
            comment,
        })
    }
}

fn action_of(text: &str) -> Option<(Action, Log)> {
    let (name, log) = match text.split_once('_') {
        None => (text, Log::No),
        Some((name, "log")) => (name, Log::New),
        Some((name, "log-all")) => (name, Log::All),
        Some(_) => return None,
    };
    let all = [Action::Allow, Action::Deny, Action::Reject, Action::Limit];
    all.into_iter().find(|action| action.name() == name).map(|action| (action, log))
}

fn ports_of(text: &str) -> Option<Vec<(u16, u16)>> {
    if text == "any" {
        return Some(Vec::new());
    }
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| is_plain && *port > 0)
    };
    let one = |item: &str| match item.split_once(':') {
        None => number(item).map(|port| (port, port)),
        Some((first, last)) => number(first).zip(number(last)).filter(|(first, last)| first < last),
    };
    let all: Option<Vec<(u16, u16)>> = text.split(',').map(one).collect();
    all.filter(|all| all.iter().map(|(first, last)| if first == last { 1 } else { 2 }).sum::<usize>() <= MOST_PORTS)
}

type Ways = (Way, Option<IfPattern>, Option<IfPattern>);

fn way_of(text: &str, routed: bool) -> Result<Ways, String> {
    let name = |text: &str| interface(text).ok_or_else(|| format!("`{}` is no interface", printable(text)));
    let (direction, incoming, outgoing) = match text.split_once('_') {
        None => (text, None, None),
        Some((direction, names)) => match names.split_once('!') {
            Some((incoming, outgoing)) => {
                let outgoing = outgoing.strip_prefix("out_").unwrap_or(outgoing);
                (direction, Some(name(incoming)?), Some(name(outgoing)?))
            }
            None if direction == "in" => (direction, Some(name(names)?), None),
            None => (direction, None, Some(name(names)?)),
        },
    };
    let way = match direction {
        "in" | "out" if routed => Way::Routed,
        "in" => Way::In,
        "out" => Way::Out,
        other => return Err(format!("`{}` is no direction", printable(other))),
    };
    Ok((way, incoming, outgoing))
}

/// An interface's name as iptables writes it: a trailing `+` stands for any ending.
pub(super) fn interface(text: &str) -> Option<IfPattern> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.+,=%@-".contains(c);
    let is_name = !text.is_empty() && text.len() <= IfName::MAX_LEN && text.chars().all(allowed);
    let (name, wildcard) = text.strip_suffix('+').map_or((text, false), |name| (name, true));
    (is_name && !name.is_empty()).then(|| IfPattern { name: name.to_owned(), wildcard })
}

/// The text of a comment: UTF-8 as hexadecimal digits. As ufw does, leaves out a last digit without its other half.
fn of_hex(hex: &str) -> String {
    let digits: Vec<u32> = hex.chars().map_while(|c| c.to_digit(16)).collect();
    let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect();
    crate::printable::printable_bytes(&bytes)
}
