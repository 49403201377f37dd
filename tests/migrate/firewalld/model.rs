//! What firewalld does, in the fewest words: one zone has a packet, and asks its elements in five steps. Nothing of palisade.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// A packet that opens a connection to this machine.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// `tcp`, `udp`, `esp` or `ping`.
    pub protocol: &'static str,
    pub port: u16,
    pub interface: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Reject,
    Drop,
}

/// What an element is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    All,
    Service(&'static str),
    Port(&'static str, (u16, u16)),
    Protocol(&'static str),
    Pings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    Plain(About),
    Block,
    Inversion,
    Rich {
        family: &'static str,
        priority: i32,
        from: Option<(&'static str, bool)>,
        to: Option<&'static str>,
        about: About,
        verdict: Verdict,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub name: &'static str,
    pub target: &'static str,
    pub sources: Vec<&'static str>,
    pub interfaces: Vec<&'static str>,
    pub elements: Vec<Element>,
}

/// The ports of each service.
pub const SERVICES: [(&str, &[(&str, u16)]); 3] =
    [("ssh", &[("tcp", 22)]), ("web", &[("tcp", 80), ("tcp", 443)]), ("names", &[("tcp", 81), ("udp", 81)])];

/// The file of a service.
pub fn service_file(ports: &[(&str, u16)]) -> String {
    let lines: String =
        ports.iter().map(|(protocol, port)| format!("  <port protocol=\"{protocol}\" port=\"{port}\"/>\n")).collect();
    format!("<service>\n{lines}</service>\n")
}

impl About {
    fn xml(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Service(name) => format!("<service name=\"{name}\"/>"),
            Self::Port(protocol, (first, last)) if first == last => {
                format!("<port port=\"{first}\" protocol=\"{protocol}\"/>")
            }
            Self::Port(protocol, (first, last)) => format!("<port port=\"{first}-{last}\" protocol=\"{protocol}\"/>"),
            Self::Protocol(name) => format!("<protocol value=\"{name}\"/>"),
            Self::Pings => "<icmp-type name=\"echo-request\"/>".to_owned(),
        }
    }

    fn matches(&self, packet: &Packet) -> bool {
        match self {
            Self::All => true,
            Self::Service(name) => {
                SERVICES.iter().any(|(of, ports)| of == name && ports.contains(&(packet.protocol, packet.port)))
            }
            Self::Port(protocol, (first, last)) => {
                *protocol == packet.protocol && (*first..=*last).contains(&packet.port)
            }
            Self::Protocol(name) => *name == packet.protocol,
            Self::Pings => packet.protocol == "ping",
        }
    }
}

impl Element {
    fn xml(&self) -> String {
        match self {
            Self::Plain(about) => about.xml(),
            Self::Block => "<icmp-block name=\"echo-request\"/>".to_owned(),
            Self::Inversion => "<icmp-block-inversion/>".to_owned(),
            Self::Rich { family, priority, from, to, about, verdict } => {
                let mut xml = String::from("<rule");
                if !family.is_empty() {
                    let _ = write!(xml, " family=\"{family}\"");
                }
                if *priority != 0 {
                    let _ = write!(xml, " priority=\"{priority}\"");
                }
                xml.push('>');
                if let Some((address, inverted)) = from {
                    let invert = if *inverted { " invert=\"True\"" } else { "" };
                    let _ = write!(xml, "<source address=\"{address}\"{invert}/>");
                }
                if let Some(address) = to {
                    let _ = write!(xml, "<destination address=\"{address}\"/>");
                }
                let verdict = match verdict {
                    Verdict::Accept => "accept",
                    Verdict::Reject => "reject",
                    Verdict::Drop => "drop",
                };
                let _ = write!(xml, "{}<{verdict}/></rule>", about.xml());
                xml
            }
        }
    }

    /// Whether it is about a packet, whatever comes before it.
    pub fn matches(&self, packet: &Packet) -> bool {
        match self {
            Self::Plain(about) => about.matches(packet),
            Self::Block => packet.protocol == "ping",
            Self::Inversion => false,
            Self::Rich { family, from, to, about, .. } => {
                let version = if packet.source.is_ipv4() { "ipv4" } else { "ipv6" };
                let is_from = from.is_none_or(|(network, inverted)| {
                    network.contains(':') == packet.source.is_ipv6() && holds(network, packet.source) != inverted
                });
                (family.is_empty() || *family == version)
                    && is_from
                    && to.is_none_or(|network| holds(network, packet.destination))
                    && about.matches(packet)
            }
        }
    }

    /// The step at which it is asked, and its verdict.
    fn step(&self, inverted: bool) -> Option<((u8, i32), Verdict)> {
        match self {
            Self::Plain(_) => Some(((2, 0), Verdict::Accept)),
            Self::Block if inverted => Some(((2, 0), Verdict::Accept)),
            Self::Block => Some(((1, 0), Verdict::Reject)),
            Self::Inversion => None,
            Self::Rich { priority, verdict, .. } => {
                let step = match (priority.signum(), verdict) {
                    (-1, _) => 0,
                    (0, Verdict::Accept) => 2,
                    (0, _) => 1,
                    _ => 3,
                };
                Some(((step, *priority), *verdict))
            }
        }
    }
}

impl Zone {
    /// Its file: the elements from `first_line` on, one a line.
    pub fn file(&self) -> String {
        let target = if self.target.is_empty() { String::new() } else { format!(" target=\"{}\"", self.target) };
        let mut text = format!("<zone{target}>\n");
        for name in &self.interfaces {
            let _ = writeln!(text, "  <interface name=\"{name}\"/>");
        }
        for address in &self.sources {
            let _ = writeln!(text, "  <source address=\"{address}\"/>");
        }
        for element in &self.elements {
            let _ = writeln!(text, "  {}", element.xml());
        }
        text + "</zone>\n"
    }

    /// The line of its first element.
    pub fn first_line(&self) -> usize {
        2 + self.interfaces.len() + self.sources.len()
    }

    /// Whether places in a report are of the zone, or of an element of it about a packet.
    pub fn is_said(&self, said: &BTreeSet<String>, packet: &Packet) -> bool {
        let place = |line: usize| format!("zones/{}.xml:{line}", self.name);
        let about = self.elements.iter().enumerate().filter(|(_, element)| element.matches(packet));
        let mut lines = about.map(|(at, _)| self.first_line() + at).chain([1]);
        lines.any(|line| said.contains(&place(line)))
    }

    fn verdict(&self, packet: &Packet) -> Verdict {
        let inverted = self.elements.contains(&Element::Inversion);
        let mut steps: Vec<((u8, i32), Verdict)> = Vec::new();
        for element in self.elements.iter().filter(|element| element.matches(packet)) {
            steps.extend(element.step(inverted));
        }
        steps.sort_by_key(|(step, _)| *step);
        match (steps.first(), packet.protocol, self.target) {
            (Some((_, verdict)), ..) => *verdict,
            (None, "ping", "ACCEPT") | (None, "ping", "") => {
                if inverted {
                    Verdict::Reject
                } else {
                    Verdict::Accept
                }
            }
            (None, _, "ACCEPT") => Verdict::Accept,
            (None, _, "DROP") => Verdict::Drop,
            (None, ..) => Verdict::Reject,
        }
    }
}

/// The zone that has a packet. The zones are sorted by their names.
pub fn zone_of(zones: &[Zone], default: usize, packet: &Packet) -> usize {
    let by_source = zones.iter().position(|zone| zone.sources.iter().any(|source| holds(source, packet.source)));
    let has = |zone: &Zone| {
        zone.interfaces.iter().any(|name| {
            name.strip_suffix('+').map_or(*name == packet.interface, |begin| packet.interface.starts_with(begin))
        })
    };
    by_source.or_else(|| zones.iter().rposition(has)).unwrap_or(default)
}

pub fn verdict(zones: &[Zone], default: usize, packet: &Packet) -> Verdict {
    zones[zone_of(zones, default, packet)].verdict(packet)
}

pub fn holds(network: &str, address: IpAddr) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, if address.is_ipv4() { "32" } else { "128" }));
    let length: u32 = length.parse().expect("a length");
    match (base.parse().expect("an address"), address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            u64::from(u32::from(base) ^ u32::from(address)) >> (32 - length.min(32)) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (u128::from(base) ^ u128::from(address)).checked_shr(128 - length.min(128)).unwrap_or_default() == 0
        }
        _ => false,
    }
}
