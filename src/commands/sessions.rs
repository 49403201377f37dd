//! The SSH sessions that a command which changes the rules must not cut.

use crate::facts::{Session, ssh_sessions};
use crate::guard::Lockouts;
use crate::netlink::route::{RouteKind, Routing};

/// All there are, with the interfaces that they come in by. To be asked while this process is still root.
pub(super) fn present() -> Vec<Session> {
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
    sessions
}

/// Says which of them could not connect again, where that is no reason to stop.
pub(super) fn warn(lockouts: &Lockouts) {
    lockouts.0.iter().for_each(|lockout| tracing::warn!("{} could not connect again", lockout.session));
}
