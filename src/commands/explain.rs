//! `palisade explain`

use super::added::as_json;
use super::{Desired, Report, reader};
use crate::error::Error;
use crate::explain::{Explanation, beyond};
use crate::files::user_id;
use crate::machine::legacy_tables;
use crate::names::{Known, Names};
use crate::net;
use crate::netlink::routing::Routing;
use crate::netlink::{Live, LiveSets, Socket};
use crate::printable::{printable, time_in_words};
use crate::process::privileges::Confinement;
use crate::ruleset::{AddressType, Table, TableId};
use crate::simulate::{EPHEMERAL, Interface, LeavingBy, Packet, Path, Routes, Transport, follow_connection};
use crate::state::{State, moment};
use crate::temporary::{Entries, Entry, holds, until};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

/// The exit status for "can't tell".
const CANT_TELL: u8 = 3;

/// Show the verdict on a connection, and each rule that it meets.
///
/// Reads the live kernel: the rules and sets of all tables, whichever program loaded them, and the routes. For a port
/// that a container publishes, give the port that the outside sees. If something can't be determined, it says what and
/// why instead of a verdict.
///
/// Exit status: 0 allowed, 2 denied or rejected, 3 can't tell, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the connection is to: a port such as `22/tcp`, `53/udp` or `5060/sctp`, or `ping`.
    #[arg(value_name = "PORT/PROTO", value_parser = target)]
    pub(crate) target: Target,
    /// The address that the connection comes from; `host` is this machine, by its address on the route to `--to`.
    #[arg(long, value_name = "ADDR", value_parser = sender)]
    pub(crate) from: Sender,
    /// The address that the connection is to. The default is this machine's own address on the route to the source.
    #[arg(long, value_name = "ADDR")]
    pub(crate) to: Option<IpAddr>,
    /// The interface that the connection comes in by. The default is the one that the route to the source leaves by.
    #[arg(long, value_name = "IFACE")]
    pub(crate) on: Option<String>,
    /// The interface that the connection leaves by. The default is the one that the routing chooses.
    #[arg(long, value_name = "IFACE")]
    pub(crate) out: Option<String>,
    /// The user of this machine whose program opens the connection: a name of /etc/passwd, or a number. Needs
    /// `--from host`.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Answer as if the policy were applied.
    #[arg(long)]
    pub(crate) planned: bool,
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// This machine.
    Host,
    /// Whoever has this address.
    Address(IpAddr),
}

/// What the connection is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A port.
    Port {
        /// The IP protocol number.
        protocol: u8,
        /// The port.
        port: u16,
    },
    /// An ICMP echo request.
    Ping,
}

pub(crate) fn run(path: &std::path::Path, state: &State, args: &Args) -> Result<Report, Error> {
    // Confined, it could not read /etc/passwd.
    let user = args.user.as_deref().map(user).transpose()?;
    let confined = Confinement::begin(reader(state));
    let desired = args.planned.then(|| Desired::load(path, state)).transpose()?;
    let desired = desired.map(|desired| desired.with_temporary(state));
    let legacy = legacy_tables();
    let names = state.names().unwrap_or_default();
    confined.keep_net_admin("explain")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    let packet = Packet { user, ..packet(args, &routing)? };
    let routes = leaving_by(args.out.as_deref(), &routing, &packet)?;
    let packet = args.out.as_deref().map_or(packet.clone(), |name| packet.leaving_by(name));
    let routes: &dyn Routes = routes.as_ref().map_or(&routing, |routes| routes);
    if user.is_some() && packet.path != Path::FromMachine {
        return Err(Error::Declined("only this machine's own connections have a user: pass --from host".to_owned()));
    }
    // Asks for set elements while the rules are the ones that were read.
    Ok(socket
        .ask_live(|live| {
            let planned = desired.as_ref().map(|desired| (&desired.id, &desired.table));
            let ask = |packet: &Packet| explained(&socket, routes, live, planned, packet, &legacy);
            match ask(&packet) {
                // If rules look at the source port, tries one that no rule names: most clients use such a port.
                report if report.status == CANT_TELL => {
                    Some(ask(&from_a_port(&packet))).filter(|other| other.status != CANT_TELL).unwrap_or(report)
                }
                report => report,
            }
        })
        .map(|report| with_names(report, &packet, &names))
        .map(|report| with_time(report, &packet, state))?)
}

/// The report with the groups that the sender is in for a time.
fn with_time(mut report: Report, packet: &Packet, state: &State) -> Report {
    let (entries, now) = (state.temporary(), moment());
    if let Err(error) = &entries {
        report.text.push(&format!("\nwho is let in or blocked for a time is not known: {error}\n"));
    }
    let of_sender = entries.iter().flat_map(Entries::iter).filter(|entry| entry.address == packet.source);
    let of_sender: Vec<&Entry> = of_sender.collect();
    let table = if of_sender.is_empty() { None } else { state.in_force().and_then(|kept| kept.table) };
    let holds = |entry: &Entry| table.as_ref().is_some_and(|table| holds(table, entry));
    for entry in &of_sender {
        let end = until(entry, &now, holds(entry));
        report.text.push(&format!("\n{} is in the group {} {end}\n", entry.address, entry.group));
    }
    let listed: Vec<_> = of_sender.into_iter().map(|entry| as_json(entry, &now, holds(entry))).collect();
    report.with("temporary", json!(listed))
}

