//! Revocation: a connection that the new rules would not let begin ends, although it is established.
//!
//! The rules accept what conntrack calls established, so a connection outlives the line that admitted it until its
//! entry is deleted. That alone would not end a download: see the chain `revoked`, to whose sets the connection's replies
//! are added first.

use crate::netlink::conntrack::{Conntrack, Entry, Layer4, Tuple};
use crate::netlink::route::{Route, RouteKind, Routing};
use crate::netlink::{CommitError, Handles, NetlinkError, Socket, encode};
use crate::ruleset::{Element, REVOKED_V4, REVOKED_V6, Table, TableId};
use crate::simulate::{Packet, Translation, Transport, simulate_table};
use crate::transaction::{Op, Transaction};
use std::collections::HashMap;
use std::net::IpAddr;

/// `TCP_CONNTRACK_TIME_WAIT`, `TCP_CONNTRACK_CLOSE`: both sides are done with the connection, and a new one between them
/// is new to conntrack too.
const CLOSED: [u8; 2] = [7, 8];

/// Ends the connections of this network namespace that `now` would deny and `before` let begin, and tells how many. No
/// table before let everything begin.
///
/// What can't be told, because a connection's packets may take more than one way or rules of a foreign kind decide, is
/// left alone, and so is what this machine says to itself.
///
/// # Errors
///
/// What the kernel says. A kernel that tracks no connections has none to end.
pub fn revoke(socket: &Socket, id: &TableId, before: Option<&Table>, now: &Table) -> Result<usize, NetlinkError> {
    let mut conntrack = match Conntrack::open() {
        Err(NetlinkError::NoConntrack) => return Ok(0),
        conntrack => conntrack?,
    };
    // The list costs a walk through the kernel's whole table, which all namespaces share: milliseconds even when it is empty.
    if conntrack.count()? == 0 {
        return Ok(0);
    }
    let mut routes = Routes { routing: Routing::open()?, known: HashMap::new() };
    let mut lost = Vec::new();
    let mut unroutable = None;
    conntrack.entries(|entry| match routes.first_packet(&entry) {
        _ if entry.tcp_state.is_some_and(|state| CLOSED.contains(&state)) => {}
        Ok(Some(packet)) => {
            if is_denied(id, now, &packet) && !before.is_some_and(|before| is_denied(id, before, &packet)) {
                lost.push(entry);
            }
        }
        Ok(None) => {}
        Err(error) => unroutable = Some(error),
    })?;
    if let Some(error) = unroutable {
        tracing::warn!("could not ask how all connections are routed, so some may go on: {error}");
    }
    if lost.is_empty() {
        return Ok(0);
    }
    if let Err(error) = remember(socket, id, now, &lost) {
        tracing::warn!("connections that lost their access may be revived by what this machine sends: {error}");
    }
    Ok(conntrack.delete(&lost)?.deleted)
}

fn is_denied(id: &TableId, table: &Table, packet: &Packet) -> bool {
    simulate_table(id, table, packet).outcomes.never_pass()
}

/// Adds the replies of these connections to the sets that the chain `revoked` asks.
fn remember(socket: &Socket, id: &TableId, table: &Table, lost: &[Entry]) -> Result<(), CommitError> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for entry in lost {
        match flow(&entry.reply) {
            Some(Flow::V4(key)) => v4.push(Element::single(&key)),
            Some(Flow::V6(key)) => v6.push(Element::single(&key)),
            None => {}
        }
    }
    let mut ops = Vec::new();
    for (set, mut elements) in [(REVOKED_V4, v4), (REVOKED_V6, v6)] {
        elements.sort_unstable();
        elements.dedup();
        if let (Some(found), false) = (table.sets.get(set), elements.is_empty()) {
            ops.push(Op::AddElements { set: set.to_owned(), spec: found.spec.clone(), elements: elements.into() });
        }
    }
    // Whatever generation: it takes nothing back that anybody has done.
    match encode(&Transaction { table: id.clone(), ops }, &Handles::default(), ANY_GENERATION) {
        Ok(batch) => socket.commit(&batch),
        // Elements of a table that was just loaded can be written.
        Err(error) => {
            tracing::debug!("{}", error.problem);
            Ok(())
        }
    }
}

