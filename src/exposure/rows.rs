//! The ports to report, and who owns each.

use super::Machine;
use super::forwarded::{Forwarded, cuts, forwarded};
use super::reach::{Clause, Label, Reach};
use crate::machine::{EngineKind, Listener};
use crate::net::{Transport, Version};
use crate::ruleset::TableId;
use crate::simulate::Translation;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Programs that hold a published port for a container; Docker's daemon does so itself where it runs no proxies.
const PROXIES: [&str; 7] =
    ["docker-proxy", "dockerd", "conmon", "rootlessport", "slirp4netns", "pasta", "pasta.avx2"];
/// Those that hold nothing else: behind their ports is a container, even if no engine or rule says so.
const NOTHING_ELSE: [&str; 2] = ["docker-proxy", "rootlessport"];

/// Who receives what is sent to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A process of this machine.
    Process,
    /// A container that publishes it.
    Container,
    /// A machine behind this one, by a service's `forward_to`.
    Forwarded,
}

/// A port, its owner, and who reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The IP protocol number.
    pub protocol: u8,
    /// The port that the outside sees; of a range, the first.
    pub port: u16,
    /// The last port of the range; equal to the first for a single port.
    pub last: u16,
    /// Who receives what is sent to it.
    pub purpose: Purpose,
    /// The name of the process or of the container; if it is unknown, what is known instead.
    pub owner: String,
    /// The process that listens; of several, the one with the lowest PID.
    pub pid: Option<u32>,
    /// The addresses of this machine that it is bound to, each with whether an IPv6 address takes IPv4, too.
    pub bound: Vec<(IpAddr, bool)>,
    /// The only interface that it listens on, if it is limited to one.
    pub interface: Option<String>,
    /// The port that the container listens on, if an engine or a rule says so.
    pub container_port: Option<u16>,
    /// The engine that said so.
    pub engine: Option<EngineKind>,
    /// Who reaches it, over IPv4 and over IPv6; `None` where nobody listens.
    pub reach: [Option<Reach>; 2],
    /// Where rules translate its destination to.
    pub translated: BTreeSet<Translation>,
    /// Whether it is known from rules only.
    pub by_rules: bool,
    /// The addresses that other rows of the same port are about.
    pub elsewhere: BTreeSet<IpAddr>,
    /// Who reaches it, as text and JSON put it.
    pub admitted: Vec<Admitted>,
}

/// Sources that reach a port, and the IP version that it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The sources.
    pub who: Clause,
    /// The only IP version over which they reach it; `None` if they do over both.
    pub over: Option<Version>,
    /// Whether the version has to be named, because somebody of the sources does not reach it over the other one.
    pub named: bool,
}

impl Row {
    fn new(protocol: u8, port: u16, purpose: Purpose, owner: String) -> Self {
        Self {
            protocol,
            port,
            last: port,
            purpose,
            owner,
            pid: None,
            bound: Vec::new(),
            interface: None,
            container_port: None,
            engine: None,
            reach: [None, None],
            translated: BTreeSet::new(),
            by_rules: false,
            elsewhere: BTreeSet::new(),
            admitted: Vec::new(),
        }
    }

    /// Where rules translate to, each with its port or ports.
    pub(super) fn targets(&self) -> Vec<String> {
        let target = |to: &Translation| {
            let first = to.port.unwrap_or(self.port);
            let text = std::net::SocketAddr::new(to.address, first).to_string();
            if to.port.is_none() && self.last != self.port { format!("{text}-{}", self.last) } else { text }
        };
        self.translated.iter().map(target).collect()
    }

    /// Who reaches it over an IP version; `None` where nobody listens.
    #[must_use]
    pub fn reach_over(&self, version: Version) -> Option<&Reach> {
        self.reach.get(version as usize).and_then(Option::as_ref)
    }

    fn bind(&mut self, address: IpAddr, both: bool) {
        match self.bound.iter_mut().find(|(known, _)| *known == address) {
            Some((_, known)) => *known |= both,
            None => self.bound.push((address, both)),
        }
    }
}

