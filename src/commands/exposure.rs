//! `palisade exposure`

use super::{Report, reader};
use crate::compile::leads_to_containers;
use crate::error::Error;
use crate::explain::beyond;
use crate::exposure::{
    Interface, Label, Listing, Listings, Machine, Remembered, Row, exposure, has_ports, json, lists, text,
};
use crate::machine::{
    EngineError, Listener, PublishedPort, legacy_tables, listeners, published_ports, running_engines,
};
use crate::net::{IfName, range_in_words};
use crate::netlink::routing::Routing;
use crate::netlink::{Link, Live, LiveSets, Members, Socket, members};
use crate::plan::Exposed;
use crate::process::privileges::Confinement;
use crate::resolve::Containers;
use crate::ruleset::{Elements, Ruleset, SetFlags, Table, TableId};
use crate::simulate::Sets;
use crate::state::State;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How much of a set is read, in netlink messages; each has some hundred elements.
const MOST_MESSAGES: usize = 8;

/// List the open ports, whose they are, and who can reach them.
///
/// Lists every TCP and UDP socket that accepts connections or packets, with its process, and every port that a container
/// publishes, with its container. For each it says who reaches it by the live rules of all tables: everyone, groups of
/// the policy, addresses, containers, nobody. The engines name their containers; if an engine can't be asked, the rules
/// show its ports. If it can't be determined who reaches a port, it says `unknown`, and why. The policy is not read.
///
/// Exit status: 0 success, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(state: &State) -> Result<Report, Error> {
    let found = Found::read()?;
    Confinement::begin(reader(state)).keep_net_admin("exposure")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    socket.ask_live(|live| {
        let kernel = Kernel { socket: &socket, routing: &routing, live, planned: None };
        kernel.exposed(&found).map(|exposed| report(&exposed, live))
    })?
}

/// The elements of sets that were read.
type Read = BTreeMap<(TableId, String), Option<Rc<Elements>>>;

/// What is read before this process is confined.
pub(super) struct Found {
    legacy: Vec<String>,
    listeners: Vec<Listener>,
    published: Vec<PublishedPort>,
}

impl Found {
    pub(super) fn read() -> Result<Self, Error> {
        Self::with(None)
    }

    /// The same, with the sockets if they were read already: to tell whose they are takes a look at each process.
    pub(super) fn with(read: Option<Vec<Listener>>) -> Result<Self, Error> {
        let listeners = read.map_or_else(listeners, Ok)?;
        Ok(Self { legacy: legacy_tables(), listeners, published: published() })
    }
}

/// The rules and the routes of this machine, perhaps with a planned table in the place of palisade's own.
pub(super) struct Kernel<'k> {
    pub(super) socket: &'k Socket,
    pub(super) routing: &'k Routing,
    pub(super) live: &'k Live,
    pub(super) planned: Option<(&'k TableId, &'k Table)>,
}

/// The ports that running engines publish. If an engine can't be asked, warns and goes on: the rules show its ports,
/// too.
pub(super) fn published() -> Vec<PublishedPort> {
    let mut published = Vec::new();
    for (kind, path) in running_engines() {
        match published_ports(kind, &path) {
            Ok(ports) => published.extend(ports),
            Err(EngineError::Absent(_)) => {}
            Err(error) => tracing::warn!(
                "{} can't be asked which containers publish ports, which are told by the rules instead: {error}",
                kind.name()
            ),
        }
    }
    published
}