/// `NFNL_BATCH_GENID` 0: the kernel does not compare it (`nf_tables_valid_genid`).
const ANY_GENERATION: u32 = 0;

/// A key of type [`FLOW_V4`](crate::ruleset::KeyType::FLOW_V4) or `FLOW_V6`: each field begins a 32-bit word.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    V4([u8; 20]),
    V6([u8; 44]),
}

/// The key of packets of that tuple; `None` for a protocol without ports, whose packets can't be told apart.
fn flow(tuple: &Tuple) -> Option<Flow> {
    let (source, destination) = tuple.ports()?;
    let ([s0, s1], [d0, d1]) = (source.to_be_bytes(), destination.to_be_bytes());
    let rest = [tuple.protocol, 0, 0, 0, s0, s1, 0, 0, d0, d1, 0, 0];
    match (tuple.source, tuple.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut key = [0; 20];
            key[..4].copy_from_slice(&source.octets());
            key[4..8].copy_from_slice(&destination.octets());
            key[8..].copy_from_slice(&rest);
            Some(Flow::V4(key))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut key = [0; 44];
            key[..16].copy_from_slice(&source.octets());
            key[16..32].copy_from_slice(&destination.octets());
            key[32..].copy_from_slice(&rest);
            Some(Flow::V6(key))
        }
        _ => None,
    }
}

/// How addresses are reached, each asked for once.
struct Routes {
    routing: Routing,
    known: HashMap<IpAddr, Option<Route>>,
}

impl Routes {
    fn to(&mut self, address: IpAddr) -> Result<Option<Route>, NetlinkError> {
        if let Some(known) = self.known.get(&address) {
            return Ok(known.clone());
        }
        let route = self.routing.route_to(address)?;
        self.known.insert(address, route.clone());
        Ok(route)
    }

    /// The packet that would begin this connection today. It is taken to come in where answers to it go out, since
    /// conntrack does not keep the interface. `None` for what this machine says to itself, and for what is neither sent
    /// to it nor to one other machine.
    fn first_packet(&mut self, entry: &Entry) -> Result<Option<Packet>, NetlinkError> {
        let Tuple { source, destination, .. } = entry.original;
        // Whoever answers is where the packets arrive.
        let (Some(back), Some(there)) = (self.to(source)?, self.to(entry.reply.source)?) else { return Ok(None) };
        let transport = transport(&entry.original);
        let packet = match (back.kind, there.kind) {
            (RouteKind::Local, RouteKind::Unicast) => Packet::from_machine(source, destination, transport),
            (RouteKind::Unicast, RouteKind::Local) => Packet::to_machine(source, destination, transport),
            (RouteKind::Unicast, RouteKind::Unicast) => Packet::through(source, destination, transport),
            _ => return Ok(None),
        };
        let packet = match (back.kind, back.interface) {
            (RouteKind::Unicast, Some(interface)) => packet.coming_in_by(interface),
            _ => packet,
        };
        let packet = match (there.kind, there.interface) {
            (RouteKind::Unicast, Some(interface)) => packet.leaving_by(interface),
            _ => packet,
        };
        let translated = entry.is_destination_translated().then(|| Translation {
            address: entry.reply.source,
            port: entry.reply.ports().map(|(source, _)| source),
        });
        Ok(Some(Packet { translated, ..packet }))
    }
}

fn transport(tuple: &Tuple) -> Transport {
    match tuple.layer4 {
        Layer4::Ports { source, destination } => {
            Transport::Ports { protocol: tuple.protocol, source: Some(source), destination }
        }
        Layer4::Icmp { kind, code, .. } => Transport::Icmp { kind, code },
        Layer4::None => Transport::Other(tuple.protocol),
    }
}
