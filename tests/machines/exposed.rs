//! What `exposure` says of connections to the machine, held against what became of them.

use super::drawn::{TCP, UDP};
use super::said::{Beside, Compared, Sum, contains};
use super::tries::Try;
use crate::support::dice::Dice;
use crate::support::probe::{Outcome, Target};
use palisade::exposure::{Clause, Interface, Label, Machine, Row, exposure, has_ports};
use palisade::machine::listeners;
use palisade::net::{IfName, Version, octets, protocol};
use palisade::netlink::routing::Routing;
use palisade::netlink::{Live, LiveSets, Socket, members};
use palisade::resolve::Containers;
use palisade::ruleset::{Elements, Set, Table, TableId};
use palisade::simulate::{Answer, Sets};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

/// How many ports are asked about beside one policy.
const PORTS: usize = 3;

/// A source, as rules tell it from others.
struct Source<'l> {
    live: &'l Live,
    sets: &'l LiveSets<'l>,
    address: IpAddr,
    by: &'l str,
    containers: bool,
}

impl Compared<'_> {
    /// Whether the live rules take who comes in by an interface for a container.
    pub fn is_behind_containers(&self, by: &str) -> bool {
        self.ask(|live, sets| is_of_containers(live, sets, by))
    }

    /// Holds the rows of `exposure` against the outcomes.
    pub fn exposed(&self, dice: &mut Dice, beside: &Beside, sum: &mut Sum) -> Vec<String> {
        // Each port takes its time.
        let asked: Vec<u16> = dice.some(&[&TCP[..], &UDP[..]].concat(), PORTS);
        let (rows, containers) = self.built.lab.host.run(|| rows(&asked));
        let mut found = Vec::new();
        for (index, one) in self.tries.iter().enumerate() {
            if !self.is_to_machine(one) || !is_asked(one, &asked) {
                continue;
            }
            let by = self.built.who[one.who].by.unwrap_or_default();
            let said = self.ask(|live, sets| {
                let source = Source { live, sets, address: one.from.ip(), by, containers: containers.contains(by) };
                source.reaches(&rows, one)
            });
            let connected = beside.outcomes[index] == Outcome::Connected;
            let (what, holds) = match said {
                (false, true) => ("unknown", true),
                (false, false) => ("shut", !connected),
                (true, _) => ("open", connected || self.open_elsewhere(one)),
            };
            sum.tell("exposure", what);
            if !holds {
                let about: Vec<String> = rows
                    .iter()
                    .filter(|row| is_about(row, one))
                    .map(|row| format!("{:?} {} {:?}", row.purpose, row.owner, row.reach_over(Version::of(one.to))))
                    .collect();
                found.push(format!("exposure: {one}: {what}, but {:?}: {about:?}", beside.outcomes[index]));
            }
        }
        found
    }
}

/// The rows of `exposure` about some ports, in the network namespace of the calling thread, and the interfaces that
/// containers are behind.
fn rows(asked: &[u16]) -> (Vec<Row>, BTreeSet<String>) {
    let listeners = listeners().expect("sockets can be listed");
    let (socket, routing) = (Socket::open().expect("a socket"), Routing::open().expect("a socket"));
    let live = socket.live().expect("the rules can be read");
    let sets = LiveSets::new(&socket, &live, None);
    let links = routing.links().expect("interfaces can be listed");
    let interfaces = links.into_iter().filter(|link| link.name != "lo" && link.master.is_none());
    let interfaces: Vec<Interface> = interfaces
        .filter(|link| !link.addresses.is_empty())
        .map(|link| Interface {
            containers: is_of_containers(&live, &sets, &link.name),
            name: link.name,
            addresses: link.addresses,
        })
        .collect();
    let containers = interfaces.iter().filter(|one| one.containers).map(|one| one.name.clone()).collect();
    // As the command does.
    let mut filled = live.ruleset.clone();
    for (id, table) in &mut filled.tables {
        for (name, set) in table.sets.iter_mut().filter(|(_, set)| has_ports(set) && set.elements.is_empty()) {
            set.elements = members(id, name, 8).expect("a set can be read").elements;
        }
    }
    let rows = exposure(&Machine {
        tables: filled.tables.iter().collect(),
        sets: &sets,
        routes: &routing,
        elements: Box::new(elements),
        interfaces,
        listeners: listeners.into_iter().filter(|one| asked.contains(&one.socket.port)).collect(),
        published: Vec::new(),
        ports_listed: true,
        beyond: None,
    });
    (rows, containers)
}

