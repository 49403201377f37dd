//! Probes one port from one part of the sources: which of them reach it, by the sets that they may be in.

use super::reach::{Label, Reach};
use super::sources::Compared;
use super::zones::{EVERYONE, Interval};
use super::{Machine, Purpose, Rules};
use crate::net::{self, number, octets, protocol};
use crate::ruleset::{KeyType, Set, Table, TableId};
use crate::simulate::{
    Answer, At, Connection, Doubt, EPHEMERAL, Effect, Hooked, Hooks, Packet, Sets, Translation, Transport, Traversal,
    Verdict, Way, follow_connection_while,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How many kinds of sources are probed one by one: enough for some hundred groups in one service.
const MOST_KINDS: usize = 2000;
/// How many of the source ports that rules name are tried, if the source port matters.
const MOST_PORTS: usize = 16;

/// A packet to probe with.
pub(super) struct ProbePacket<'q> {
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) interface: &'q str,
    /// Whether this machine sends it, from `destination` to `source`.
    pub(super) sends: bool,
    /// Who has to receive it; `None` if the rules and the routing alone are asked.
    pub(super) purpose: Option<&'q Purpose>,
}

/// A rule, or the policy of a base chain, and what it did with somebody's packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decided {
    /// Its table.
    pub table: TableId,
    /// Its chain.
    pub chain: String,
    /// Its index there; `None` for the policy of the chain.
    pub rule: Option<usize>,
    /// What it did.
    pub how: How,
}

/// What a rule did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It accepted it, and nothing after it denied it.
    LetsIn,
    /// It dropped or rejected it.
    Denies,
    /// It translated its destination.
    Translates,
    /// What it did can't be told, and nothing else decided.
    Unknown,
}

/// What probing finds out on the way.
pub(super) struct Observed {
    /// Whether it is noted which rules decide.
    pub(super) watched: bool,
    /// The rules that decided.
    pub(super) decided: BTreeSet<Decided>,
    /// Whether somebody was told that they are refused.
    pub(super) rejects: bool,
    /// Where the destination was translated to.
    pub(super) translated: BTreeSet<Translation>,
    /// The groups of interfaces that hold the incoming one.
    pub(super) by_group: BTreeSet<String>,
    /// The sources around the one of the packet that the rules that were met do not tell apart from it.
    pub(super) alike: Interval,
    /// Whether a packet was sent back by its incoming interface: neighbours on one bridge need no published port.
    pub(super) sent_back: bool,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            watched: false,
            decided: BTreeSet::new(),
            rejects: false,
            translated: BTreeSet::new(),
            by_group: BTreeSet::new(),
            alike: EVERYONE,
            sent_back: false,
        }
    }
}

/// Whether one packet gets through.
enum Access {
    Yes,
    No,
    Unknown(Doubt),
}

/// A set by its table and its name.
type SetKey = (TableId, String);

/// Probes with all kinds of sources.
pub(super) struct PortProber<'m> {
    machine: &'m Machine<'m>,
    hooks: Hooks<'m>,
    compared: &'m Compared,
    source_ports: &'m BTreeSet<u16>,
}

impl<'m> PortProber<'m> {
    /// `tables` are those of the rules, which are for one IP version.
    pub(super) fn new(
        machine: &'m Machine<'m>,
        tables: &'m [(&'m TableId, &'m Table)],
        rules: &'m Rules<'m>,
    ) -> Self {
        let hooks = Hooks::new(tables.iter().copied());
        Self { machine, hooks, compared: &rules.compared, source_ports: &rules.ports }
    }

    pub(super) fn reach(&self, probe: &ProbePacket<'_>, observed: &mut Observed) -> Reach {
        let mut kinds = MOST_KINDS;
        let reach = self.sent_from(probe, None, observed, &mut kinds);
        if reach.unknown.is_empty() {
            return reach;
        }
        // Most clients send from a port that no rule names; somebody who knows the rules sends from another.
        let mut reach = self.sent_from(probe, Some(EPHEMERAL), observed, &mut kinds);
        for port in self.source_ports.iter().take(MOST_PORTS) {
            let from_it = self.sent_from(probe, Some(*port), observed, &mut kinds);
            if !from_it.who.iter().all(|clause| reach.who.contains(clause)) {
                reach = reach.or(from_it.within(&Label::FromPort(*port)));
            }
        }
        if self.source_ports.len() > MOST_PORTS {
            reach = reach.or(Reach::unknown("rules name more source ports than are asked about".into()));
        }
        reach
    }

    fn sent_from(
        &self,
        probe: &ProbePacket<'_>,
        port: Option<u16>,
        observed: &mut Observed,
        kinds: &mut usize,
    ) -> Reach {
        self.explore(probe, port, &BTreeMap::new(), observed, kinds)
    }