/// The report with the names that the two ends have.
fn with_names(mut report: Report, packet: &Packet, names: &Names) -> Report {
    let mut known = Vec::new();
    for address in [packet.source, packet.destination] {
        for name in names.of(address) {
            let asked = names.get(name).and_then(Known::asked).unwrap_or_default();
            let ago = time_in_words(Duration::from_secs(asked));
            report.text.push(&format!("\n{address} is {}, looked up {ago} ago\n", printable(name)));
            known.push(json!({ "address": address, "name": name, "looked_up_seconds_ago": asked }));
        }
    }
    report.with("names", json!(known))
}

fn explained(
    socket: &Socket,
    routes: &dyn Routes,
    live: &Live,
    planned: Option<(&TableId, &Table)>,
    packet: &Packet,
    legacy: &[String],
) -> Report {
    let others = live.ruleset.tables.iter().filter(|(id, _)| planned.is_none_or(|(ours, _)| ours != *id));
    let tables: Vec<(&TableId, &Table)> = others.chain(planned).collect();
    let sets = LiveSets::new(socket, live, planned);
    let explanation = Explanation {
        connection: in_words(packet),
        packets: follow_connection(tables.iter().copied(), &sets, routes, packet),
        beyond: beyond(legacy),
        tables,
    };
    let mut text = explanation.text();
    if explanation.tables.iter().all(|(id, _)| **id != TableId::palisade()) {
        text.push_str("\npalisade itself is not loaded: `palisade apply` loads the policy\n");
    }
    Report { status: explanation.status(), text: text.into(), json: explanation.json() }
}

/// The routing, if connections leave by the interface of `--out`.
fn leaving_by<'r>(out: Option<&str>, routing: &'r Routing, packet: &Packet) -> Result<Option<LeavingBy<'r>>, Error> {
    let Some(name) = out else { return Ok(None) };
    routing.index(name).map_err(|why| Error::Declined(why.into_owned()))?;
    let stays = routing.route_to(packet.destination)?.is_some_and(|route| route.kind == AddressType::Local);
    if stays {
        let message =
            format!("{} is an address of this machine, so it leaves by no interface: omit --out", packet.destination);
        return Err(Error::Declined(message));
    }
    Ok(Some(LeavingBy { routes: routing, opener: packet.source, interface: name.to_owned() }))
}

/// The connection's first packet. Fields that were not given come from the routes.
fn packet(args: &Args, routing: &Routing) -> Result<Packet, Error> {
    let Args { target, from, to, on, .. } = args;
    let unsaid = |what: &str| Error::Declined(what.to_owned());
    let from = match (from, to) {
        (Sender::Address(address), _) => address,
        (Sender::Host, None) => return Err(unsaid("pass --to ADDRESS, the address that this machine asks for")),
        (Sender::Host, Some(to)) => &routing
            .source_towards(*to)?
            .ok_or_else(|| Error::Declined(format!("no route leads to {to}: this machine can't ask for it")))?,
    };
    let route = routing.route_to(*from)?;
    let own = route.as_ref().is_some_and(|route| route.kind == AddressType::Local);
    let to = match to {
        Some(to) if to.is_ipv4() != from.is_ipv4() => {
            return Err(Error::Declined(format!("{from} and {to} are of different IP versions")));
        }
        Some(to) => *to,
        None if own => *from,
        None => routing.source_towards(*from)?.ok_or_else(|| {
            Error::Declined(format!("no route leads back to {from}: pass --to ADDRESS, the address that it asks for"))
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
            Ok(packet.coming_in_by(name.as_str()))
        }
        None if own => Ok(Packet { path: Path::FromMachine, incoming: Interface::Absent, ..packet }),
        None => {
            let interface = route.and_then(|route| route.interface);
            let interface = interface.ok_or_else(|| unsaid("pass --on IFACE, the interface that it comes in by"))?;
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
    let out = match &packet.outgoing {
        Interface::Named(name) => format!(", leaving by {name}"),
        _ => String::new(),
    };
    let port = match packet.transport {
        Transport::Ports { source: Some(port), .. } => format!(" port {port}"),
        _ => String::new(),
    };
    format!("{target} from {}{port} to {}{by}{out}", packet.source, packet.destination)
}

/// Parses `--from`.
fn sender(text: &str) -> Result<Sender, String> {
    if text == "host" {
        return Ok(Sender::Host);
    }
    text.parse().map(Sender::Address).map_err(|_| "write an address, or `host` for this machine".to_owned())
}

/// Reads `--user`.
fn user(text: &str) -> Result<u32, Error> {
    let number = text.parse().ok().or_else(|| user_id(text));
    number.ok_or_else(|| Error::Declined(format!("/etc/passwd has no user {}", crate::policy::quote(text))))
}

/// Parses the argument of `explain`.
pub(super) fn target(text: &str) -> Result<Target, String> {
    const FORM: &str = "a port is written as `22/tcp`, `53/udp` or `5060/sctp`, an echo request as `ping`";
    if text == "ping" {
        return Ok(Target::Ping);
    }
    let (port, name) = text.split_once('/').ok_or(FORM)?;
    let transport = net::Transport::ALL.into_iter().find(|transport| transport.name() == name).ok_or(FORM)?;
    match port.parse() {
        Ok(port @ 1..) => Ok(Target::Port { protocol: transport.number(), port }),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}