/// Whether a protocol has ports.
pub(super) fn has_ports(protocol: u8) -> bool {
    Transport::from_number(protocol).is_some()
}

/// A row of a port that nobody listens on, or of a protocol without ports, at all addresses.
pub(super) fn made_up(protocol: u8, port: u16, owner: &str) -> Row {
    let mut row = Row::new(protocol, port, Purpose::Process, owner.to_owned());
    row.bind(IpAddr::V4(Ipv4Addr::UNSPECIFIED), false);
    row.bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED), false);
    row
}

/// The rows of one port, before anything is known of who reaches it.
pub(super) fn of_port(machine: &Machine<'_>, protocol: u8, port: u16) -> Vec<Row> {
    let of_it =
        rows(machine).into_iter().filter(|row| row.protocol == protocol && (row.port..=row.last).contains(&port));
    of_it.map(|row| Row { port, last: port, ..row }).collect()
}

/// The rows, before anything is known of who reaches them.
pub(super) fn rows(machine: &Machine<'_>) -> Vec<Row> {
    let mut published: BTreeMap<_, Row> = BTreeMap::new();
    for port in &machine.published {
        let key = (port.protocol, port.port, port.container.clone(), port.container_port);
        let row = published
            .entry(key)
            .or_insert_with(|| Row::new(port.protocol, port.port, Purpose::Container, port.container.clone()));
        row.container_port = Some(port.container_port);
        row.engine = Some(port.engine);
        row.bind(port.address, false);
    }
    let by_engine: BTreeSet<(u8, u16)> = machine.published.iter().map(|port| (port.protocol, port.port)).collect();
    let mut rows: Vec<Row> = published.into_values().collect();
    let of_rules = of_rules(machine);
    let by_rules: BTreeSet<(u8, u16)> = of_rules.iter().map(|row| (row.protocol, row.port)).collect();
    rows.extend(of_rules);
    let mut listening: BTreeMap<_, Row> = BTreeMap::new();
    for Listener { socket, process } in &machine.listeners {
        let name = process.as_ref().map(|process| process.name.as_str());
        let port = (socket.protocol, socket.port);
        let is_proxy = name.is_some_and(|name| PROXIES.contains(&name));
        if is_proxy && (by_engine.contains(&port) || by_rules.contains(&port)) {
            continue;
        }
        let owner = match name {
            Some(name) => name.to_owned(),
            None if socket.inode == 0 => "the kernel".to_owned(),
            None => "unknown".to_owned(),
        };
        let key = (socket.protocol, socket.port, owner.clone(), socket.interface.clone());
        let row = listening.entry(key).or_insert_with(|| {
            let container = NOTHING_ELSE.contains(&owner.as_str());
            let purpose = if container { Purpose::Container } else { Purpose::Process };
            Row::new(socket.protocol, socket.port, purpose, owner)
        });
        row.interface.clone_from(&socket.interface);
        let pid = process.as_ref().map(|process| process.pid);
        row.pid = row.pid.into_iter().chain(pid).min();
        row.bind(socket.address, socket.both);
    }
    rows.extend(listening.into_values());
    rows
}

