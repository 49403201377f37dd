//! Zones as their files have them.

use super::ports::{Asked, port};
use super::xml::{Fault, Lines, elements, is_yes, read, words};
use crate::migrate::tuple::{Place, interface};
use crate::net::{IfPattern, Version};
use crate::printable::printable;
use roxmltree::Node;

/// What happens to what no element of a zone decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Refused, but pings are answered.
    Default,
    Accept,
    Reject,
    Drop,
}

/// Whose packets a zone has, or a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Address(String),
    Set(String),
    Mac(String),
}

/// What binds packets to a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Interface(IfPattern),
    Source(Source),
}

/// An element that binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) bound: Bound,
    pub(super) line: usize,
    pub(super) text: String,
}

/// An element that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) what: What,
    pub(super) line: usize,
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Asked(Asked),
    IcmpBlock(String),
    Inversion,
    Forward,
    Masquerade,
    /// The port that is asked for, the port that answers, and where, as they are written.
    ForwardPort {
        asked: String,
        port: Option<String>,
        address: Option<String>,
    },
    Rich(Box<Rich>),
    /// firewalld passes over it: why.
    Ignored(&'static str),
    /// It is not known here.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Accept,
    Reject,
    Drop,
}

/// What a rich rule is about, beside addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    All,
    Asked(Asked),
    IcmpBlock(String),
    IcmpType(String),
    /// Something that gives or denies nobody access, as far as a policy says it.
    Other(&'static str),
}

/// Addresses, or all but these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) source: Source,
    pub(super) is_inverted: bool,
}

/// A rich rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rich {
    pub(super) family: Option<Version>,
    pub(super) priority: i32,
    pub(super) from: Option<Side>,
    pub(super) to: Option<Side>,
    pub(super) subject: Subject,
    pub(super) act: Option<Act>,
    /// Whether it decides about so many packets only.
    pub(super) is_limited: bool,
    pub(super) log: bool,
    /// What else it does: audit, nflog, mark.
    pub(super) also: Vec<&'static str>,
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) name: String,
    /// `zones/work.xml`, with `/usr/lib/firewalld/` before it where it is shipped.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) target: Target,
    pub(super) priority: i32,
    pub(super) bindings: Vec<Binding>,
    pub(super) items: Vec<Item>,
}

impl Zone {
    /// Reads a zone's file.
    pub(super) fn read(name: &str, file: &str, text: &str) -> Result<Self, Fault> {
        read(text, "zone", |root, lines| {
            let target = match root.attribute("target") {
                None | Some("" | "default" | "{chain}_{zone}") => Target::Default,
                Some("ACCEPT") => Target::Accept,
                Some("%%REJECT%%") => Target::Reject,
                Some("DROP") => Target::Drop,
                Some(other) => return Err(lines.fault(root, format!("`{}` is no target", printable(other)))),
            };
            let priority = whole_number(root, "ingress-priority", lines)?;
            let mut zone = Self {
                name: name.to_owned(),
                file: file.to_owned(),
                line: lines.of_node(root),
                target,
                priority,
                bindings: Vec::new(),
                items: Vec::new(),
            };
            for node in elements(root) {
                zone.take(node, lines)?;
            }
            Ok(zone)
        })
    }

    fn take(&mut self, node: Node<'_, '_>, lines: &Lines) -> Result<(), Fault> {
        let (line, text) = (lines.of_node(node), words(node));
        let bound = match node.tag_name().name() {
            "short" | "description" => return Ok(()),
            "interface" => {
                let name = lines.required(node, "name")?;
                let name = interface(name)
                    .ok_or_else(|| lines.fault(node, format!("`{}` is no interface", printable(name))))?;
                Some(Bound::Interface(name))
            }
            "source" if node.has_attribute("invert") => None,
            "source" => source(node, lines)?.map(Bound::Source),
            _ => {
                self.items.push(Item { what: what(node, lines)?, line, text });
                return Ok(());
            }
        };
        match bound {
            Some(bound) => self.bindings.push(Binding { bound, line, text }),
            None => self.items.push(Item { what: What::Ignored("a zone has no such source"), line, text }),
        }
        Ok(())
    }

