//! The classes of packets that no rule tells apart, each with one packet that stands for it.

use super::asked::Asked;
use super::evaluate::{Evaluator, OutcomeRegions};
use super::opened::Readings;
use super::region::{Region, Regions};
use super::value::{Test, WITH_PORTS, begins_alike, bounds};
use crate::compile::leads_to_containers;
use crate::net::{IfName, IfPattern, Version, octets, protocol};
use crate::ruleset::{Table, TableId};
use crate::simulate::{AsListed, Hidden, Packet, Translation, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appended to a prefix it makes a name that no interface has; alone it is a name that no rule names.
const NO_NAME: &str = "/";
/// The longest name of an interface.
const MAX_NAME: usize = IfName::MAX_LEN;
/// An address of this machine, until a rule tests for another.
const MACHINE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MACHINE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// An address of a container, which is hidden from the rules.
const CONTAINER_V4: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const CONTAINER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// Whether an address stands for the addresses of all containers.
pub(super) fn is_any_container(address: IpAddr) -> bool {
    [IpAddr::V4(CONTAINER_V4), IpAddr::V6(CONTAINER_V6)].contains(&address)
}

/// Interfaces that no rule tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceClass {
    /// The name of one of them, or one that stands for them all.
    pub example: String,
    /// Their names in rules, with a `*` after a prefix; empty for the interfaces that no rule names.
    pub names: Vec<String>,
    /// All probed names of this class; one that ends with `/` stands for all names with that prefix.
    pub(super) members: Vec<String>,
    /// Whether containers are behind them.
    pub containers: bool,
}

/// A way into this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The interfaces that packets come in by.
    pub(super) incoming: InterfaceClass,
    /// The interfaces of the containers that publish the port; `None` where this machine answers itself.
    pub(super) published: Option<InterfaceClass>,
}

/// What connections are opened to: ports or protocols that no rule tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Ports of a protocol that has them, first and last included.
    Ports {
        /// The IP protocol number: TCP, UDP or SCTP.
        protocol: u8,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// Echo requests.
    Ping,
    /// Another IP protocol.
    Protocol(u8),
    /// All IP protocols that have no ports and that no rule names; the number is one of them.
    OtherProtocols(u8),
}

impl Target {
    /// What a packet from `source` to one of these carries. `source_port` is for targets with ports.
    pub(super) fn transport(self, source: IpAddr, source_port: Option<u16>) -> Transport {
        match self {
            Self::Ports { protocol, first, .. } => {
                Transport::Ports { protocol, source: source_port, destination: first }
            }
            Self::Ping => Transport::echo_request(source),
            Self::Protocol(number) | Self::OtherProtocols(number) => Transport::Other(number),
        }
    }
}

/// All classes of packets.
pub(super) struct Space {
    pub(super) places: Vec<Place>,
    pub(super) targets: Vec<Target>,
    pairs: BTreeSet<(u16, u16)>,
}

impl Space {
    /// The classes that the tests in `asked` tell apart. The interfaces in `named` become members of these classes.
    pub(super) fn new<'n>(
        asked: &Asked<'_>,
        tables: &[&Table],
        named: impl IntoIterator<Item = &'n IfPattern>,
    ) -> Self {
        let incoming = interfaces(&asked.incoming, tables, named);
        let outgoing = interfaces(&asked.outgoing, tables, []).into_iter().filter(|class| class.containers);
        let outgoing: Vec<_> = outgoing.collect();
        let mut places = Vec::new();
        for published in std::iter::once(None).chain(outgoing.into_iter().map(Some)) {
            let place =
                |incoming: &InterfaceClass| Place { incoming: incoming.clone(), published: published.clone() };
            places.extend(incoming.iter().map(place));
        }
        Self { places, targets: targets(asked), pairs: asked.pairs.clone() }
    }

    /// The source ports to probe with: one for each class.
    pub(super) fn source_ports(&self, target: Target) -> Vec<Option<u16>> {
        let Target::Ports { first, last, .. } = target else { return vec![None] };
        let named: BTreeSet<u16> =
            self.pairs.iter().filter(|(_, port)| (first..=last).contains(port)).map(|(source, _)| *source).collect();
        if named.is_empty() {
            return vec![None];
        }
        let ordinary = (1024..=u16::MAX).rev().find(|port| !named.contains(port));
        ordinary.into_iter().chain(named).map(Some).collect()
    }
}

