//! What listens on a machine, beside the lines of its policy.

use super::{Edge, Frame, Id, Kind, Node, Picture, Way};
use crate::exposure::{Listings, Row, Told};
use crate::net::Transport;
use crate::resolve::{Action, Resolved, Service};

impl Picture {
    /// Adds what others can reach, if anything listens: edges lead to it from the services that are about its port. Of what
    /// nothing leads to, no service is the reason that anybody reaches it.
    #[must_use]
    pub fn with_listeners(mut self, policy: Option<&Resolved>, rows: &[Row], listings: &Listings) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        for row in rows.iter().filter(|row| !row.is_for_this_machine()) {
            let Told { port, owner, who } = Told::new(row, listings);
            let id = Id { kind: Kind::Listener, name: format!("{port} {owner} {}", nodes.len()) };
            let services = policy.into_iter().flat_map(|policy| &policy.services);
            for (name, _) in services.filter(|(_, service)| service.action == Action::Allow && is_about(service, row))
            {
                let from = Id { kind: Kind::Service, name: name.clone() };
                self.edges.push(Edge { from, to: id.clone(), way: Way::Allowed });
            }
            nodes.push(Node { id, lines: vec![port, owner, format!("reached by {who}")], denies: false });
        }
        if !nodes.is_empty() {
            self.frames.insert(0, Frame { kind: Kind::Listener, nodes });
        }
        self
    }
}

fn is_about(service: &Service, row: &Row) -> bool {
    let transport = Transport::from_number(row.protocol);
    let mut ports = service.ports.iter();
    service.all
        || service.protocols.contains(&row.protocol)
        || ports.any(|ports| Some(ports.transport) == transport && ports.first <= row.last && row.port <= ports.last)
}