    /// Where an element of it stands: `zones/work.xml:7`.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }

    /// Whether ICMP is refused but for the types that are named.
    pub(super) fn is_inverted(&self) -> bool {
        self.items.iter().any(|item| item.what == What::Inversion)
    }
}

/// A number below zero, above, or none.
pub(super) fn whole_number(node: Node<'_, '_>, name: &str, lines: &Lines) -> Result<i32, Fault> {
    let Some(text) = node.attribute(name) else { return Ok(0) };
    let number = text.trim().parse::<i32>().ok().filter(|number| (-32_768..=32_767).contains(number));
    number.ok_or_else(|| lines.fault(node, format!("`{}` is no {name}", printable(text))))
}

/// The addresses that an element names. `Err` if it names what firewalld does not take.
fn source(node: Node<'_, '_>, lines: &Lines) -> Result<Option<Source>, Fault> {
    let (address, set, mac) = (node.attribute("address"), node.attribute("ipset"), node.attribute("mac"));
    match (address, set, mac) {
        (Some(address), None, None) if is_mac(address) => Ok(Some(Source::Mac(address.to_owned()))),
        (Some(address), None, None) if is_address(address) => Ok(Some(Source::Address(address.to_owned()))),
        (Some(address), None, None) => {
            Err(lines.fault(node, format!("`{}` is neither an address nor a network", printable(address))))
        }
        (None, Some(set), None) => Ok(Some(Source::Set(set.to_owned()))),
        (None, None, Some(mac)) => Ok(Some(Source::Mac(mac.to_owned()))),
        _ => Ok(None),
    }
}

fn is_address(text: &str) -> bool {
    Version::ALL
        .into_iter()
        .any(|version| crate::migrate::tuple::Place::read(text, version).is_some_and(|place| !place.is_odd))
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What an element outside of rules does, or inside.
fn what(node: Node<'_, '_>, lines: &Lines) -> Result<What, Fault> {
    if let Some(asked) = asked(node, lines)? {
        return Ok(What::Asked(asked));
    }
    Ok(match node.tag_name().name() {
        "icmp-block" => What::IcmpBlock(lines.required(node, "name")?.to_owned()),
        "icmp-block-inversion" => What::Inversion,
        "forward" => What::Forward,
        "masquerade" => What::Masquerade,
        "forward-port" => {
            let (asked, protocol) = (lines.required(node, "port")?, lines.required(node, "protocol")?);
            let owned = |name: &str| node.attribute(name).map(|value| printable(value).to_string());
            let asked = format!("{}/{}", printable(asked), printable(protocol));
            What::ForwardPort { asked, port: owned("to-port"), address: owned("to-addr") }
        }
        "rule" => rich(node, lines)?.map_or_else(What::Ignored, |rich| What::Rich(Box::new(rich))),
        "destination" | "accept" | "reject" | "drop" | "mark" | "icmp-type" | "tcp-mss-clamp" | "limit" => {
            What::Ignored("it stands outside of a rule")
        }
        "log" | "nflog" | "audit" => What::Ignored("it stands outside of a rule"),
        _ => What::Unknown,
    })
}

fn asked(node: Node<'_, '_>, lines: &Lines) -> Result<Option<Asked>, Fault> {
    Ok(match node.tag_name().name() {
        "service" => Some(Asked::Service(lines.required(node, "name")?.to_owned())),
        "port" => Some(port(node, lines)?.asked()),
        "source-port" => Some(port(node, lines)?.sent()),
        "protocol" => Some(Asked::Protocol(lines.required(node, "value")?.to_owned())),
        _ => None,
    })
}

/// A rich rule; `Err` inside is why firewalld passes over it.
pub(super) fn rich(rule: Node<'_, '_>, lines: &Lines) -> Result<Result<Rich, &'static str>, Fault> {
    let family = match rule.attribute("family") {
        None => None,
        Some("ipv4") => Some(Version::V4),
        Some("ipv6") => Some(Version::V6),
        Some(_) => return Ok(Err("it has no valid family")),
    };
    let mut rich = Rich {
        family,
        priority: whole_number(rule, "priority", lines)?,
        from: None,
        to: None,
        subject: Subject::All,
        act: None,
        is_limited: false,
        log: false,
        also: Vec::new(),
    };
    let mut decides = false;
    for node in elements(rule) {
        let name = node.tag_name().name();
        match name {
            "source" | "destination" => {
                let Some(source) = source(node, lines)? else { return Ok(Err("it names no address")) };
                let place = if name == "source" { &mut rich.from } else { &mut rich.to };
                if place.replace(Side { source, is_inverted: is_yes(node, "invert") }).is_some() {
                    return Ok(Err("it names two sources, or two destinations"));
                }
            }
            "accept" | "reject" | "drop" | "mark" => {
                if std::mem::replace(&mut decides, true) {
                    return Ok(Err("it has two actions"));
                }
                rich.is_limited = elements(node).any(|node| node.has_tag_name("limit"));
                rich.decide(name);
            }
            "log" => rich.log = true,
            "nflog" => rich.also.push("nflog"),
            "audit" => rich.also.push("audit"),
            _ => {
                let Some(subject) = subject(node, lines)? else {
                    return Ok(Err("it has an element that is not known here"));
                };
                if std::mem::replace(&mut rich.subject, subject) != Subject::All {
                    return Ok(Err("it has two elements"));
                }
            }
        }
    }
    Ok(rich.checked(decides))
}