/// The rows of ports that rules translate and that no engine has told.
fn of_rules(machine: &Machine<'_>) -> Vec<Row> {
    let is_told = |one: &Forwarded| {
        machine.published.iter().any(|port| {
            let same = (port.protocol, port.port) == (one.protocol, one.first) && one.first == one.last;
            same && one.at.is_none_or(|at| port.address.is_unspecified() || port.address == at)
        })
    };
    let all: BTreeSet<Forwarded> =
        forwarded(machine.tables.iter().copied()).into_iter().filter(|one| one.by_service || !is_told(one)).collect();
    let is_range = |one: &Forwarded| one.first != one.last;
    let cuts = if all.iter().any(is_range) { cuts(machine.tables.iter().copied()) } else { BTreeSet::new() };
    let mut rows = Vec::new();
    for one in &all {
        let among = cuts.range(one.first..=one.last).copied().filter(|cut| *cut > one.first);
        let firsts: Vec<u16> = std::iter::once(one.first).chain(among).collect();
        for (index, first) in firsts.iter().enumerate() {
            let purpose = if one.by_service { Purpose::Forwarded } else { Purpose::Container };
            let mut row = Row::new(one.protocol, *first, purpose, String::new());
            row.last = firsts.get(index + 1).map_or(one.last, |next| next - 1);
            row.by_rules = true;
            match one.at {
                Some(at) => row.bind(at, false),
                None => {
                    row.bind(IpAddr::V4(Ipv4Addr::UNSPECIFIED), false);
                    row.bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED), false);
                    let same = |other: &&Forwarded| (other.protocol, other.first) == (one.protocol, one.first);
                    row.elsewhere = all.iter().filter(same).filter_map(|other| other.at).collect();
                }
            }
            rows.push(row);
        }
    }
    rows
}

/// The rows with all that probing has found out, sorted by port.
pub(super) fn finish(machine: &Machine<'_>, mut rows: Vec<Row>) -> Vec<Row> {
    rows.retain_mut(|row| !row.by_rules || is_forwarded(machine, row));
    rows.iter_mut().for_each(|row| say_alike(machine, row));
    rows.sort_by(|a, b| {
        let by = |row: &Row| (row.port, row.protocol, row.purpose, row.owner.clone(), row.bound.clone());
        by(a).cmp(&by(b))
    });
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        match merged.iter_mut().rev().find(|before| goes_on(before, &row)) {
            Some(before) if before.port == row.port => {
                row.bound.iter().for_each(|(at, both)| before.bind(*at, *both))
            }
            Some(before) => before.last = row.last,
            None => merged.push(row),
        }
    }
    for row in &mut merged {
        if row.by_rules && row.purpose != Purpose::Process {
            name_target(row);
        }
        row.admitted = admitted(machine, row);
    }
    merged
}

/// Whether a row is the next part of a range that a rule translates, or the same ports at another address.
fn goes_on(before: &Row, row: &Row) -> bool {
    let addresses = |row: &Row| row.translated.iter().map(|to| to.address).collect::<BTreeSet<IpAddr>>();
    let alike = before.by_rules
        && row.by_rules
        && (before.protocol, before.purpose, &before.reach) == (row.protocol, row.purpose, &row.reach)
        && addresses(before) == addresses(row);
    let ranges = before.last != before.port || row.last != row.port;
    let next = ranges && before.last.checked_add(1) == Some(row.port) && before.bound == row.bound;
    let same = (before.port, before.last) == (row.port, row.last) && before.translated == row.translated;
    alike && (next || same)
}

/// Names a container by where rules translate to, or each machine that a port is forwarded to: an address and a port, or
/// as many ports.
fn name_target(row: &mut Row) {
    if row.purpose == Purpose::Forwarded {
        row.owner = row.targets().join(", ");
        return;
    }
    let Some(to) = row.translated.first() else { return };
    let port = to.port.unwrap_or(row.port);
    row.owner = std::net::SocketAddr::new(to.address, port).to_string();
    if row.last != row.port {
        row.container_port = None;
        if port == row.port {
            row.owner.push_str(&format!("-{}", row.last));
        }
    }
}

/// Who reaches a port over which IP version: the one place from which text and JSON are made.
fn admitted(machine: &Machine<'_>, row: &Row) -> Vec<Admitted> {
    let clauses: BTreeSet<&Clause> = row.reach.iter().flatten().flat_map(|reach| &reach.who).collect();
    let one = |who: &Clause| {
        let holds = |version: Version| row.reach_over(version).is_some_and(|reach| reach.who.contains(who));
        let over = match Version::ALL.map(holds) {
            [true, false] => Some(Version::V4),
            [false, true] => Some(Version::V6),
            _ => None,
        };
        // Where nobody listens over the other version, or where nobody of these sources has it, it is not spoken of.
        let other = over.and_then(|version| {
            let other = if version == Version::V4 { Version::V6 } else { Version::V4 };
            row.reach_over(other).map(|_| other)
        });
        let named = other.is_some_and(|other| !who.within.iter().any(|label| is_nobody_of(machine, label, other)));
        Admitted { who: who.clone(), over, named }
    };
    clauses.into_iter().map(one).collect()
}

