//! What a rule in DOCKER-USER asks of a packet that opens a connection, and what it does.

use super::text::{Line, Saved};
use crate::migrate::spans::Spans;
use crate::migrate::tuple::{Place, Protocol, interface};
use crate::net::{IfPattern, Version};
use crate::printable::printable;

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `ACCEPT`, or `RETURN` from DOCKER-USER, behind which the engine accepts what it publishes.
    Allow,
    Deny,
    Reject,
    /// It goes on in another chain.
    Jump(String),
    /// It goes on in the chain from which this one was entered.
    Return,
    /// It logs or counts.
    Nothing,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) from: Spans,
    /// The container's address.
    pub(super) to: Spans,
    pub(super) incoming: Option<IfPattern>,
    pub(super) outgoing: Option<IfPattern>,
    pub(super) protocol: Option<Protocol>,
    /// The ports of the container; none: all.
    pub(super) ports: Vec<(u16, u16)>,
    /// The ports that the sender asked for; none: all.
    pub(super) asked: Vec<(u16, u16)>,
    /// Whether a packet that opens a connection can match.
    pub(super) is_of_new: bool,
    pub(super) verdict: Verdict,
    /// What of it is not understood.
    pub(super) unknown: Option<String>,
}

impl Rule {
    /// Everything over one version.
    pub(super) fn all(version: Version) -> Self {
        Self {
            line: 0,
            text: String::new(),
            from: Spans::all(version),
            to: Spans::all(version),
            incoming: None,
            outgoing: None,
            protocol: None,
            ports: Vec::new(),
            asked: Vec::new(),
            is_of_new: true,
            verdict: Verdict::Nothing,
            unknown: None,
        }
    }

    /// Reads a rule. What it does not understand is in `unknown`.
    pub(super) fn read(line: &Line, version: Version, saved: &Saved) -> Self {
        let mut rule = Self { line: line.number, text: line.text.clone(), ..Self::all(version) };
        let mut words = line.words.iter().map(String::as_str).peekable();
        let mut inverted = false;
        while let Some(word) = words.next() {
            if word == "!" {
                inverted = true;
                continue;
            }
            let taken = rule.take(word, inverted, &mut words, version, saved);
            if !taken && rule.unknown.is_none() {
                rule.unknown = Some(format!("{}`{}`", if inverted { "`!` before " } else { "" }, printable(word)));
            }
            inverted = false;
        }
        rule
    }