fn subject(node: Node<'_, '_>, lines: &Lines) -> Result<Option<Subject>, Fault> {
    Ok(match node.tag_name().name() {
        "icmp-block" => Some(Subject::IcmpBlock(lines.required(node, "name")?.to_owned())),
        "icmp-type" => Some(Subject::IcmpType(lines.required(node, "name")?.to_owned())),
        "masquerade" => Some(Subject::Other("masquerade")),
        "forward-port" => Some(Subject::Other("forward-port")),
        "tcp-mss-clamp" => Some(Subject::Other("tcp-mss-clamp")),
        _ => asked(node, lines)?.map(Subject::Asked),
    })
}

impl Rich {
    fn decide(&mut self, action: &str) {
        match action {
            "accept" => self.act = Some(Act::Accept),
            "reject" => self.act = Some(Act::Reject),
            "drop" => self.act = Some(Act::Drop),
            _ => self.also.push("mark"),
        }
    }

    /// The rule, if firewalld takes it.
    fn checked(self, decides: bool) -> Result<Self, &'static str> {
        let sides = [&self.from, &self.to].into_iter().flatten();
        let addresses: Vec<&str> = sides
            .filter_map(|side| match &side.source {
                Source::Address(text) => Some(text.as_str()),
                Source::Set(_) | Source::Mac(_) => None,
            })
            .collect();
        let says_something = self.from.is_some() || self.to.is_some() || self.subject != Subject::All;
        let needs_no_action = matches!(self.subject, Subject::IcmpBlock(_) | Subject::Other(_));
        let Some(family) = self.family else {
            return if addresses.is_empty() && self.to.is_none() {
                self.complete(says_something, decides || needs_no_action)
            } else {
                Err("it names addresses, and no family")
            };
        };
        if addresses.iter().any(|text| Place::read(text, family).is_none()) {
            return Err("it names an address of another family than its own");
        }
        self.complete(says_something, decides || needs_no_action)
    }

    fn complete(self, says_something: bool, decides: bool) -> Result<Self, &'static str> {
        if !decides && !self.log && self.also.is_empty() {
            return Err("it has no action");
        }
        if !says_something && self.priority == 0 {
            return Err("it names neither an address nor anything that is asked for");
        }
        if matches!(self.subject, Subject::IcmpBlock(_)) && (self.act.is_some() || self.also.contains(&"mark")) {
            return Err("a block of ICMP has no action");
        }
        Ok(self)
    }
}
