//! The ports to report, and who owns each.

use super::Machine;
use super::forwarded::forwarded;
use super::reach::{Label, Reach};
use crate::machine::{EngineKind, Listener};
use crate::net::Version;
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
}

/// A port, its owner, and who reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The IP protocol number.
    pub protocol: u8,
    /// The port that the outside sees.
    pub port: u16,
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
}

impl Row {
    fn new(protocol: u8, port: u16, purpose: Purpose, owner: String) -> Self {
        Self {
            protocol,
            port,
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
        }
    }

    fn bind(&mut self, address: IpAddr, both: bool) {
        match self.bound.iter_mut().find(|(known, _)| *known == address) {
            Some((_, known)) => *known |= both,
            None => self.bound.push((address, both)),
        }
    }
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
    let by_rules: BTreeSet<(u8, u16)> =
        forwarded(machine.tables.iter().copied()).into_iter().filter(|port| !by_engine.contains(port)).collect();
    let mut rows: Vec<Row> = published.into_values().collect();
    for (protocol, port) in &by_rules {
        let mut row = Row::new(*protocol, *port, Purpose::Container, String::new());
        row.by_rules = true;
        row.bind(IpAddr::V4(Ipv4Addr::UNSPECIFIED), false);
        row.bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED), false);
        rows.push(row);
    }
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

/// The rows with all that probing has found out, sorted by port.
pub(super) fn finish(machine: &Machine<'_>, mut rows: Vec<Row>) -> Vec<Row> {
    rows.retain_mut(|row| !row.by_rules || is_forwarded(machine, row));
    rows.iter_mut().for_each(|row| say_alike(machine, row));
    rows.sort_by(|a, b| (a.port, a.protocol, a.purpose, &a.owner).cmp(&(b.port, b.protocol, b.purpose, &b.owner)));
    rows
}

/// Whether rules forward the port; names the owner by where to.
fn is_forwarded(machine: &Machine<'_>, row: &mut Row) -> bool {
    let is_own = |address: IpAddr| {
        let mut own = machine.interfaces.iter().flat_map(|interface| &interface.addresses);
        address.is_loopback() || own.any(|(own, _)| *own == address)
    };
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
        row.owner = std::net::SocketAddr::new(to.address, port).to_string();
        row.container_port = Some(port);
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
        Label::Containers => {
            let mut containers = machine.interfaces.iter().filter(|interface| interface.containers);
            !containers.any(|interface| super::zones::networks(interface, version).next().is_some())
        }
        _ => false,
    }
}
