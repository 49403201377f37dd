//! `palisade explain`

use super::{Desired, Report, reader};
use crate::cli::Target;
use crate::error::Error;
use crate::explain::{Explanation, beyond};
use crate::machine::legacy_tables;
use crate::net;
use crate::netlink::routing::Routing;
use crate::netlink::{Live, LiveSets, Socket};
use crate::process::privileges::Confinement;
use crate::ruleset::{AddressType, Table, TableId};
use crate::simulate::{EPHEMERAL, Interface, Packet, Path, Routes, Transport, follow};
use crate::state::State;
use std::net::IpAddr;

/// The exit status that says so.
const CANT_TELL: u8 = 3;

/// What is asked.
pub(super) struct Question<'q> {
    pub(super) target: Target,
    pub(super) from: IpAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) on: Option<&'q str>,
}

pub(super) fn run(
    path: &std::path::Path,
    state: &State,
    question: &Question<'_>,
    planned: bool,
) -> Result<Report, Error> {
    let confined = Confinement::begin(reader(state));
    let desired = planned.then(|| Desired::load(path)).transpose()?;
    let legacy = legacy_tables();
    confined.keep_net_admin("explain")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    let packet = packet(question, &routing)?;
    // What the sets are asked belongs to the rules that were read.
    Ok(socket.ask_live(|live| {
        let planned = desired.as_ref().map(|desired| (&desired.id, &desired.table));
        let ask = |packet: &Packet| explained(&socket, &routing, live, planned, packet, &legacy);
        match ask(&packet) {
            // Rules that look at the port that the client sends from: most clients take one that nobody speaks of.
            report if report.status == CANT_TELL => {
                Some(ask(&from_a_port(&packet))).filter(|other| other.status != CANT_TELL).unwrap_or(report)
            }
            report => report,
        }
    })?)
}

fn explained(
    socket: &Socket,
    routing: &Routing,
    live: &Live,
    planned: Option<(&TableId, &Table)>,
    packet: &Packet,
    legacy: &[String],
) -> Report {
    let others = live.ruleset.tables.iter().filter(|(id, _)| planned.is_none_or(|(ours, _)| ours != *id));
    let tables: Vec<(&TableId, &Table)> = others.chain(planned).collect();
    let sets = LiveSets::new(socket, live, planned);
    let first = follow(tables.iter().copied(), &sets, routing, packet);
    let answer = first.answer(packet).map(|packet| follow(tables.iter().copied(), &sets, routing, &packet));
    let of_legacy = (!legacy.is_empty()).then(|| {
        format!("rules of the older iptables are loaded (table {}), which nf_tables does not show", legacy.join(", "))
    });
    let explanation = Explanation {
        connection: in_words(packet),
        first,
        answer,
        beyond: of_legacy.map(Into::into).or_else(|| beyond(tables.iter().copied())),
        tables,
    };
    let mut text = explanation.text();
    if explanation.tables.iter().all(|(id, _)| **id != TableId::palisade()) {
        text.push_str("\npalisade itself is not loaded: `palisade apply` loads the policy\n");
    }
    Report { status: explanation.status(), text: text.into(), json: explanation.json() }
}

/// The first packet of the connection that is asked about, with what was not said taken from the routes.
fn packet(question: &Question<'_>, routing: &Routing) -> Result<Packet, Error> {
    let Question { target, from, to, on } = question;
    let unsaid = |what: &str| Error::Declined(what.to_owned());
    let route = routing.route_to(*from)?;
    let own = route.as_ref().is_some_and(|route| route.kind == AddressType::Local);
    let to = match to {
        Some(to) if to.is_ipv4() != from.is_ipv4() => {
            return Err(Error::Declined(format!("{from} and {to} are of different IP versions")));
        }
        Some(to) => *to,
        None if own => *from,
        None => routing.source_towards(*from)?.ok_or_else(|| {
            Error::Declined(format!("no route leads back to {from}: say with --to which address it asks for"))
        })?,
    };
    let transport = match target {
        Target::Port { protocol, port } => Transport::Ports { protocol: *protocol, source: None, destination: *port },
        Target::Ping => Transport::echo_request(to),
    };
    let packet = Packet::to_machine(*from, to, transport);
    match on {
        Some(name) => {
            routing.index(name).map_err(|why| Error::Declined(why.into_owned()))?;
            Ok(packet.coming_in_by(*name))
        }
        None if own => Ok(Packet { path: Path::FromMachine, incoming: Interface::Absent, ..packet }),
        None => {
            let interface = route.and_then(|route| route.interface);
            let interface = interface.ok_or_else(|| unsaid("say with --on by which interface it comes in"))?;
            Ok(packet.coming_in_by(interface))
        }
    }
}

fn from_a_port(packet: &Packet) -> Packet {
    let transport = match packet.transport {
        Transport::Ports { protocol, destination, .. } => {
            Transport::Ports { protocol, source: Some(EPHEMERAL), destination }
        }
        other => other,
    };
    Packet { transport, ..packet.clone() }
}

fn in_words(packet: &Packet) -> String {
    let target = match packet.transport {
        Transport::Ports { protocol, destination, .. } => {
            let name = net::Transport::from_number(protocol).map_or("sctp", net::Transport::name);
            format!("{destination}/{name}")
        }
        _ => "ping".to_owned(),
    };
    let by = match &packet.incoming {
        Interface::Named(name) => format!(", coming in by {name}"),
        _ => ", sent by this machine".to_owned(),
    };
    let port = match packet.transport {
        Transport::Ports { source: Some(port), .. } => format!(" port {port}"),
        _ => String::new(),
    };
    format!("{target} from {}{port} to {}{by}", packet.source, packet.destination)
}
