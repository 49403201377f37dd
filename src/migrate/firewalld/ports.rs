//! Ports and protocols as firewalld writes them.

use super::xml::{Fault, Lines};
use crate::migrate::tuple::{PORTLESS, Protocol};
use crate::net::Version;
use crate::printable::printable;
use roxmltree::Node;

/// What a packet asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Service(String),
    Port(Protocol, (u16, u16)),
    SenderPort(Protocol, (u16, u16)),
    Protocol(String),
    /// A protocol for whose ports a policy has no word.
    Wordless(&'static str),
}

/// Ports of a protocol; `None`: of one for which a policy has no ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    protocol: Option<Protocol>,
    first: u16,
    last: u16,
}

impl Port {
    /// As the port that is asked for.
    pub(super) fn asked(self) -> Asked {
        self.protocol.map_or(Asked::Wordless("dccp"), |protocol| Asked::Port(protocol, (self.first, self.last)))
    }

    /// As the port of the sender.
    pub(super) fn sent(self) -> Asked {
        self.protocol.map_or(Asked::Wordless("dccp"), |protocol| Asked::SenderPort(protocol, (self.first, self.last)))
    }
}

/// Reads `port="8000-8010" protocol="tcp"`.
pub(super) fn port(node: Node<'_, '_>, lines: &Lines) -> Result<Port, Fault> {
    let protocol = lines.required(node, "protocol")?;
    let protocol = match protocol {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        "dccp" => None,
        other => return Err(lines.fault(node, format!("`{}` has no ports", printable(other)))),
    };
    let text = lines.required(node, "port")?;
    if text.is_empty() {
        return Ok(Port { protocol, first: 1, last: u16::MAX });
    }
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_plain)
    };
    let ends = match text.split_once('-') {
        None => number(text).map(|port| (port, port)),
        Some((first, last)) => number(first).zip(number(last)).filter(|(first, last)| first <= last),
    };
    let Some((first, last)) = ends else {
        return Err(lines.fault(node, format!("`{}` is no port", printable(text))));
    };
    Ok(Port { protocol, first: first.max(1), last: last.max(1) })
}

/// A protocol by its name or number, over one version of IP; `Err`: no such name is known.
pub(super) fn protocol(text: &str, version: Version) -> Result<Option<Protocol>, String> {
    let known = [("icmp", 1), ("ipip", 94), ("ospf", 89), ("pim", 103), ("sctp", 132), ("dccp", 33), ("l2tp", 115)];
    let others = [("ipv6-icmp", 58), ("icmpv6", 58), ("tcp", 6), ("udp", 17), ("udplite", 136), ("ipcomp", 108)];
    let by_name = PORTLESS.into_iter().chain(known).chain(others).find(|(name, _)| *name == text);
    let number = by_name.map(|(_, number)| number).or_else(|| text.parse().ok());
    let protocol = match number {
        Some(6) => Protocol::Tcp,
        Some(17) => Protocol::Udp,
        Some(132) => Protocol::Sctp,
        Some(1) if version == Version::V4 => Protocol::Ping,
        Some(58) if version == Version::V6 => Protocol::Ping,
        // Over the other version nobody sends it.
        Some(1 | 58) => return Ok(None),
        Some(number) => {
            let name = PORTLESS.into_iter().find(|(_, of)| *of == number).map_or("", |(name, _)| name);
            Protocol::Other(number, name)
        }
        None => return Err(format!("`{}` is no protocol that is known here: write its number", printable(text))),
    };
    Ok(Some(protocol))
}
