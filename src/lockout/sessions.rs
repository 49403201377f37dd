//! The SSH sessions that a command must not cut when it changes the rules.

use crate::access::access_changes;
use crate::lockout::{Beside, Candidate, Lockout, Lockouts, outer};
use crate::machine::{Machine, Session, distinct, ssh_sessions};
use crate::net::protocol;
use crate::netlink::conntrack::{Conntrack, Layer4, Tuple};
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, NetlinkError, Socket};
use crate::resolve::Resolved;
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
    // Two sessions from one address may have come by two ports.
    distinct(sessions)
}

/// The destination that a session's client connected to, if it is translated.
fn asked(conntrack: &Conntrack, session: &Session) -> Option<SocketAddr> {
    let layer4 = Layer4::Ports { source: session.server.port(), destination: session.client_port };
    let answers = Tuple { source: session.server.ip(), destination: session.client, protocol: protocol::TCP, layer4 };
    let entry = conntrack.answered_by(&answers).ok().flatten()?;
    let (_, port) = entry.original.ports().filter(|_| entry.is_destination_translated())?;
    Some(SocketAddr::new(entry.original.destination, port))
}

/// The policy that a table is compiled from, and what is to become of it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The policy.
    pub policy: &'a Resolved,
    /// This machine.
    pub machine: &'a Machine,
    /// Whether it is undone unless somebody logs in anew and confirms it.
    pub is_confirmed: bool,
}

/// Fails if this process's own session could not connect again with `table` in place of palisade's, beside the
/// tables of others. With the policy that it is compiled from, names the changes that let the session in, and warns of
/// what a session depends on beside its own connection.
pub fn check(
    socket: &Socket,
    (id, table): (&TableId, &Table),
    change: Option<Change<'_>>,
    sessions: &[Session],
) -> Result<(), Lockouts> {
    if sessions.is_empty() {
        return Ok(());
    }
    let policy = change.map(|change| change.policy);
    let around = || -> Result<_, NetlinkError> { Ok((socket.live()?, Routing::open()?)) };
    let (live, routing) = match around() {
        Ok(around) => around,
        Err(error) => {
            tracing::warn!("what the rules of others do to a session can't be told: {error}");
            return Candidate { id, table, policy, beside: None }.check(sessions);
        }
    };
    if let Some(change) = change {
        warn_of_others(id, [live.ruleset.tables.get(id), Some(table)], change, sessions);
    }
    let others = live.ruleset.tables.iter().filter(|(other, _)| *other != id);
    let tables = others.chain([(id, table)]).collect();
    let sets = LiveSets::new(socket, &live, Some((id, table)));
    let beside = Beside { tables, sets: &sets, routes: &routing };
    Candidate { id, table, policy, beside: Some(&beside) }.check(sessions)
}

/// Warns of what the own sessions depend on beside their connections.
fn warn_of_others(id: &TableId, tables: [Option<&Table>; 2], change: Change<'_>, sessions: &[Session]) {
    let Change { policy, machine, is_confirmed } = change;
    let [before, Some(after)] = tables else { return };
    let own = || sessions.iter().filter(|session| session.own);
    if is_confirmed || own().next().is_none() {
        return;
    }
    let directory = outer::of_directory(id, before, policy, after);
    let by_tunnel = own().any(|session| outer::tunnel(session, machine).is_some());
    let changes = if by_tunnel { access_changes(id, before, Some(after)) } else { Vec::new() };
    let tunnels = own().filter_map(|session| outer::of_tunnel(session, machine, &changes));
    directory.into_iter().chain(tunnels).for_each(|warning| tracing::warn!("{warning}"));
}

/// Warns about sessions that could not connect again, where that does not stop the command.
pub fn warn(lockouts: &Lockouts) {
    lockouts.0.iter().for_each(Lockout::warn);
}