fn targets(asked: &Asked<'_>) -> Vec<Target> {
    let nothing = BTreeSet::new();
    let mut targets = Vec::new();
    for protocol in WITH_PORTS {
        let of = |protocol| asked.ports.get(&protocol).unwrap_or(&nothing).iter().copied();
        let cuts = of(None).chain(of(Some(protocol))).chain([1, 65_536]);
        let cuts: BTreeSet<u32> = cuts.filter(|cut| (1..=65_536).contains(cut)).collect();
        for (first, next) in cuts.iter().zip(cuts.iter().skip(1)) {
            if let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(next - 1)) {
                targets.push(Target::Ports { protocol, first, last });
            }
        }
    }
    targets.push(Target::Ping);
    let has_its_own =
        |number: &u8| !WITH_PORTS.contains(number) && ![protocol::ICMP, protocol::ICMPV6].contains(number);
    targets.extend(asked.protocols.iter().copied().filter(has_its_own).map(Target::Protocol));
    let other = (1..=u8::MAX).rev().filter(has_its_own).find(|number| !asked.protocols.contains(number));
    targets.extend(other.map(Target::OtherProtocols));
    targets
}

pub(super) fn interfaces<'n>(
    tests: &[Test<'_>],
    tables: &[&Table],
    named: impl IntoIterator<Item = &'n IfPattern>,
) -> Vec<InterfaceClass> {
    let name = |bytes: &[u8], begins: bool| {
        let name = IfName::text(bytes);
        if begins && name.len() < MAX_NAME { name + NO_NAME } else { name }
    };
    let mut candidates = BTreeSet::new();
    for test in tests {
        match test {
            Test::Begins(_, data) => {
                candidates.insert(name(data, data.len() < 16 && !data.contains(&0)));
            }
            // No rule compares names under a mask.
            Test::Within { .. } => {}
            Test::In(set) => {
                candidates.extend(
                    bounds(set)
                        .map(|(first, last)| name(first, begins_alike(first, last).is_some() && first != last)),
                );
            }
        }
    }
    let mut classes: BTreeMap<Vec<usize>, InterfaceClass> = BTreeMap::new();
    let mut order = Vec::new();
    let first = std::iter::once((NO_NAME.to_owned(), false));
    let asked = named.into_iter().map(|named| (example(named), false));
    for (candidate, by_rules) in first.chain(candidates.into_iter().map(|name| (name, true))).chain(asked) {
        if candidate == "lo" {
            continue;
        }
        let bytes = IfName::new(&candidate);
        let answers: Vec<usize> = tests.iter().map(|test| test.answer(bytes.bytes())).collect();
        let class = classes.entry(answers.clone()).or_insert_with(|| {
            order.push(answers);
            let containers = tables.iter().any(|table| leads_to_containers(table, &AsListed, &bytes) == Some(true));
            InterfaceClass { example: candidate.clone(), names: Vec::new(), members: Vec::new(), containers }
        });
        match candidate.strip_suffix(NO_NAME) {
            _ if !by_rules => {}
            Some(begin) => class.names.push(format!("{begin}*")),
            None => class.names.push(candidate.clone()),
        }
        class.members.push(candidate);
    }
    order.iter().filter_map(|answers| classes.remove(answers)).collect()
}

/// A name that stands for the interfaces that a pattern of a policy matches.
pub(super) fn example(named: &IfPattern) -> String {
    if named.wildcard && named.name.len() < MAX_NAME { named.name.clone() + NO_NAME } else { named.name.clone() }
}

impl InterfaceClass {
    /// A member of this class that a pattern of a policy matches.
    pub(super) fn one_of(&self, named: &IfPattern) -> Option<&str> {
        self.members.iter().map(String::as_str).find(|member| named.covers(member))
    }
}

impl Place {
    /// The packet that stands for all that come this way from `source` to `target`. `source_port` is for targets with
    /// ports.
    pub(super) fn packet(&self, source: IpAddr, machine: IpAddr, target: Target, source_port: Option<u16>) -> Packet {
        let transport = target.transport(source, source_port);
        let packet = match &self.published {
            None => Packet::to_machine(source, machine, transport),
            Some(outgoing) => {
                let address = if source.is_ipv4() { IpAddr::V4(CONTAINER_V4) } else { IpAddr::V6(CONTAINER_V6) };
                Packet::published(source, machine, transport, Translation { address, port: None })
                    .leaving_by(outgoing.example.as_str())
            }
        };
        packet.coming_in_by(self.incoming.example.as_str())
    }