/// All elements of a set.
fn elements(id: &TableId, name: &str) -> Option<Rc<Elements>> {
    members(id, name, 8).ok().filter(|members| members.complete).map(|members| Rc::new(members.elements))
}

/// As the live rules say or, where they don't, the default of `containers`.
fn is_of_containers(live: &Live, sets: &LiveSets<'_>, name: &str) -> bool {
    let own = live.ruleset.tables.get(&TableId::palisade());
    let id = TableId::palisade();
    let set = own.and_then(|table| table.sets.get("containers-if"));
    match set {
        Some(set) => matches!(sets.find(&id, "containers-if", set, IfName::new(name).bytes()), Answer::Present(_)),
        None => Containers::default().interfaces.iter().any(|bridge| bridge.covers(name)),
    }
}

/// Whether a policy's table takes who comes in by an interface for a container.
pub fn takes_for_container(table: &Table, name: &str) -> bool {
    let set = table.sets.get("containers-if");
    set.is_some_and(|set| is_among(set, IfName::new(name).bytes()))
}

fn is_among(set: &Set, key: &[u8]) -> bool {
    set.elements.bounds().any(|(first, last)| first <= key && key <= last)
}

fn is_asked(one: &Try, ports: &[u16]) -> bool {
    match one.target {
        Target::Tcp(port) | Target::Udp(port) => ports.contains(&port),
        Target::Ping => false,
    }
}

fn is_about(row: &Row, one: &Try) -> bool {
    let (number, port) = match one.target {
        Target::Tcp(port) => (protocol::TCP, port),
        Target::Udp(port) => (protocol::UDP, port),
        Target::Ping => return false,
    };
    let at = row.bound.iter().any(|(bound, both)| {
        *bound == one.to || bound.is_unspecified() && (bound.is_ipv4() == one.to.is_ipv4() || *both)
    });
    row.protocol == number && (row.port..=row.last).contains(&port) && at && !row.elsewhere.contains(&one.to)
}

impl Source<'_> {
    /// Whether it reaches a port by any row, and whether that is not known by one.
    fn reaches(&self, rows: &[Row], one: &Try) -> (bool, bool) {
        let rows = rows.iter().filter(|row| is_about(row, one));
        let reach: Vec<_> = rows.filter_map(|row| row.reach_over(Version::of(one.to))).collect();
        let reaches = reach.iter().any(|reach| reach.who.iter().any(|clause| self.is_in(clause)));
        let unknown = reach.iter().any(|reach| reach.unknown.iter().any(|(clause, _)| self.is_in(clause)));
        (reaches, unknown)
    }

    fn is_in(&self, clause: &Clause) -> bool {
        clause.within.iter().all(|label| self.has(label)) && !clause.but.iter().any(|label| self.has(label))
    }

    fn has(&self, label: &Label) -> bool {
        match label {
            Label::Group(name) | Label::List(name) => {
                let version = Version::of(self.address).suffix();
                let id = TableId::palisade();
                self.is_in_set(&id, &format!("{name}-{version}"), &octets(self.address))
                    || self.is_in_set(&id, &format!("{name}-if"), IfName::new(self.by).bytes())
            }
            Label::Set(table, name) => {
                let of = self.live.ruleset.tables.keys().find(|id| format!("{} {}", id.family, id.name) == *table);
                of.is_some_and(|id| self.is_in_set(id, name, &octets(self.address)))
            }
            Label::Network(words) => contains(words, self.address),
            Label::Containers => self.containers,
            Label::ContainersBy(name) | Label::By(name) => name == self.by,
            // Its port is none that a rule names.
            Label::FromPort(_) => false,
        }
    }

    fn is_in_set(&self, id: &TableId, name: &str, key: &[u8]) -> bool {
        let set = self.live.ruleset.tables.get(id).and_then(|table| table.sets.get(name));
        set.is_some_and(|set| matches!(self.sets.find(id, name, set, key), Answer::Present(_)))
    }
}
