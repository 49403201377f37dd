//! `palisade exposure`

use super::{Report, reader};
use crate::compile::leads_to_containers;
use crate::error::Error;
use crate::explain::beyond;
use crate::exposure::{Interface, Label, Listing, Listings, Machine, exposure, has_ports, json, lists, text};
use crate::machine::{
    EngineError, Listener, PublishedPort, legacy_tables, listeners, published_ports, running_engines,
};
use crate::net::{IfName, range_in_words};
use crate::netlink::routing::Routing;
use crate::netlink::{Link, Live, LiveSets, Socket, members};
use crate::process::privileges::Confinement;
use crate::resolve::Containers;
use crate::ruleset::{Elements, Ruleset, TableId};
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
    let legacy = legacy_tables();
    let listeners = listeners()?;
    let published = published();
    Confinement::begin(reader(state)).keep_net_admin("exposure")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    socket.ask_live(|live| report(&socket, &routing, live, &listeners, &published, &legacy))?
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

fn report(
    socket: &Socket,
    routing: &Routing,
    live: &Live,
    listeners: &[Listener],
    published: &[PublishedPort],
    legacy: &[String],
) -> Result<Report, Error> {
    let sets = LiveSets::new(socket, live, None);
    let links = routing.links()?;
    let (ruleset, ports_listed) = with_ports(&live.ruleset);
    let tables: Vec<_> = ruleset.tables.iter().collect();
    let machine = Machine {
        beyond: beyond(legacy),
        tables,
        sets: &sets,
        elements: Box::new(elements),
        routes: routing,
        interfaces: links.into_iter().filter_map(|link| interface(link, live, &sets)).collect(),
        listeners: listeners.to_vec(),
        published: published.to_vec(),
        ports_listed,
    };
    let rows = exposure(&machine);
    let listings: Listings = lists(&rows).into_iter().map(|label| (label.clone(), listing(&label, live))).collect();
    let mut text = text(&rows, &listings);
    if !live.ruleset.tables.contains_key(&TableId::palisade()) {
        text.push_str("\npalisade is not loaded: `palisade apply` loads the policy\n");
    }
    Ok(Report::ok(text, json(&rows, &listings)))
}

/// The rules with the elements of named sets and maps that have ports in their keys, and whether they are all there.
/// Such maps can publish ports, and such sets tell the ports of a published range apart.
fn with_ports(ruleset: &Ruleset) -> (Ruleset, bool) {
    let (mut filled, mut complete) = (ruleset.clone(), true);
    for (id, table) in &mut filled.tables {
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
fn interface(link: Link, live: &Live, sets: &dyn Sets) -> Option<Interface> {
    let Link { name, master, addresses, .. } = link;
    if name == "lo" || master.is_some() || addresses.is_empty() {
        return None;
    }
    let id = TableId::palisade();
    let own = live.ruleset.tables.get(&id);
    let declared = own.and_then(|table| leads_to_containers(table, sets, &IfName::new(&name)));
    let of_default = || Containers::default().covers(&name);
    let containers = declared.unwrap_or_else(of_default);
    Some(Interface { name, containers, addresses })
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