    /// The same packet, translated to the target of a port forward, wherever that is.
    fn forwarded(&self, packet: &Packet, to: Translation) -> Packet {
        let (source, asked) = (packet.source, packet.destination);
        let forwarded = Packet::published(source, asked, packet.transport, to).leaving_by(NO_NAME);
        forwarded.coming_in_by(self.incoming.example.as_str())
    }
}

/// Tables, evaluated for packets of one version.
pub(super) struct Prober<'a> {
    pub(super) version: Version,
    pub(super) regions: Regions,
    tables: Vec<Line<'a>>,
    /// The targets of port forwards, in the order in which they were found.
    forwards: Vec<Translation>,
}

/// A table, evaluated for the packets that open a connection; `None` where nothing could deny one.
pub(super) struct Line<'a>([Option<Evaluator<'a>>; 3]);

/// A rule, by the packet that met it and its place in the table.
pub(super) type Met<'a> = (usize, (&'a str, usize));

/// A rule, by its table, the packet that met it, and its place there.
pub(super) type At<'a> = (usize, usize, (&'a str, usize));

impl<'a> Line<'a> {
    pub(super) fn new(id: &'a TableId, version: Version, readings: &'a Readings<'a>) -> Self {
        let evaluator = |(table, reading): &'a (&'a Table, _)| Evaluator::new(id, table, reading, version);
        Self([
            Some(evaluator(&readings.first)),
            readings.answer.as_ref().map(|of| evaluator(of).counting_containers(readings.containers_count)),
            readings.third.as_ref().map(evaluator),
        ])
    }

    /// The packet as the table's own port forwards translate it, if they do.
    fn forwarded(&self, packet: &Packet) -> Option<Translation> {
        self.0.iter().flatten().next()?.forwarded(packet)
    }

    /// The outcomes of a connection for all sources, and the rules that test the address that is asked for.
    pub(super) fn outcomes(
        &mut self,
        regions: &mut Regions,
        place: usize,
        packet: &Packet,
        hidden: Hidden,
    ) -> (OutcomeRegions<'a>, Vec<Met<'a>>) {
        let (mut outcomes, mut rules) =
            (OutcomeRegions { allow: Region::ALL, ..OutcomeRegions::default() }, Vec::new());
        let packets = [Some(packet.clone()), packet.answer(), packet.third()];
        for (number, (evaluator, packet)) in self.0.iter_mut().zip(packets).enumerate() {
            let Some((evaluator, packet)) = evaluator.as_mut().zip(packet) else { continue };
            if outcomes.allow == Region::NONE {
                break;
            }
            let next = evaluator.outcomes(regions, place, &packet, hidden);
            rules.extend(next.destinations.iter().map(|rule| (number, *rule)));
            outcomes.then(regions, &next, number > 0);
        }
        (outcomes, rules)
    }

    /// The tests of the address that is asked for in a rule that the packet of that number met.
    pub(super) fn destination_tests(&self, number: usize, at: (&'a str, usize)) -> &'a [Test<'a>] {
        let rule = self.0.get(number).and_then(Option::as_ref).and_then(|evaluator| evaluator.rule(at));
        rule.map_or(&[], |rule| rule.destinations.as_slice())
    }
}

impl<'a> Prober<'a> {
    pub(super) fn new(id: &'a TableId, version: Version, tables: impl IntoIterator<Item = &'a Readings<'a>>) -> Self {
        let tables = tables.into_iter().map(|readings| Line::new(id, version, readings)).collect();
        Self { version, regions: Regions::new(version.last_address()), tables, forwards: Vec::new() }
    }

    /// The outcomes of all packets to a target by one place. For each class of source ports and of this machine's
    /// addresses: a packet that stands for the class, before any table forwards it, and its outcomes in each table.
    pub(super) fn outcomes(
        &mut self,
        space: &Space,
        place: usize,
        target: Target,
    ) -> Vec<(Packet, Vec<OutcomeRegions<'a>>)> {
        let Some(way) = space.places.get(place) else { return Vec::new() };
        // Containers publish only ports, not other protocols.
        if way.published.is_some() && !matches!(target, Target::Ports { .. }) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for source_port in space.source_ports(target) {
            let mut rules = BTreeSet::new();
            let mut waiting = vec![machine(self.version)];
            let mut asked: BTreeSet<IpAddr> = BTreeSet::new();
            let mut classes: Vec<(IpAddr, Vec<OutcomeRegions<'a>>)> = Vec::new();
            while let Some(address) = waiting.pop() {
                if !asked.insert(address) {
                    continue;
                }
                let tests = self.destination_tests(&rules);
                let answers =
                    |address| -> Vec<usize> { tests.iter().map(|test| test.answer(&octets(address))).collect() };
                let here = answers(address);
                if classes.iter().any(|(other, _)| answers(*other) == here) && asked.len() > 1 {
                    continue;
                }
                let packet = way.packet(unspecified(self.version), address, target, source_port);
                // The machine that answers is another one.
                if self.tables.iter().any(|line| line.forwarded(&packet).is_some_and(|to| to.address == address)) {
                    continue;
                }
                let known = rules.len();
                let mut by_table = Vec::new();
                for table in 0..self.tables.len() {
                    let Some((outcomes, met)) = self.outcomes_in(table, space, way, place, &packet) else { continue };
                    rules.extend(met.into_iter().map(|(number, rule)| (table, number, rule)));
                    by_table.push(outcomes);
                }
                if rules.len() > known {
                    // A new rule may split what was one class.
                    asked.retain(|address| classes.iter().any(|(other, _)| other == address));
                    let cuts = self.destination_tests(&rules).into_iter().flat_map(|test| test.cuts(self.version));
                    let cuts = cuts.chain(behind_unreachable(self.version));
                    waiting.extend(cuts.filter_map(|cut| self.version.address(cut)).filter(is_reachable));
                }
                asked.insert(address);
                classes.push((address, by_table));
            }
            let packet = |address| way.packet(unspecified(self.version), address, target, source_port);
            all.extend(classes.into_iter().map(|(address, by_table)| (packet(address), by_table)));
        }
        all
    }

    /// The packet as the table with that index forwards it, or as it is.
    pub(super) fn as_forwarded(&self, table: usize, way: &Place, packet: &Packet) -> Packet {
        let to = self.tables.get(table).and_then(|line| line.forwarded(packet));
        to.map_or_else(|| packet.clone(), |to| way.forwarded(packet, to))
    }

    /// Where the tables forward a packet, the last one first.
    pub(super) fn forwarded(&self, packet: &Packet) -> Option<Translation> {
        self.tables.iter().rev().find_map(|line| line.forwarded(packet))
    }

    /// The outcomes of a connection in one table, for all sources: of the packet as it is, or as the table forwards it.
    fn outcomes_in(
        &mut self,
        table: usize,
        space: &Space,
        way: &Place,
        place: usize,
        packet: &Packet,
    ) -> Option<(OutcomeRegions<'a>, Vec<Met<'a>>)> {
        let Self { regions, tables, forwards, .. } = self;
        let line = tables.get_mut(table)?;
        let Some(to) = line.forwarded(packet) else {
            return Some(line.outcomes(regions, place, packet, Hidden::ClientAndTranslation));
        };
        let known = forwards.iter().position(|known| *known == to);
        let number = known.unwrap_or_else(|| {
            forwards.push(to);
            forwards.len() - 1
        });
        // Numbered as another place, since rules see another packet.
        let place = place + (number + 1) * space.places.len();
        Some(line.outcomes(regions, place, &way.forwarded(packet, to), Hidden::Client))
    }

    fn destination_tests(&self, rules: &BTreeSet<At<'a>>) -> Vec<Test<'a>> {
        let tests = |(table, number, at): &At<'a>| Some(self.tables.get(*table)?.destination_tests(*number, *at));
        rules.iter().filter_map(tests).flatten().copied().collect()
    }
}

/// An address of this machine that no policy is expected to name.
pub(super) const fn machine(version: Version) -> IpAddr {
    match version {
        Version::V4 => IpAddr::V4(MACHINE_V4),
        Version::V6 => IpAddr::V6(MACHINE_V6),
    }
}

/// Stands in for the hidden source.
fn unspecified(version: Version) -> IpAddr {
    match version {
        Version::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Version::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The first address after each range that no packet from elsewhere can be sent to. A class that begins within such a
/// range may go on after it.
pub(super) fn behind_unreachable(version: Version) -> Vec<u128> {
    match version {
        Version::V4 => vec![1, 0x8000_0000],
        Version::V6 => vec![2],
    }
}

/// Whether packets from elsewhere can be sent to this address.
pub(super) fn is_reachable(address: &IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}
