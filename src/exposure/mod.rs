//! Who can reach which port of this machine, by the live rules of all tables.
//!
//! Each port is probed with packets: by each interface, to each of this machine's addresses, from each kind of
//! source. The rules define the kinds: an address in a rule that a probe meets cuts the sources into parts (`sources`), and a
//! set that a rule looks up splits them into members and others (`ask`). The result is a formula (`reach`) in which a group of
//! the policy keeps its name. What can't be told is reported as unknown.
//!
//! Sources come in only where the routing lets them: a source that the reverse path filter drops reaches nothing.

mod ask;
mod containers;
mod forwarded;
mod grants;
mod judged;
mod probe;
mod reach;
mod remembered;
mod rows;
mod sources;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_judged;
#[cfg(test)]
mod tests_of_parts;
mod words;
mod zones;

pub use ask::{Decided, How};
pub use forwarded::has_ports;
pub use grants::{At, Door, Grant, Grants, Own, Space, Spans, Way, grants, grants_out, inlined, somewhere};
pub use judged::{Judged, JudgedPart, Sources, Whole, judge};
pub use reach::{Clause, Label, Reach};
pub use remembered::Remembered;
pub use rows::{Admitted, Purpose, Row};
pub use words::{Listing, Listings, Told, doubts, json, lists, reachable_from, row_json, table, target_words, text};
pub(crate) use words::{kind, port_json, protocol, width};

use crate::machine::{Listener, PublishedPort};
use crate::net::Version;
use crate::ruleset::{Elements, Table, TableId};
use crate::simulate::{Doubt, Routes, Sets};
use ask::PortProber;
use probe::Probe;
use sources::Compared;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

/// An interface of this machine that packets come in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether containers are behind it.
    pub containers: bool,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// Reads all elements of the set of that table and name. It is asked for the same ones again and again.
pub type ElementsOf<'m> = dyn Fn(&TableId, &str) -> Option<Rc<Elements>> + 'm;

/// All that the report is made from.
pub struct Machine<'m> {
    /// The live tables.
    pub tables: Vec<(&'m TableId, &'m Table)>,
    /// What is in their sets.
    pub sets: &'m dyn Sets,
    /// All elements of a set; `None` if they can't be read, or are too many.
    pub elements: Box<ElementsOf<'m>>,
    /// The routing.
    pub routes: &'m dyn Routes,
    /// The interfaces, except the loopback and those that are ports of others.
    pub interfaces: Vec<Interface>,
    /// Who listens.
    pub listeners: Vec<Listener>,
    /// What containers publish, as far as their engines tell.
    pub published: Vec<PublishedPort>,
    /// Whether all sets with ports in them are listed. If not, ranges of ports can't be told apart by them.
    pub ports_listed: bool,
    /// Why the tables don't tell everything, if they don't.
    pub beyond: Option<Doubt>,
}

impl Machine<'_> {
    /// The same machine, on which nobody listens: what its rules alone are asked about.
    #[must_use]
    pub fn without_listeners(&self) -> Machine<'_> {
        Machine {
            tables: self.tables.clone(),
            sets: self.sets,
            elements: Box::new(|id, name| (self.elements)(id, name)),
            routes: self.routes,
            interfaces: self.interfaces.clone(),
            listeners: Vec::new(),
            published: self.published.clone(),
            ports_listed: self.ports_listed,
            beyond: self.beyond.clone(),
        }
    }
}

/// Every port that somebody listens on or that a container is behind, sorted by number, with who reaches it.
#[must_use]
pub fn exposure(machine: &Machine<'_>) -> Vec<Row> {
    rows::finish(machine, probed(machine, rows::rows(machine)))
}

/// Every port that somebody listens on or that a container is behind, as [`exposure`] lists them, before anything is
/// known of who reaches them.
#[must_use]
pub fn open_ports(machine: &Machine<'_>) -> Vec<Row> {
    rows::rows(machine)
}

/// Who reaches one port, and whether anybody listens on it or a container is behind it. If nobody is, the one row says who
/// would reach it. Of a protocol without ports, the port is 0, and ICMP stands for echo requests; this machine counts as
/// listening.
#[must_use]
pub fn exposure_of(machine: &Machine<'_>, protocol: u8, port: u16) -> (Vec<Row>, bool) {
    if !rows::has_ports(protocol) {
        let row = rows::made_up(protocol, 0, "this machine");
        return (rows::finish(machine, probed(machine, vec![row])), true);
    }
    let rows = rows::finish(machine, probed(machine, rows::of_port(machine, protocol, port)));
    if !rows.is_empty() {
        return (rows, true);
    }
    let row = rows::made_up(protocol, port, "nothing listens");
    (rows::finish(machine, probed(machine, vec![row])), false)
}

/// The rows with who reaches each.
fn probed(machine: &Machine<'_>, rows: Vec<Row>) -> Vec<Row> {
    probed_by(machine, rows, |version| Rules::new(&machine.tables, version))
}

fn probed_by<'m>(machine: &Machine<'m>, mut rows: Vec<Row>, rules: impl Fn(Version) -> Rules<'m>) -> Vec<Row> {
    for version in Version::ALL {
        let rules = rules(version);
        let tables: Vec<(&TableId, &Table)> = rules.tables.iter().map(|(id, table)| (*id, table)).collect();
        let prober = PortProber::new(machine, &tables, &rules);
        let mut probe = Probe::new(machine, version, &rules.cuts, prober);
        for row in &mut rows {
            let reach = probe.reach(row);
            if let Some(of_family) = row.reach.get_mut(version as usize) {
                *of_family = reach;
            }
        }
    }
    rows
}

/// Rules as packets of one IP version meet them.
struct Rules<'m> {
    tables: Vec<(&'m TableId, Table)>,
    cuts: BTreeSet<u128>,
    compared: Compared,
    ports: BTreeSet<u16>,
}

impl<'m> Rules<'m> {
    fn new(tables: &[(&'m TableId, &'m Table)], version: Version) -> Self {
        let mut rules =
            Self { tables: Vec::new(), cuts: BTreeSet::new(), compared: Compared::new(), ports: BTreeSet::new() };
        for (id, table) in tables {
            let understood = sources::understand(id, table, version);
            rules.tables.push((*id, understood.table));
            rules.cuts.extend(understood.cuts);
            for (data, cuts) in understood.compared {
                rules.compared.entry(data).or_default().extend(cuts);
            }
            rules.ports.extend(understood.ports);
        }
        rules
    }

    /// The first address of each possible class, by whatever a rule tests.
    fn all_cuts(&self) -> BTreeSet<u128> {
        self.cuts.iter().chain(self.compared.values().flatten()).copied().collect()
    }
}
