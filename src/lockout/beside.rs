//! How other programs' tables treat a session's next connection.
//!
//! A packet passes several tables, of which palisade's is one, and a drop in any of them is final: a policy that
//! admits the operator does not help if ufw drops them. The whole path of the connection and of its answer is
//! therefore followed, as `explain` does.
//!
//! A drop by another program refuses the change only for the session that the command is run from, which is the
//! operator's; `--force` overrides it. For other sessions it is a warning: fail2ban drops clients that it has banned
//! while their connections live, and no stranger may hold up a change. It is a warning, too, on a reload by systemd,
//! where no session is the own one. Boot and the undoing of an unconfirmed change ask about no session.

use crate::explain::{by, owner};
use crate::machine::Session;
use crate::net::protocol;
use crate::render::table_command;
use crate::ruleset::{Table, TableId};
use crate::simulate::{
    Connection, Doubt, Packet, Routes, Sets, Transport, Traversal, Verdict, Way, follow_connection,
};
use std::fmt;
use std::net::SocketAddr;

/// All tables as they will be, including palisade's, with their sets and the routing.
pub struct Beside<'a> {
    /// The tables.
    pub tables: Vec<(&'a TableId, &'a Table)>,
    /// Their sets.
    pub sets: &'a dyn Sets,
    /// The routing.
    pub routes: &'a dyn Routes,
}

impl fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tables.iter().map(|(id, _)| id)).finish()
    }
}

/// A drop that no line of the policy prevents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The rule that drops: `dropped by ufw's chain ...`.
    pub by: String,
    /// The remedy.
    pub remedy: String,
}

impl<'a> Beside<'a> {
    /// The same tables, with another one in the place of this.
    pub(super) fn with(&self, id: &'a TableId, table: &'a Table) -> Beside<'a> {
        let others = self.tables.iter().filter(|(other, _)| *other != id).copied();
        Beside { tables: others.chain([(id, table)]).collect(), sets: self.sets, routes: self.routes }
    }

    /// The drop that would hit a session's next connection or its answer; `None` if there is none, or if it can't be
    /// told.
    pub(super) fn drops(&self, session: &Session) -> Option<Dropped> {
        let name = session.interface.as_ref().filter(|name| *name != "lo")?;
        let asked = session.asked_for();
        let transport = Transport::Ports {
            protocol: protocol::TCP,
            source: Some(session.client_port),
            destination: asked.port(),
        };
        let packet = Packet::to_machine(session.client, asked.ip(), transport).coming_in_by(name.clone());
        let connection = self.follow(&packet);
        let (stage, decisive) = connection.decisive();
        if let Some(elsewhere) = arrives_elsewhere(&connection.first, session) {
            return Some(elsewhere);
        }
        let dropped = self.dropped(decisive, session)?;
        Some(match stage.words() {
            None => dropped,
            Some(words) => Dropped { by: format!("{words} is {}", dropped.by), ..dropped },
        })
    }

    /// Why it can't be told whether there is a drop.
    pub(super) fn doubt(&self, session: &Session) -> Option<Doubt> {
        let name = session.interface.as_ref().filter(|name| *name != "lo")?;
        let asked = session.asked_for();
        let packet = Packet::to_machine(session.client, asked.ip(), Transport::tcp(asked.port()));
        let traversal = self.follow(&packet.coming_in_by(name.clone()));
        traversal.doubt().or(traversal.fades()).cloned()
    }

    fn follow(&self, packet: &Packet) -> Connection<'_> {
        follow_connection(self.tables.iter().copied(), self.sets, self.routes, packet)
    }

    fn dropped(&self, traversal: &Traversal<'_>, session: &Session) -> Option<Dropped> {
        // If the routing loses the packet, no rule is to blame.
        let lost = traversal.astray().is_some() || matches!(traversal.end(), Some(Way::Lost(_) | Way::Refused(_)));
        let step = traversal.trace.denied_by().filter(|_| !lost)?;
        if *step.table == TableId::palisade() {
            // Alone it lets the session in: others change the packet, or leave it untracked.
            let by = format!("{}, as the rules of others hand it over", super::sentence(step));
            return Some(Dropped { by, remedy: "`palisade explain` shows what they do".to_owned() });
        }
        let table = self.tables.iter().find(|(id, _)| *id == step.table).map(|(_, table)| *table);
        let port = session.asked_for().port();
        let remedy = match owner(step, table) {
            Some("ufw") => format!(
                "`ufw disable` switches it off, which palisade takes the place of; `ufw allow {port}/tcp` lets the session in"
            ),
            Some("firewalld") => {
                "`systemctl disable --now firewalld` switches it off, which palisade takes the place of".to_owned()
            }
            Some("fail2ban") => format!("`fail2ban-client unban {}` lets the session in", session.client),
            _ => format!("{} shows all of it", table_command("list", step.table)),
        };
        Some(Dropped { by: by(step, traversal.trace.verdict, table), remedy })
    }
}

/// Where the first packet arrives, if that is not the session's server.
fn arrives_elsewhere(first: &Traversal<'_>, session: &Session) -> Option<Dropped> {
    let (Verdict::Allow, Some(end)) = (first.trace.verdict, first.end()) else { return None };
    let asked = session.asked_for();
    let to = first.translated.map_or(asked, |to| SocketAddr::new(to.address, to.port.unwrap_or(asked.port())));
    let here = *end == Way::Local && to.port() == session.server.port();
    (!here).then(|| {
        let by = format!("nobody: it is sent to {to}, and not to the SSH server at {}", session.server);
        Dropped { by, remedy: "`palisade explain` shows which rule sends it there, or no longer here".to_owned() }
    })
}