    /// Who reaches it, given the memberships in `assumed`. Branches on each further set that rules look up.
    fn explore(
        &self,
        probe: &ProbePacket<'_>,
        port: Option<u16>,
        assumed: &BTreeMap<SetKey, bool>,
        observed: &mut Observed,
        kinds: &mut usize,
    ) -> Reach {
        let Some(left) = kinds.checked_sub(1) else {
            return Reach::unknown("more sets decide than are asked one by one".into());
        };
        *kinds = left;
        let sets = Assuming::new(self.machine.sets, (probe.source, self.compared), assumed);
        let mut reach = match self.access(probe, port, &sets, observed) {
            Access::Yes => Reach::everyone(),
            Access::No => Reach::nobody(),
            Access::Unknown(why) => Reach::unknown(why),
        };
        observed.by_group.append(&mut sets.by_group.borrow_mut());
        let (alike, before) = (sets.alike.get(), observed.alike);
        observed.alike = (before.0.max(alike.0), before.1.min(alike.1));
        let asked = sets.asked.into_inner();
        for (index, set) in asked.iter().enumerate().rev() {
            let mut inside = assumed.clone();
            inside.extend(asked.iter().take(index).map(|before| (before.clone(), false)));
            inside.insert(set.clone(), true);
            let inside = self.explore(probe, port, &inside, observed, kinds);
            reach = Reach::choose(&label(set), &inside, &reach);
        }
        reach
    }

    fn access(&self, probe: &ProbePacket<'_>, port: Option<u16>, sets: &dyn Sets, observed: &mut Observed) -> Access {
        let ProbePacket { protocol, port: destination, source, destination: to, interface, .. } = *probe;
        let transport = transport(protocol, port, destination, to);
        let packet = if probe.sends {
            Packet::from_machine(to, source, transport)
        } else {
            Packet::to_machine(source, to, transport).coming_in_by(interface)
        };
        let is_received = |first: &Traversal<'_>| self.is_received(probe, first);
        let connection = follow_connection_while(&self.hooks, sets, self.machine.routes, &packet, is_received);
        let traversal = &connection.first;
        observed.translated.extend(traversal.translated);
        if observed.watched {
            observed.watch(&connection);
        }
        if connection.outcomes().never_pass() || !self.is_received(probe, traversal) {
            return Access::No;
        }
        if probe.purpose.is_some() && traversal.end().is_some_and(|way| is_out_by(way, interface)) {
            observed.sent_back = true;
            return Access::No;
        }
        match (connection.verdict(), connection.fades()) {
            (Verdict::Allow, None) => Access::Yes,
            (Verdict::Allow, Some(why)) => Access::Unknown(why.clone()),
            (Verdict::Deny | Verdict::Reject, _) => Access::No,
            (Verdict::Unknown, _) => {
                Access::Unknown(connection.doubt().cloned().unwrap_or_else(|| "the rules can't be followed".into()))
            }
        }
    }

    /// Whether anybody who is asked about receives the first packet, if it arrives. Neighbours on one bridge count.
    fn is_received(&self, probe: &ProbePacket<'_>, first: &Traversal<'_>) -> bool {
        let Some(purpose) = probe.purpose else { return true };
        match first.end() {
            Some(way) if is_out_by(way, probe.interface) => true,
            // It goes to another machine.
            Some(Way::Out(_)) if *purpose == Purpose::Process => false,
            _ if *purpose == Purpose::Forwarded && first.translated.is_none() => false,
            Some(Way::Local) => self.listens(probe, *purpose, first.translated),
            _ => true,
        }
    }

    /// Whether anybody on this machine receives the packet; for a process, whether it does so itself.
    fn listens(&self, probe: &ProbePacket<'_>, purpose: Purpose, translated: Option<Translation>) -> bool {
        let address = translated.map_or(probe.destination, |to| to.address);
        let port = translated.and_then(|to| to.port).unwrap_or(probe.port);
        if purpose == Purpose::Process {
            // The probed address is one of its own.
            return port == probe.port && (address == probe.destination || translated.is_none());
        }
        let asked = (probe.protocol, port);
        let all = self.machine.listeners.iter();
        all.map(|listener| &listener.socket).any(|socket| socket.receives(asked, address, Some(probe.interface)))
    }
}

impl Observed {
    /// Notes which rules decided about a connection.
    fn watch(&mut self, connection: &Connection<'_>) {
        let verdict = connection.verdict();
        self.rejects |= verdict == Verdict::Reject;
        let (_, decisive) = connection.decisive();
        for step in &decisive.trace.steps {
            let how = match (verdict, &step.effect) {
                (_, Effect::Translate(_)) => How::Translates,
                (Verdict::Allow, Effect::Accept) => How::LetsIn,
                (Verdict::Deny | Verdict::Reject, Effect::Drop | Effect::Reject) => How::Denies,
                (Verdict::Unknown, _) if step.doubt.is_some() => How::Unknown,
                _ => continue,
            };
            let (table, chain) = (step.table.clone(), step.chain.to_owned());
            self.decided.insert(Decided { table, chain, rule: step.rule.map(|(at, _)| at), how });
        }
    }
}

