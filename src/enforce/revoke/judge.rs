//! Whether the rules accept a connection's first packet, now and before.

use crate::netlink::NetlinkError;
use crate::netlink::conntrack::{Entry, Layer4, Tuple};
use crate::netlink::routing::{Route, Routing};
use crate::ruleset::{AddressType, Table, TableId};
use crate::simulate::{Packet, Path, Translation, Transport, Verdict, simulate_table};
use std::collections::HashMap;
use std::net::IpAddr;

/// The effect of the new rules on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It continues.
    Kept,
    /// It lost its access.
    Lost {
        /// Whether this machine began it. Then its next packet from here is judged as a new connection and denied,
        /// without being remembered.
        began_here: bool,
    },
}

/// Compares two tables' verdicts on the first packet of a connection.
pub(super) struct Judge<'a> {
    id: &'a TableId,
    before: Option<&'a Table>,
    now: &'a Table,
    routing: Routing,
    /// Routes to addresses; each is looked up once.
    routes: HashMap<IpAddr, Option<Route>>,
    /// Results for connections that differ only in the source port; `None` if the source port matters.
    known: HashMap<(Tuple, Option<Translation>), Option<Judgement>>,
    /// The error for connections that could not be judged.
    pub(super) unroutable: Option<NetlinkError>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(id: &'a TableId, before: Option<&'a Table>, now: &'a Table) -> Result<Self, NetlinkError> {
        let routing = Routing::open()?;
        Ok(Self { id, before, now, routing, routes: HashMap::new(), known: HashMap::new(), unroutable: None })
    }

    /// Judges a connection that began as conntrack recorded it.
    pub(super) fn of_entry(&mut self, entry: &Entry) -> Judgement {
        let translated = entry.is_destination_translated().then(|| Translation {
            address: entry.reply.source,
            port: entry.reply.ports().map(|(source, _)| source),
        });
        self.of(&entry.original, translated)
    }

    /// Judges an untranslated connection whose first packet had that tuple.
    pub(super) fn of_tuple(&mut self, original: &Tuple) -> Judgement {
        self.of(original, None)
    }

    fn of(&mut self, original: &Tuple, translated: Option<Translation>) -> Judgement {
        let key = (from_any_port(original), translated);
        if let Some(Some(known)) = self.known.get(&key) {
            return *known;
        }
        let packet = match self.first_packet(original, translated) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Judgement::Kept,
            Err(error) => {
                self.unroutable = Some(error);
                return Judgement::Kept;
            }
        };
        let judgement = |lost| {
            if lost { Judgement::Lost { began_here: packet.path == Path::FromMachine } } else { Judgement::Kept }
        };
        if !self.known.contains_key(&key) {
            let any_port = Packet { transport: transport(original, None), ..packet.clone() };
            let known = self.loses_in_any_case(&any_port).map(judgement);
            self.known.insert(key, known);
            if let Some(known) = known {
                return known;
            }
        }
        let is_denied = |table| simulate_table(self.id, table, &packet).outcomes.never_pass();
        judgement(is_denied(self.now) && !self.before.is_some_and(is_denied))
    }

    /// Whether `now` denies an incompletely known packet and `before` does not; `None` if the unknown part decides.
    fn loses_in_any_case(&self, packet: &Packet) -> Option<bool> {
        let is_denied = |table| match simulate_table(self.id, table, packet) {
            trace if trace.outcomes.never_pass() => Some(true),
            trace if trace.verdict == Verdict::Allow => Some(false),
            _ => None,
        };
        match self.before {
            Some(before) if is_denied(self.now)? => is_denied(before).map(|denied| !denied),
            _ => is_denied(self.now),
        }
    }

    fn route_to(&mut self, address: IpAddr) -> Result<Option<Route>, NetlinkError> {
        if let Some(known) = self.routes.get(&address) {
            return Ok(known.clone());
        }
        let route = self.routing.route_to(address)?;
        self.routes.insert(address, route.clone());
        Ok(route)
    }

    /// The first packet of the connection if it began today. conntrack does not record the incoming interface, so it
    /// is taken to be the one that answers leave by. `None` for traffic of this machine with itself, and for packets
    /// neither to this machine nor to one other machine.
    fn first_packet(
        &mut self,
        original: &Tuple,
        translated: Option<Translation>,
    ) -> Result<Option<Packet>, NetlinkError> {
        let Tuple { source, destination, .. } = *original;
        // Packets are routed to the address that answers.
        let answers = translated.map_or(destination, |to| to.address);
        let (Some(back), Some(there)) = (self.route_to(source)?, self.route_to(answers)?) else { return Ok(None) };
        let from_port = original.ports().map(|(source, _)| source);
        let transport = transport(original, from_port);
        let packet = match (back.kind, there.kind) {
            (AddressType::Local, AddressType::Unicast) => Packet::from_machine(source, destination, transport),
            (AddressType::Unicast, AddressType::Local) => Packet::to_machine(source, destination, transport),
            (AddressType::Unicast, AddressType::Unicast) => Packet::through(source, destination, transport),
            _ => return Ok(None),
        };
        let packet = match (back.kind, back.interface) {
            (AddressType::Unicast, Some(interface)) => packet.coming_in_by(interface),
            _ => packet,
        };
        let packet = match (there.kind, there.interface) {
            (AddressType::Unicast, Some(interface)) => packet.leaving_by(interface),
            _ => packet,
        };
        Ok(Some(Packet { translated, ..packet }))
    }
}

fn transport(tuple: &Tuple, source: Option<u16>) -> Transport {
    match tuple.layer4 {
        Layer4::Ports { destination, .. } => Transport::Ports { protocol: tuple.protocol, source, destination },
        Layer4::Icmp { kind, code, .. } => Transport::Icmp { kind, code },
        Layer4::None => Transport::Other(tuple.protocol),
    }
}

fn from_any_port(tuple: &Tuple) -> Tuple {
    let layer4 = match tuple.layer4 {
        Layer4::Ports { destination, .. } => Layer4::Ports { source: 0, destination },
        Layer4::Icmp { kind, code, .. } => Layer4::Icmp { kind, code, id: 0 },
        Layer4::None => Layer4::None,
    };
    Tuple { layer4, ..*tuple }
}
