//! Whether the rules accept a connection's first packet, now and before.

use crate::access::without_translations;
use crate::netlink::NetlinkError;
use crate::netlink::conntrack::{Entry, Layer4, Tuple};
use crate::netlink::routing::{Route, Routing};
use crate::ruleset::{AddressType, Table, TableId};
use crate::simulate::{
    Asked, Doubt, Packet, Path, Routes, Trace, Translation, Transport, Verdict, Way, simulate_table,
    simulate_table_with,
};
use std::borrow::Cow;
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
    /// Neither table translates: it is known where each connection is translated to.
    before: Option<Cow<'a, Table>>,
    now: Cow<'a, Table>,
    routing: Routing,
    /// Routes to addresses; each is looked up once.
    routes: HashMap<IpAddr, Option<Route>>,
    /// The users of this machine whose connections these are. Of others it is not known.
    users: HashMap<Tuple, u32>,
    /// Results for connections that differ only in the source port; `None` if the source port matters.
    known: HashMap<(Tuple, Option<Translation>, Option<u32>), Option<Judgement>>,
    /// The error for connections that could not be judged.
    pub(super) unroutable: Option<NetlinkError>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        id: &'a TableId,
        before: Option<&'a Table>,
        now: &'a Table,
        users: HashMap<Tuple, u32>,
    ) -> Result<Self, NetlinkError> {
        let routing = Routing::open()?;
        let (before, now) = (before.map(without_translations), without_translations(now));
        Ok(Self { id, before, now, routing, routes: HashMap::new(), users, known: HashMap::new(), unroutable: None })
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
        let user = self.users.get(original).copied();
        let key = (from_any_port(original), translated, user);
        if let Some(Some(known)) = self.known.get(&key) {
            return *known;
        }
        let packet = match self.first_packet(original, translated) {
            Ok(Some(packet)) => Packet { user: user.filter(|_| packet.path == Path::FromMachine), ..packet },
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
        let is_denied = |table: &Table| self.simulated(table, &packet).outcomes.never_pass();
        judgement(is_denied(&self.now) && !self.before.as_deref().is_some_and(is_denied))
    }

    /// Whether `now` denies an incompletely known packet and `before` does not; `None` if the unknown part decides.
    fn loses_in_any_case(&self, packet: &Packet) -> Option<bool> {
        let is_denied = |table: &Table| match self.simulated(table, packet) {
            trace if trace.outcomes.never_pass() => Some(true),
            trace if trace.verdict == Verdict::Allow => Some(false),
            _ => None,
        };
        match self.before.as_deref() {
            Some(before) if is_denied(&self.now)? => is_denied(before).map(|denied| !denied),
            _ => is_denied(&self.now),
        }
    }

    /// What a table does with a first packet. One that was translated may have been sent to an address that is not this
    /// machine's, such as a service's of a cluster.
    fn simulated<'t>(&self, table: &'t Table, packet: &Packet) -> Trace<'t>
    where
        'a: 't,
    {
        match packet.translated {
            Some(_) => simulate_table_with(self.id, table, &LookedUp(&self.routes), packet),
            None => simulate_table(self.id, table, packet),
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
        // Rules ask whether a connection that was translated had been sent to this machine.
        self.route_to(destination)?;
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

/// The routes that a judge has looked up.
struct LookedUp<'r>(&'r HashMap<IpAddr, Option<Route>>);

impl LookedUp<'_> {
    fn route(&self, address: IpAddr) -> Result<Option<&Route>, Doubt> {
        let known = self.0.get(&address).map(Option::as_ref);
        known.ok_or_else(|| format!("the route to {address} is not known").into())
    }
}

impl Routes for LookedUp<'_> {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        Ok(match self.route(asked.destination)? {
            Some(Route { kind: AddressType::Unicast, interface: Some(name) }) => Way::Out(name.clone()),
            Some(Route { kind: AddressType::Local, .. }) => Way::Local,
            _ => Way::Lost("no route leads there".into()),
        })
    }

    /// What nothing leads to is no address of this machine.
    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        Ok(self.route(address)?.map_or(AddressType::Unicast, |route| route.kind))
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        Err(format!("the index of {interface} is not known").into())
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
