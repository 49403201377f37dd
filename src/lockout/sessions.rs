//! The SSH sessions that a command must not cut when it changes the rules.

use crate::lockout::{self, Beside, Lockouts};
use crate::machine::{Session, ssh_sessions};
use crate::net::protocol;
use crate::netlink::conntrack::{Conntrack, Layer4, Tuple};
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, NetlinkError, Socket};
use crate::ruleset::{AddressType, Table, TableId};
use std::net::SocketAddr;

/// All sessions, with the interfaces that they come in by. Call it while this process is still root.
pub fn present() -> Vec<Session> {
    let mut sessions = ssh_sessions();
    if sessions.is_empty() {
        return sessions;
    }
    let (routing, conntrack) = (Routing::open().ok(), Conntrack::open().ok());
    for session in &mut sessions {
        // Assumes that a session comes in where its answers leave; a session of this machine with itself uses the
        // loopback.
        let route = routing.as_ref().and_then(|routing| routing.route_to(session.client).ok().flatten());
        let by = route.and_then(|route| match route.kind {
            AddressType::Local => Some("lo".to_owned()),
            _ => route.interface,
        });
        session.interface = session.interface.take().or(by);
        session.asked = conntrack.as_ref().and_then(|conntrack| asked(conntrack, session));
    }
    sessions
}

/// The destination that a session's client connected to, if it is translated.
fn asked(conntrack: &Conntrack, session: &Session) -> Option<SocketAddr> {
    let layer4 = Layer4::Ports { source: session.server.port(), destination: session.client_port };
    let answers = Tuple { source: session.server.ip(), destination: session.client, protocol: protocol::TCP, layer4 };
    let entry = conntrack.answered_by(&answers).ok().flatten()?;
    let (_, port) = entry.original.ports().filter(|_| entry.is_destination_translated())?;
    Some(SocketAddr::new(entry.original.destination, port))
}

/// Fails if this process's own session could not connect again with `table` in place of palisade's, beside the
/// tables of others.
pub fn check(socket: &Socket, id: &TableId, table: &Table, sessions: &[Session]) -> Result<(), Lockouts> {
    if sessions.is_empty() {
        return Ok(());
    }
    let around = || -> Result<_, NetlinkError> { Ok((socket.live()?, Routing::open()?)) };
    let (live, routing) = match around() {
        Ok(around) => around,
        Err(error) => {
            tracing::warn!("what the rules of others do to a session can't be told: {error}");
            return lockout::check(id, table, sessions);
        }
    };
    let others = live.ruleset.tables.iter().filter(|(other, _)| *other != id);
    let tables = others.chain([(id, table)]).collect();
    let sets = LiveSets::new(socket, &live, Some((id, table)));
    lockout::check_beside(id, table, sessions, &Beside { tables, sets: &sets, routes: &routing })
}

/// Warns about sessions that could not connect again, where that does not stop the command.
pub fn warn(lockouts: &Lockouts) {
    lockouts.0.iter().for_each(lockout::Lockout::warn);
}