/// Whether rules forward the port; names the owner by where to.
fn is_forwarded(machine: &Machine<'_>, row: &mut Row) -> bool {
    let is_own = |address: IpAddr| {
        let mut own = machine.interfaces.iter().flat_map(|interface| &interface.addresses);
        address.is_loopback() || own.any(|(own, _)| *own == address)
    };
    if row.purpose == Purpose::Forwarded {
        // Over a version without a target nobody answers.
        row.bound.retain(|(address, _)| row.translated.iter().any(|to| to.address.is_ipv4() == address.is_ipv4()));
        for version in Version::ALL {
            if let Some(reach) = row.reach.get_mut(version as usize)
                && !row.bound.iter().any(|(address, _)| Version::of(*address) == version)
            {
                *reach = None;
            }
        }
        return !row.translated.is_empty();
    }
    let Some(to) = row.translated.first() else {
        // Its destination is not known.
        let doubtful = row.reach.iter().flatten().any(|reach| !reach.unknown.is_empty());
        row.owner = "redirected".to_owned();
        row.purpose = Purpose::Process;
        return doubtful;
    };
    let port = to.port.unwrap_or(row.port);
    if is_own(to.address) {
        let listens = |listener: &&Listener| listener.socket.protocol == row.protocol && listener.socket.port == port;
        let process = machine.listeners.iter().find(listens).and_then(|listener| listener.process.as_ref());
        row.purpose = Purpose::Process;
        row.owner = process.map_or_else(|| "redirected".to_owned(), |process| process.name.clone());
        row.pid = process.map(|process| process.pid);
    } else {
        row.container_port = Some(port);
        name_target(row);
    }
    true
}

/// Makes the reach over IPv4 and IPv6 equal where it differs only by exceptions that match nobody.
fn say_alike(machine: &Machine<'_>, row: &mut Row) {
    let [Some(v4), Some(v6)] = &row.reach else { return };
    let alike = |reach: &Reach, other: &Reach, version: Version| {
        let mut alike = reach.clone();
        for clause in &mut alike.who {
            let same = other.who.iter().filter(|other| other.within == clause.within);
            let left_out: Vec<Label> = same.flat_map(|other| other.but.clone()).collect();
            clause.but.extend(left_out.into_iter().filter(|label| is_nobody_of(machine, label, version)));
        }
        alike
    };
    row.reach = [Some(alike(v4, v6, Version::V4)), Some(alike(v6, v4, Version::V6))];
}

/// Whether a label matches nobody of an IP version.
fn is_nobody_of(machine: &Machine<'_>, label: &Label, version: Version) -> bool {
    match label {
        Label::Group(name) | Label::List(name) => {
            let set = format!("{name}-{}", version.suffix());
            let ours = machine.tables.iter().find(|(id, _)| **id == TableId::palisade());
            ours.is_some_and(|(_, table)| !table.sets.contains_key(&set))
        }
        Label::Network(words) => words.contains(':') == (version == Version::V4),
        // The set of another table holds addresses of one version.
        Label::Set(..) => true,
        Label::ContainersBy(name) => {
            let mut named = machine.interfaces.iter().filter(|interface| interface.name == *name);
            !named.any(|interface| super::zones::networks(interface, version).next().is_some())
        }
        Label::Containers => {
            let mut containers = machine.interfaces.iter().filter(|interface| interface.containers);
            !containers.any(|interface| super::zones::networks(interface, version).next().is_some())
        }
        _ => false,
    }
}