fn is_out_by(way: &Way, interface: &str) -> bool {
    matches!(way, Way::Out(out) if out == interface)
}

/// The header of a first packet. ICMP stands for an echo request of either version.
fn transport(protocol: u8, source: Option<u16>, destination: u16, to: IpAddr) -> Transport {
    match protocol {
        protocol::ICMP => Transport::echo_request(to),
        _ if net::Transport::from_number(protocol).is_some() => Transport::Ports { protocol, source, destination },
        _ => Transport::Other(protocol),
    }
}

/// The label of a set.
fn label((table, name): &SetKey) -> Label {
    if *table != TableId::palisade() {
        return Label::Set(format!("{} {}", table.family, table.name), name.clone());
    }
    let (begin, _) = name.rsplit_once('-').unwrap_or((name, ""));
    if begin.contains('.') { Label::List(begin.to_owned()) } else { Label::Group(begin.to_owned()) }
}

/// The sets, except that membership of the source is assumed; where nothing is assumed, the set is noted.
struct Assuming<'s> {
    sets: &'s dyn Sets,
    address: IpAddr,
    source: Vec<u8>,
    assumed: RefCell<BTreeMap<SetKey, bool>>,
    /// The sets without an assumption, in the order of their lookups; the source counts as not in them.
    asked: RefCell<Vec<SetKey>>,
    by_group: RefCell<BTreeSet<String>>,
    compared: &'s Compared,
    /// The sources that no rule so far tells apart from this one.
    alike: Cell<Interval>,
}

impl<'s> Assuming<'s> {
    fn new(
        sets: &'s dyn Sets,
        (address, compared): (IpAddr, &'s Compared),
        assumed: &BTreeMap<SetKey, bool>,
    ) -> Self {
        Self {
            sets,
            address,
            source: octets(address),
            compared,
            alike: Cell::new(EVERYONE),
            assumed: RefCell::new(assumed.clone()),
            asked: RefCell::default(),
            by_group: RefCell::default(),
        }
    }

    /// Whether these may be the first bytes of the source, the last ones perhaps masked.
    fn may_be_source(&self, bytes: &[u8]) -> bool {
        let differ = bytes.iter().zip(&self.source).position(|(byte, of_source)| byte != of_source);
        let Some((rest, at)) = differ.and_then(|at| Some((bytes.get(at..)?, at))) else {
            return bytes.len() <= self.source.len();
        };
        let masked = |bits: u32| self.source.get(at).map(|byte| byte & u8::MAX.checked_shl(bits).unwrap_or(0));
        rest.iter().skip(1).all(|byte| *byte == 0) && (1..=8).any(|bits| masked(bits) == rest.first().copied())
    }

    fn is_of_source(&self, set: &Set, key: &[u8]) -> bool {
        let mut kind = set.spec.key.number;
        let mut parts = std::iter::from_fn(|| {
            let part = kind & 0x3f;
            kind >>= 6;
            (part != 0 || kind != 0).then_some(part)
        });
        parts.any(|part| [KeyType::IPV4_ADDR, KeyType::IPV6_ADDR].iter().any(|kind| kind.number == part))
            && key.windows(self.source.len()).any(|part| part == self.source)
    }
}

impl Sets for Assuming<'_> {
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        if self.is_of_source(set, key) {
            if self.sets.is_empty(table, name, set) {
                return Answer::Absent;
            }
            let which = (table.clone(), name.to_owned());
            let known = self.assumed.borrow().get(&which).copied();
            return match known {
                Some(true) if set.spec.value.is_some() => {
                    Answer::Unknown(format!("what map {name} says of a source is not known").into())
                }
                Some(true) => Answer::Present(None),
                Some(false) => Answer::Absent,
                None => {
                    self.assumed.borrow_mut().insert(which.clone(), false);
                    self.asked.borrow_mut().push(which);
                    Answer::Absent
                }
            };
        }
        let answer = self.sets.find(table, name, set, key);
        let group = name.strip_suffix("-if").filter(|_| *table == TableId::palisade() && !name.contains('.'));
        if let Some(group) = group.filter(|_| matches!(answer, Answer::Present(_))) {
            self.by_group.borrow_mut().insert(group.to_owned());
        }
        answer
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool {
        self.sets.is_empty(table, name, set)
    }

    fn has_room(&self, table: &TableId, name: &str, set: &Set) -> Option<bool> {
        self.sets.has_room(table, name, set)
    }

    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        self.sets.is_before(at, one, other)
    }

    fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        self.sets.is_later(table, one, other)
    }

    fn hears_of(&self, bytes: Option<&[u8]>, data: &[u8]) {
        if bytes.is_none_or(|bytes| self.may_be_source(bytes)) {
            let at = number(self.address);
            for cut in self.compared.get(data).into_iter().flatten() {
                let (first, last) = self.alike.get();
                self.alike.set(if *cut <= at { (first.max(*cut), last) } else { (first, last.min(cut - 1)) });
            }
        }
    }
}