impl Kernel<'_> {
    /// Asks about the machine. Of each set up to `most` netlink messages are read.
    pub(super) fn on_machine<T>(
        &self,
        found: &Found,
        most: usize,
        ask: impl FnOnce(&Machine<'_>) -> T,
    ) -> Result<T, Error> {
        let Self { socket, routing, live, planned } = *self;
        let sets = LiveSets::new(socket, live, planned);
        let links = routing.links()?;
        let routing = &Routing::open_between(links.iter().map(|link| (link.index, link.name.clone())))?;
        let (mut ruleset, ports_listed) = with_ports(&live.ruleset, planned.map(|(id, _)| id));
        if let Some((id, table)) = planned {
            ruleset.tables.insert(id.clone(), table.clone());
        }
        let own = ruleset.tables.get(&TableId::palisade());
        let remembered = Remembered::new(&sets, routing);
        let read: RefCell<Read> = RefCell::default();
        let machine = Machine {
            beyond: beyond(&found.legacy),
            tables: ruleset.tables.iter().collect(),
            sets: &remembered,
            elements: Box::new(|id, name| {
                let mut read = read.borrow_mut();
                let elements = read.entry((id.clone(), name.to_owned())).or_insert_with(|| {
                    let members = self.members(id, name, most)?;
                    members.complete.then(|| Rc::new(members.elements))
                });
                elements.clone()
            }),
            routes: &remembered,
            interfaces: links.into_iter().filter_map(|link| interface(link, own, &sets)).collect(),
            listeners: found.listeners.clone(),
            published: found.published.clone(),
            ports_listed,
        };
        Ok(ask(&machine))
    }

    /// The elements of a set; `None` if it can't be read. Those of a planned table are what it lists, except where packets
    /// fill the set.
    fn members(&self, id: &TableId, name: &str, most: usize) -> Option<Members> {
        let planned = self.planned.filter(|(ours, _)| *ours == id).and_then(|(_, table)| table.sets.get(name));
        if let Some(set) = planned {
            let complete = !set.spec.flags.contains(SetFlags::DYNAMIC);
            return Some(Members { elements: set.elements.clone(), complete });
        }
        let read = members(id, name, most);
        read.inspect_err(|error| tracing::info!("the set {name} of {id} can't be read: {error}")).ok()
    }

    /// Who reaches which port.
    pub(super) fn exposed(&self, found: &Found) -> Result<Exposed, Error> {
        self.on_machine(found, MOST_MESSAGES, |machine| {
            let rows = exposure(machine);
            let listings = self.listings(&rows);
            Exposed { rows, listings }
        })
    }

    /// The contents of the groups and lists of palisade's own table that rows mention.
    pub(super) fn listings(&self, rows: &[Row]) -> Listings {
        lists(rows).into_iter().map(|label| (label.clone(), self.listing(&label))).collect()
    }

    /// The contents of a group or list in palisade's own table; empty if they can't be read.
    fn listing(&self, label: &Label) -> Listing {
        let id = TableId::palisade();
        let (Label::Group(name) | Label::List(name)) = label else { return Listing::default() };
        let mut listing = Listing { texts: Vec::new(), complete: true };
        let own = self.planned.map(|(_, table)| table).or_else(|| self.live.ruleset.tables.get(&id));
        for version in ["v4", "v6"] {
            let set = format!("{name}-{version}");
            if own.is_none_or(|table| !table.sets.contains_key(&set)) {
                continue;
            }
            match self.members(&id, &set, MOST_MESSAGES) {
                Some(members) => {
                    let bounds = members.elements.bounds();
                    listing.texts.extend(bounds.filter_map(|(first, last)| range_in_words(first, last)));
                    listing.complete &= members.complete;
                }
                None => listing.complete = false,
            }
        }
        listing
    }
}

fn report(Exposed { rows, listings }: &Exposed, live: &Live) -> Report {
    let mut text = text(rows, listings);
    if !live.ruleset.tables.contains_key(&TableId::palisade()) {
        text.push_str("\npalisade is not loaded: `palisade apply` loads the policy\n");
    }
    Report::ok(text, json(rows, listings))
}

/// The rules with the elements of named sets and maps that have ports in their keys, and whether they are all there, except
/// in the table that is planned anew. Such maps can publish ports, and such sets tell the ports of a published range apart.
fn with_ports(ruleset: &Ruleset, planned: Option<&TableId>) -> (Ruleset, bool) {
    let (mut filled, mut complete) = (ruleset.clone(), true);
    for (id, table) in filled.tables.iter_mut().filter(|(id, _)| planned != Some(*id)) {
        for (name, set) in table.sets.iter_mut().filter(|(_, set)| has_ports(set) && set.elements.is_empty()) {
            match members(id, name, MOST_MESSAGES) {
                Ok(members) => {
                    set.elements = members.elements;
                    complete &= members.complete;
                }
                Err(error) => {
                    tracing::info!("the set {name} of {id} can't be read: {error}");
                    complete = false;
                }
            }
        }
    }
    (filled, complete)
}

/// An interface that packets come in by: not the loopback, and not a port of a bridge.
fn interface(link: Link, own: Option<&Table>, sets: &dyn Sets) -> Option<Interface> {
    let Link { name, master, addresses, .. } = link;
    if name == "lo" || master.is_some() || addresses.is_empty() {
        return None;
    }
    let declared = own.and_then(|table| leads_to_containers(table, sets, &IfName::new(&name)));
    let of_default = || Containers::default().covers(&name);
    let containers = declared.unwrap_or_else(of_default);
    Some(Interface { name, containers, addresses })
}