    /// Takes one option with its value. Whether it is understood.
    fn take<'a>(
        &mut self,
        word: &str,
        inverted: bool,
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        version: Version,
        saved: &Saved,
    ) -> bool {
        let mut value = || words.next().unwrap_or_default();
        match word {
            "-s" | "--source" | "--src" => addresses(value(), inverted, version, &mut self.from),
            "-d" | "--destination" | "--dst" => addresses(value(), inverted, version, &mut self.to),
            "-i" | "--in-interface" if !inverted => {
                self.incoming = interface(value());
                self.incoming.is_some()
            }
            "-o" | "--out-interface" if !inverted => {
                self.outgoing = interface(value());
                self.outgoing.is_some()
            }
            "-p" | "--protocol" if !inverted => self.take_protocol(value()),
            "-m" | "--match" => {
                let module = value();
                let known =
                    ["tcp", "udp", "sctp", "icmp", "icmp6", "multiport", "conntrack", "state", "comment", "set"];
                if !known.contains(&module) && self.unknown.is_none() {
                    self.unknown = Some(format!("`-m {}`", printable(module)));
                }
                true
            }
            "--comment" => !value().is_empty(),
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" if !inverted => {
                ports(value()).is_some_and(|ports| narrow(&mut self.ports, ports))
            }
            "--ctorigdstport" if !inverted => ports(value()).is_some_and(|ports| narrow(&mut self.asked, ports)),
            "--ctdir" | "--ctstate" | "--state" if !inverted => self.take_state(word, value()),
            "--match-set" => {
                let (name, direction) = (value(), value());
                let set = saved.sets.get(name).filter(|(of, _)| *of == version && direction == "src");
                if let Some((_, members)) = set {
                    self.from = if inverted { self.from.minus(members) } else { self.from.and(members) };
                }
                set.is_some()
            }
            "-j" | "--jump" | "-g" | "--goto" => {
                self.verdict = verdict(value());
                ["-j", "--jump"].contains(&word) || !matches!(self.verdict, Verdict::Jump(_))
            }
            "--icmp-type" | "--icmpv6-type" | "--reject-with" | "--log-prefix" | "--log-level" | "--nflog-prefix"
            | "--nflog-group" => !value().is_empty(),
            "--log-tcp-options" | "--log-ip-options" | "--log-tcp-sequence" | "--log-uid" => true,
            _ => false,
        }
    }

    fn take_protocol(&mut self, name: &str) -> bool {
        let protocol = match name {
            "tcp" | "6" => Protocol::Tcp,
            "udp" | "17" => Protocol::Udp,
            "sctp" | "132" => Protocol::Sctp,
            "all" | "0" => return true,
            // They have no ports that anything publishes.
            "icmp" | "1" => Protocol::Other(1, "icmp"),
            "icmpv6" | "ipv6-icmp" | "58" => Protocol::Other(58, "ipv6-icmp"),
            "esp" | "50" => Protocol::Other(50, "esp"),
            "gre" | "47" => Protocol::Other(47, "gre"),
            _ => return false,
        };
        self.protocol = Some(protocol);
        true
    }

    fn take_state(&mut self, option: &str, value: &str) -> bool {
        if option == "--ctdir" {
            self.is_of_new &= value == "ORIGINAL";
            return ["ORIGINAL", "REPLY"].contains(&value);
        }
        self.is_of_new &= value.split(',').any(|state| state == "NEW");
        value.split(',').all(|state| ["NEW", "RELATED", "ESTABLISHED", "INVALID"].contains(&state))
    }

    /// What matches both; `None` if nothing does.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let from = self.from.and(&other.from);
        let to = self.to.and(&other.to);
        let incoming = both(&self.incoming, &other.incoming)?;
        let outgoing = both(&self.outgoing, &other.outgoing)?;
        let protocol = match (self.protocol, other.protocol) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let (mut ports, mut asked) = (self.ports.clone(), self.asked.clone());
        let meets = (other.ports.is_empty() || narrow(&mut ports, other.ports.clone()))
            && (other.asked.is_empty() || narrow(&mut asked, other.asked.clone()));
        let unknown = self.unknown.clone().or_else(|| other.unknown.clone());
        let is_of_new = self.is_of_new && other.is_of_new;
        let (line, text, verdict) = (other.line, other.text.clone(), other.verdict.clone());
        let is_something = meets && !from.is_empty() && !to.is_empty();
        is_something.then_some(Self {
            line,
            text,
            from,
            to,
            incoming,
            outgoing,
            protocol,
            ports,
            asked,
            is_of_new,
            verdict,
            unknown,
        })
    }

    /// Whether it matches all packets that open connections.
    pub(super) fn is_of_all(&self, version: Version) -> bool {
        let nothing_else =
            Self { line: self.line, text: self.text.clone(), verdict: self.verdict.clone(), ..Self::all(version) };
        *self == nothing_else
    }
}

/// The interfaces that are of both; `None` if none is.
fn both(one: &Option<IfPattern>, other: &Option<IfPattern>) -> Option<Option<IfPattern>> {
    match (one, other) {
        (Some(one), Some(other)) if !one.meets(other) => None,
        (Some(one), Some(other)) => Some(Some(if one.covers_all_of(other) { other } else { one }.clone())),
        (one, other) => Some(one.clone().or_else(|| other.clone())),
    }
}

fn verdict(target: &str) -> Verdict {
    match target {
        "ACCEPT" => Verdict::Allow,
        "RETURN" => Verdict::Return,
        "DROP" => Verdict::Deny,
        "REJECT" => Verdict::Reject,
        "LOG" | "NFLOG" => Verdict::Nothing,
        chain => Verdict::Jump(chain.to_owned()),
    }
}

fn addresses(text: &str, inverted: bool, version: Version, all: &mut Spans) -> bool {
    let mut spans = Spans::default();
    for one in text.split(',') {
        let Some(place) = Place::read(one, version).filter(|place| !place.is_odd) else { return false };
        spans = spans.or(&place.spans);
    }
    *all = if inverted { all.minus(&spans) } else { all.and(&spans) };
    true
}

fn ports(text: &str) -> Option<Vec<(u16, u16)>> {
    let number = |text: &str| text.parse::<u16>().ok();
    let one = |item: &str| match item.split_once(':') {
        None => number(item).map(|port| (port, port)),
        Some((first, last)) => {
            let first = if first.is_empty() { Some(0) } else { number(first) };
            let last = if last.is_empty() { Some(u16::MAX) } else { number(last) };
            first.zip(last).filter(|(first, last)| first <= last)
        }
    };
    text.split(',').map(one).collect()
}

/// Keeps what is in both lists. Whether there is something; an empty first list stands for all.
fn narrow(all: &mut Vec<(u16, u16)>, by: Vec<(u16, u16)>) -> bool {
    if all.is_empty() {
        *all = by;
        return !all.is_empty();
    }
    let both = |&(first, last): &(u16, u16)| {
        let parts = by.iter().map(move |(low, high)| (first.max(*low), last.min(*high)));
        parts.filter(|(first, last)| first <= last).collect::<Vec<_>>()
    };
    *all = all.iter().flat_map(both).collect();
    !all.is_empty()
}
