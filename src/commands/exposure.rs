//! `palisade exposure`

use super::{Report, reader};
use crate::compile::leads_to_containers;
use crate::error::Error;
use crate::explain::beyond;
use crate::exposure::{Interface, Label, Listing, Machine, Remembered, exposure, has_ports, json, lists, text};
use crate::machine::{
    EngineError, Listener, PublishedPort, legacy_tables, listeners, published_ports, running_engines,
};
use crate::net::{IfName, range_in_words};
use crate::netlink::routing::Routing;
use crate::netlink::{Link, Live, LiveSets, Socket, members};
use crate::plan::Exposed;
use crate::process::privileges::Confinement;
use crate::resolve::Containers;
use crate::ruleset::{Elements, Ruleset, Table, TableId};
use crate::simulate::Sets;
use crate::state::State;

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
    let known = Known::read()?;
    Confinement::begin(reader(state)).keep_net_admin("exposure")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    socket.ask_live(|live| report(&socket, &routing, live, &known))?
}

/// What is known of this machine beside its rules; read while this process is not confined yet.
pub(super) struct Known {
    listeners: Vec<Listener>,
    published: Vec<PublishedPort>,
    /// The tables of iptables-legacy, which nftables does not tell.
    legacy: Vec<String>,
}

impl Known {
    /// Reads who listens, and asks the engines what they publish.
    pub(super) fn read() -> Result<Self, Error> {
        Ok(Self { legacy: legacy_tables(), listeners: listeners()?, published: published() })
    }
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

fn report(socket: &Socket, routing: &Routing, live: &Live, known: &Known) -> Result<Report, Error> {
    let Exposed { rows, listings } = exposed(socket, routing, live, None, known)?;
    let mut text = text(&rows, &listings);
    if !live.ruleset.tables.contains_key(&TableId::palisade()) {
        text.push_str("\npalisade is not loaded: `palisade apply` loads the policy\n");
    }
    Ok(Report::ok(text, json(&rows, &listings)))
}

/// Who reaches which port by the live rules, or with a planned table in place of the one of that name.
pub(super) fn exposed(
    socket: &Socket,
    routing: &Routing,
    live: &Live,
    planned: Option<(&TableId, &Table)>,
    known: &Known,
) -> Result<Exposed, Error> {
    let sets = LiveSets::new(socket, live, planned);
    let links = routing.links()?;
    let (mut ruleset, ports_listed) = with_ports(&live.ruleset, planned);
    if let Some((id, table)) = planned {
        ruleset.tables.insert(id.clone(), table.clone());
    }
    let own = ruleset.tables.get(&TableId::palisade());
    let of_planned = |id: &TableId, name: &str| {
        let (_, table) = planned.filter(|(ours, _)| *ours == id)?;
        table.sets.get(name).map(|set| set.elements.clone())
    };
    let remembered = Remembered::new(&sets, routing);
    let machine = Machine {
        beyond: beyond(&known.legacy),
        tables: ruleset.tables.iter().collect(),
        sets: &remembered,
        elements: Box::new(move |id, name| of_planned(id, name).or_else(|| elements(id, name))),
        routes: &remembered,
        interfaces: links.into_iter().filter_map(|link| interface(link, own, &sets)).collect(),
        listeners: known.listeners.clone(),
        published: known.published.clone(),
        ports_listed,
    };
    let rows = exposure(&machine);
    let listing = |label: &Label| match planned {
        Some((_, table)) => planned_listing(label, table),
        None => listing(label, live),
    };
    let listings = lists(&rows).into_iter().map(|label| (label.clone(), listing(&label))).collect();
    Ok(Exposed { rows, listings })
}

/// The rules with the elements of named sets and maps that have ports in their keys, and whether they are all there.
/// Such maps can publish ports, and such sets tell the ports of a published range apart.
fn with_ports(ruleset: &Ruleset, planned: Option<(&TableId, &Table)>) -> (Ruleset, bool) {
    let (mut filled, mut complete) = (ruleset.clone(), true);
    let others = filled.tables.iter_mut().filter(|(id, _)| planned.is_none_or(|(ours, _)| ours != *id));
    for (id, table) in others {
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

/// The elements of a set, unless they are very many.
fn elements(id: &TableId, name: &str) -> Option<Elements> {
    match members(id, name, MOST_MESSAGES) {
        Ok(members) => members.complete.then_some(members.elements),
        Err(error) => {
            tracing::info!("the set {name} of {id} can't be read: {error}");
            None
        }
    }
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

/// The contents of a group or list in a table that is not loaded.
fn planned_listing(label: &Label, table: &Table) -> Listing {
    let (Label::Group(name) | Label::List(name)) = label else { return Listing::default() };
    let sets = ["v4", "v6"].iter().filter_map(|version| table.sets.get(&format!("{name}-{version}")));
    let texts = sets.flat_map(|set| set.elements.bounds().filter_map(|(first, last)| range_in_words(first, last)));
    Listing { texts: texts.collect(), complete: true }
}

/// The contents of a group or list in palisade's own table; empty if they can't be read.
fn listing(label: &Label, live: &Live) -> Listing {
    let id = TableId::palisade();
    let (Label::Group(name) | Label::List(name)) = label else { return Listing::default() };
    let mut listing = Listing { texts: Vec::new(), complete: true };
    for version in ["v4", "v6"] {
        let set = format!("{name}-{version}");
        if live.ruleset.tables.get(&id).is_none_or(|table| !table.sets.contains_key(&set)) {
            continue;
        }
        match members(&id, &set, MOST_MESSAGES) {
            Ok(members) => {
                listing
                    .texts
                    .extend(members.elements.bounds().filter_map(|(first, last)| range_in_words(first, last)));
                listing.complete &= members.complete;
            }
            Err(error) => {
                tracing::info!("the set {set} can't be read: {error}");
                listing.complete = false;
            }
        }
    }
    listing
}
