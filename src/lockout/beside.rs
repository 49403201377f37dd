//! How other programs' tables treat a session's next connection.
//!
//! A packet passes several tables, of which palisade's is one, and a drop in any of them is final: a policy that
//! admits the operator does not help if ufw drops them. The whole path of the connection and of its answer is
//! therefore followed, as `explain` does.
//!
//! A drop by another program refuses the change only for the session that the command is run from, which is the
//! operator's; `--force` overrides it. For other sessions it is a warning: fail2ban drops clients that it has banned
//! while their connections live, and no stranger may hold up a change. It is a warning, too, where nobody reads a
//! refusal: at boot, on a reload by systemd, and when an unconfirmed change is undone.

use crate::explain::{by, owner};
use crate::machine::Session;
use crate::net::protocol;
use crate::render::table_command;
use crate::ruleset::{Table, TableId};
use crate::simulate::{Connection, Doubt, Packet, Routes, Sets, Stage, Transport, Traversal, Way, follow_connection};
use std::fmt;

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
pub(super) struct Dropped {
    /// The rule that drops: `dropped by ufw's chain ...`.
    pub by: String,
    /// The remedy.
    pub remedy: String,
}

impl Beside<'_> {
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
        let dropped = self.dropped(decisive, session)?;
        Some(match stage {
            Stage::First => dropped,
            Stage::Answer => Dropped { by: format!("the answer to it is {}", dropped.by), ..dropped },
            Stage::Fourth => Dropped { by: format!("the data that comes back is {}", dropped.by), ..dropped },
            Stage::Third => Dropped { by: format!("what follows the answer is {}", dropped.by), ..dropped },
        })
    }

    /// Why it can't be told whether there is a drop.
    pub(super) fn doubt(&self, session: &Session) -> Option<Doubt> {
        let name = session.interface.as_ref().filter(|name| *name != "lo")?;
        let asked = session.asked_for();
        let packet = Packet::to_machine(session.client, asked.ip(), Transport::tcp(asked.port()));
        let traversal = self.follow(&packet.coming_in_by(name.clone()));
        traversal.doubt().or(traversal.first.fades.as_ref()).cloned()
    }

    fn follow(&self, packet: &Packet) -> Connection<'_> {
        follow_connection(self.tables.iter().copied(), self.sets, self.routes, packet)
    }

    fn dropped(&self, traversal: &Traversal<'_>, session: &Session) -> Option<Dropped> {
        // If the routing loses the packet, no rule is to blame.
        let lost = traversal.astray().is_some() || matches!(traversal.end(), Some(Way::Lost(_) | Way::Refused(_)));
        let step = traversal.trace.denied_by().filter(|step| !lost && *step.table != TableId::palisade())?;
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
