//! `palisade apply`

use super::{Desired, Report};
use crate::changes::changes;
use crate::delta::delta;
use crate::enforce::{Enforced, enforce};
use crate::error::Error;
use crate::facts::ssh_sessions;
use crate::guard::{Lockouts, check};
use crate::loaded;
use crate::netlink::Socket;
use crate::netlink::route::{RouteKind, Routing};
use crate::privileges::keep_net_admin_alone;
use crate::render;
use crate::revoke::revoke;
use serde_json::json;
use std::path::Path;
use std::time::SystemTime;

pub(super) fn run(path: &Path, dry_run: bool, force: bool) -> Result<Report, Error> {
    let mut desired = Desired::load(path)?;
    match keep_sessions(&desired) {
        Err(Lockouts(all)) if dry_run || force => {
            all.iter().for_each(|lockout| tracing::warn!("{} could not connect again", lockout.session));
        }
        kept => kept?,
    }
    keep_net_admin_alone("apply")?;
    let socket = Socket::open()?;
    desired.table.comment = desired.table.comment.map(|comment| loaded::stamp(&comment, SystemTime::now()));
    if dry_run {
        return plan(&socket, &desired);
    }
    let enforced = enforce(&socket, &desired.id, Some(&desired.table))?;
    let ended = end_connections(&socket, &desired, &enforced);
    let text = match enforced.operations {
        0 => "nothing to do: the kernel already holds this policy\n".to_owned(),
        1 => "applied: 1 operation, verified\n".to_owned(),
        operations => format!("applied: {operations} operations, verified\n"),
    };
    let text = match ended {
        0 => text,
        1 => text + "ended 1 connection that lost its access\n",
        ended => format!("{text}ended {ended} connections that lost their access\n"),
    };
    let json = json!({
        "applied": true,
        "operations": enforced.operations,
        "attempts": enforced.attempts,
        "connections_ended": ended,
        "in_sync": true,
    });
    Ok(Report::ok(text, json))
}

/// Refuses a policy under which an SSH session could not connect again.
fn keep_sessions(desired: &Desired) -> Result<(), Lockouts> {
    let mut sessions = ssh_sessions();
    let routing = if sessions.is_empty() { None } else { Routing::open().ok() };
    for session in &mut sessions {
        // A session comes in where answers to it go out; one of this machine with itself never leaves it.
        let route = routing.as_ref().and_then(|routing| routing.route_to(session.client).ok().flatten());
        let by = route.and_then(|route| match route.kind {
            RouteKind::Local => Some("lo".to_owned()),
            _ => route.interface,
        });
        session.interface = session.interface.take().or(by);
    }
    check(&desired.id, &desired.table, &sessions)
}

/// Ends what the new rules deny and the old ones let in. The rules are in force whatever comes of it.
fn end_connections(socket: &Socket, desired: &Desired, enforced: &Enforced) -> usize {
    if enforced.operations == 0 {
        return 0;
    }
    revoke(socket, &desired.id, enforced.before.as_ref(), &desired.table).unwrap_or_else(|error| {
        tracing::warn!("connections whose access was taken away may go on until they end: {error}");
        0
    })
}

fn plan(socket: &Socket, desired: &Desired) -> Result<Report, Error> {
    let live = socket.snapshot(&desired.id)?.table;
    let transaction = delta(&desired.id, live.as_ref(), Some(&desired.table));
    let text = match transaction.ops.is_empty() {
        true => "# nothing to do: the kernel already holds this policy\n".to_owned(),
        false => render::transaction(&transaction),
    };
    let changes = changes(&desired.id, live.as_ref(), Some(&desired.table));
    let commands = render::commands(&transaction);
    let json = json!({ "applied": false, "in_sync": changes.is_empty(), "changes": changes, "commands": commands });
    Ok(Report::ok(text, json))
}
