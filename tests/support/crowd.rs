//! Packets of all kinds, near the edges of what a policy speaks of: who sends them, what went before, and how the
//! simulator is asked about them.
#![allow(dead_code)]

mod addresses;

use super::dice::Dice;
use super::frames::{ACK, Body, FIN, PSH, SYN, Written as Bytes};
use super::lab::{HOST, HOST_ON_LAN, LAN, LOOPBACK};
use super::policies::Written;
use super::tap::USERS;
use super::wire::{Fate, Side};
use addresses::{NEIGHBOURS, around, ends, inside, is_real, limited_as, may_send};
use palisade::net::{IfPattern, Ports, Version, protocol};
use palisade::resolve::{Resolved, Service};
use palisade::simulate::{Packet, Path, State, Translation, Transport, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Ports of the host that are translated to ports of the machine on the local network, as engines publish them.
pub const PUBLISHED: [(u16, u16); 3] = [(24, 23), (8080, 80), (60_700, 22)];
/// Addresses that policies speak of, and others.
const SOURCES: [&str; 16] = [
    "10.0.0.1",
    "10.0.0.3",
    "10.0.0.9",
    "10.0.0.17",
    "203.0.113.9",
    "203.0.113.66",
    "192.168.1.5",
    "128.0.0.1",
    "223.255.255.1",
    "2001:db8::2",
    "2001:db8::3",
    "2001:db8::11",
    "2001:db8::9",
    "8000::1",
    "fd00::5",
    "fc00::1",
];
/// Ports at the edges of those that generated policies open, and of what every policy lets in.
const PORTS: [u16; 22] =
    [1, 2, 19, 20, 22, 23, 25, 26, 30, 53, 67, 68, 80, 443, 546, 547, 60_000, 60_500, 61_001, 65_534, 65_535, 4242];
/// From and to which port DHCP goes.
const DHCP: [(u16, u16); 6] = [(67, 68), (68, 67), (547, 546), (546, 547), (53, 53), (67, 67)];
/// Where numbers of senders begin.
const SENDERS: u16 = 10_000;
/// The numbers at which both ends of a TCP connection begin, and how long each payload is.
const HERE: u32 = 1_000;
const THERE: u32 = 500_000;
const PAYLOAD: u32 = 8;

/// One packet.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What was sent before any rule was there.
    pub before: Vec<(Side, Bytes)>,
    /// Who sends it.
    pub side: Side,
    /// As it is sent.
    pub written: Bytes,
    /// As the simulator is asked about it.
    pub packet: Packet,
    /// What becomes of it where nothing denies it.
    pub arrives: Fate,
    /// Whether one table alone can be asked about it, which knows no routes and takes every sender for a real one: all but
    /// the forged, and what goes over the loopback, which passes all hooks.
    pub by_table: bool,
    /// Whether its whole way can be followed: it is the first of its connection, or one that is not translated.
    pub by_follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From outside to the host.
    In,
    /// From outside to the machine on the local network.
    Routed,
    /// From the local network to the host.
    LanToHost,
    /// From the local network to the outside.
    LanToOutside,
    /// From the host to the outside.
    Out,
    /// From the host to the local network.
    OutToLan,
    /// From the host to itself.
    Loopback,
}

/// What packets of a policy's tests are drawn from.
pub struct Crowd {
    sources: [Vec<IpAddr>; 2],
    ports: Vec<u16>,
    /// Whether one address may open but so many connections.
    limited: bool,
    /// Whether the host translates the ports of [`PUBLISHED`].
    publishes: bool,
    /// The services of the policy that another machine answers.
    forwards: Vec<Service>,
}

impl Probe {
    /// Whether that is none of the fates that a packet with such a verdict may have, which arrives there if nothing denies it.
    pub fn differs(&self, verdict: Verdict, arrives: Fate, fate: Fate) -> bool {
        let by_host = self.side == Side::Host;
        match verdict {
            Verdict::Allow => fate != arrives,
            Verdict::Deny => fate != Fate::Lost,
            // A refusal passes the rules for what this machine sends, which one table alone is not asked about.
            Verdict::Reject if by_host || matches!(self.packet.state, State::Untracked | State::Invalid) => {
                !matches!(fate, Fate::Refused | Fate::Lost)
            }
            Verdict::Reject => fate != Fate::Refused,
            Verdict::Unknown => true,
        }
    }
}

impl Crowd {
    pub fn of(written: &Written) -> Self {
        let mut sources = [Vec::new(), Vec::new()];
        let mut ports = PORTS.to_vec();
        let texts = std::iter::once(&written.text).chain(written.files.values());
        let mut add = |address: IpAddr| sources[usize::from(address.is_ipv6())].push(address);
        SOURCES.iter().for_each(|text| add(text.parse().expect("an address")));
        for text in texts {
            for word in text.split(|c: char| c.is_whitespace() || "[]{},\"".contains(c)) {
                ends(word).into_iter().flat_map(around).for_each(&mut add);
                let numbers = word.split_once('/').map_or("", |(numbers, _)| numbers).split('-');
                let numbers = numbers.filter_map(|number| number.parse::<u16>().ok());
                ports.extend(
                    numbers
                        .flat_map(|port| [port.saturating_sub(1), port, port.saturating_add(1)])
                        .filter(|p| *p > 0),
                );
            }
        }
        let sources = sources.map(|all| all.into_iter().filter(|address| may_send(*address)).collect());
        let limited = written.text.contains(", limit: ");
        Self { sources, ports, limited, publishes: true, forwards: Vec::new() }
    }

    /// Near what a policy speaks of, whose port forwards the host translates.
    pub fn of_policy(written: &Written, policy: &Resolved) -> Self {
        let forwards = policy.services.values().filter(|service| service.forward_to.is_some()).cloned().collect();
        Self { forwards, ..Self::of(written) }
    }

    /// Near what a text speaks of that is no policy, of a host that has translated nothing so far.
    pub fn around(text: &str) -> Self {
        let written = Written { text: text.to_owned(), files: BTreeMap::new() };
        Self { publishes: false, ..Self::of(&written) }
    }

    /// A packet for each number, but for those that would be of a connection that another begins.
    pub fn probes(&self, seeds: &[u64]) -> Vec<Probe> {
        let mut connections = BTreeSet::new();
        let mut sources = BTreeSet::new();
        let mut probes = Vec::new();
        for (index, seed) in seeds.iter().enumerate() {
            let number = SENDERS + u16::try_from(index).expect("there are not so many");
            let Some(probe) = self.probe(&mut Dice::seeded(*seed), number) else { continue };
            let (one, other) = (probe.written.source, probe.written.destination);
            let ports = match probe.written.body {
                Body::Tcp { source, destination, .. } | Body::Udp { source, destination } => (source, destination),
                Body::Sctp { source, destination } => (source, destination),
                Body::Icmp { identifier, .. } => (identifier, 0),
                Body::Message { .. } => (number, 0),
                Body::Other(_) => (0, 0),
            };
            // Masquerading gives the host's address to its neighbours: whoever they answer may answer the host.
            let (here, there) = (inside(one), inside(other));
            let (one, other) = (here.unwrap_or(one), there.unwrap_or(other));
            let ends = [(one, ports.0), (other, ports.1)];
            let ends = (ends.iter().min().copied(), ends.iter().max().copied());
            // A limit lets the first connection of an address through, of an IPv6 network of 64 bits, and counts whatever is
            // of none.
            let known = matches!(probe.packet.state, State::Established | State::Reply | State::Related);
            let once = !self.limited || known || sources.insert(limited_as(probe.written.source));
            if once && connections.insert((probe.written.protocol(), ends)) {
                probes.push(probe);
            }
        }
        probes
    }

    fn source(&self, dice: &mut Dice, family: usize) -> IpAddr {
        dice.pick(&self.sources[family])
    }

    fn port(&self, dice: &mut Dice) -> u16 {
        match dice.below(8) {
            0 => u16::try_from(1 + dice.below(65_535)).expect("a port"),
            1..=3 => dice.pick(&PORTS),
            _ => dice.pick(&self.ports),
        }
    }

    /// Who sends to whom.
    fn ends(&self, dice: &mut Dice, way: Way, family: usize) -> (Side, IpAddr, Side, IpAddr) {
        let neighbour = |dice: &mut Dice| dice.pick(&NEIGHBOURS)[family].parse().expect("an address");
        let here = |dice: &mut Dice| dice.pick(&[HOST, HOST, HOST, HOST_ON_LAN])[family];
        // Some lie about who they are.
        let own = |dice: &mut Dice| dice.pick(&[HOST, HOST_ON_LAN])[family];
        let outside = |dice: &mut Dice| match dice.below(12) {
            0 => own(dice),
            1 => neighbour(dice),
            _ => self.source(dice, family),
        };
        let inside = |dice: &mut Dice| match dice.below(12) {
            0 => own(dice),
            1..4 => self.source(dice, family),
            _ => neighbour(dice),
        };
        match way {
            Way::In => (Side::Client, outside(dice), Side::Host, here(dice)),
            Way::Routed => (Side::Client, outside(dice), Side::Lan, neighbour(dice)),
            Way::LanToHost => {
                (Side::Lan, inside(dice), Side::Host, dice.pick(&[HOST_ON_LAN, HOST_ON_LAN, HOST])[family])
            }
            Way::LanToOutside => (Side::Lan, inside(dice), Side::Client, self.source(dice, family)),
            Way::Out => (Side::Host, HOST[family], Side::Client, self.source(dice, family)),
            Way::OutToLan => (Side::Host, HOST_ON_LAN[family], Side::Lan, neighbour(dice)),
            Way::Loopback => {
                let own = dice.pick(&[LOOPBACK, HOST, HOST_ON_LAN])[family];
                (Side::Host, own, Side::Host, own)
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each state")]
    fn probe(&self, dice: &mut Dice, number: u16) -> Option<Probe> {
        use State::{Established, Invalid, New, Related, Reply, Untracked};
        let way = dice.pick(&[
            Way::In,
            Way::In,
            Way::In,
            Way::In,
            Way::In,
            Way::Routed,
            Way::Routed,
            Way::LanToHost,
            Way::LanToHost,
            Way::LanToOutside,
            Way::Out,
            Way::Out,
            Way::OutToLan,
            Way::Loopback,
        ]);
        let family = dice.below(2);
        let (side, from, other, to) = self.ends(dice, way, family);
        let ends = Ends { side, from, other, to };
        let state = match dice.below(18) {
            _ if way == Way::Loopback => New,
            // Nobody can be answered who says that he is someone else on this side.
            _ if inside(from).is_some() && !is_real(side, from) => dice.pick(&[New, New, New, Invalid]),
            0..10 => New,
            10..12 => Established,
            12..14 => Reply,
            14 => Related,
            15 | 16 => Invalid,
            _ if family == 1 && !matches!(way, Way::Routed | Way::LanToOutside) => Untracked,
            _ => New,
        };
        let (before, body) = match state {
            New => (Vec::new(), self.first(dice, way, family, number)),
            Established => self.later(dice, way, &ends, number),
            Reply => self.reply(dice, &ends, number),
            Related => self.error(dice, &ends, number),
            Invalid => (Vec::new(), self.stray(dice, &ends, number)),
            Untracked => {
                let kind = dice.pick(&[130, 131, 132, 133, 134, 135, 136, 143]);
                (Vec::new(), Body::Icmp { kind, code: 0, identifier: 0 })
            }
        };
        let hops: &[u8] = if state == Untracked { &[255, 255, 64] } else { &[64, 64, 255, 2, 128] };
        let user = if side == Side::Host { dice.pick(&USERS) } else { 0 };
        let written = Bytes { hop_limit: dice.pick(hops), user, ..Bytes::new(from, to, body) };
        let transport = match written.body {
            Body::Tcp { source, destination, .. } => {
                Transport::Ports { protocol: 6, source: Some(source), destination }
            }
            Body::Udp { source, destination } => Transport::Ports { protocol: 17, source: Some(source), destination },
            Body::Sctp { source, destination } => {
                Transport::Ports { protocol: 132, source: Some(source), destination }
            }
            Body::Icmp { kind, code, .. } | Body::Message { kind, code, .. } => Transport::Icmp { kind, code },
            Body::Other(number) => Transport::Other(number),
        };
        let forwarded = self.forwarded_to(way, state, transport, to);
        let published = || translated_to(way, state, transport, family).filter(|_| self.publishes);
        let translated = forwarded.or_else(published);
        let through = matches!(way, Way::Routed | Way::LanToOutside) || translated.is_some();
        let path = match way {
            Way::Out | Way::OutToLan | Way::Loopback => Path::FromMachine,
            _ if through => Path::Through,
            _ => Path::ToMachine,
        };
        let packet = match path {
            Path::FromMachine => Packet::from_machine(from, to, transport),
            Path::Through => Packet::through(from, to, transport),
            Path::ToMachine => Packet::to_machine(from, to, transport),
        };
        let target = if translated.is_some() { Side::Lan } else { other };
        let packet = match interface(side) {
            Some(name) => packet.coming_in_by(name),
            None => packet,
        };
        let packet = match interface(target).filter(|_| path != Path::ToMachine) {
            Some(name) => packet.leaving_by(name),
            None => packet,
        };
        let packet = if side == Side::Host { packet.sent_by(user) } else { packet };
        let packet = Packet { hop_limit: Some(written.hop_limit), translated, ..packet.in_state(state) };
        let arrives = if target == Side::Host { Fate::Delivered } else { Fate::Left(target) };
        let by_table = way != Way::Loopback && is_real(side, from);
        let by_follow = translated.is_none() || state == New;
        Some(Probe { before, side, written, packet, arrives, by_table, by_follow })
    }

    /// Where the policy has the first packet of a connection go that asks this machine. Read from the policy.
    fn forwarded_to(&self, way: Way, state: State, transport: Transport, to: IpAddr) -> Option<Translation> {
        let Transport::Ports { protocol, destination, .. } = transport else { return None };
        let incoming = match way {
            Way::In => Some("eth0"),
            Way::LanToHost => Some("eth1"),
            // What goes over the loopback to an address of its own is not translated.
            Way::Loopback if !LOOPBACK.contains(&to) => None,
            _ => return None,
        };
        let is_meant = |service: &&Service| {
            let has = |ports: &Ports| {
                ports.transport.number() == protocol && (ports.first..=ports.last).contains(&destination)
            };
            let covers = |on: &IfPattern| incoming.is_some_and(|name| on.covers(name));
            service.ports.iter().any(has)
                && (service.to.is_empty() || service.to.contains(to))
                && (service.on.is_empty() || service.on.iter().any(covers))
        };
        let service = self.forwards.iter().filter(|_| state == State::New).find(is_meant)?;
        let (address, port) = service.forward_to.and_then(|target| target.over(Version::of(to)))?;
        Some(Translation { address, port })
    }

    /// What begins a connection.
    fn first(&self, dice: &mut Dice, way: Way, family: usize, number: u16) -> Body {
        let destination = match dice.below(4) {
            0 if way == Way::In => dice.pick(&PUBLISHED).0,
            _ => self.port(dice),
        };
        match dice.below(24) {
            0..10 => Body::Tcp { source: number, destination, flags: SYN, seq: HERE, ack: 0 },
            10..17 => Body::Udp { source: number, destination },
            17 => {
                let (source, destination) = dice.pick(&DHCP);
                Body::Udp { source, destination }
            }
            18 | 19 => Body::Sctp { source: number, destination },
            20 | 21 => Body::Icmp { kind: [8, 128][family], code: 0, identifier: number },
            22 if family == 0 => Body::Icmp { kind: 13, code: 0, identifier: number },
            _ => Body::Other(dice.pick(&[50, 2, 89])),
        }
    }

    /// What follows when both have spoken.
    fn later(&self, dice: &mut Dice, way: Way, ends: &Ends, number: u16) -> (Vec<(Side, Bytes)>, Body) {
        let destination = if way == Way::In && dice.one_in(3) { dice.pick(&PUBLISHED).0 } else { self.port(dice) };
        let family = usize::from(ends.from.is_ipv6());
        let kind = dice.below(4);
        let transport = if kind < 2 { 6 } else { 17 };
        let transport = Transport::Ports { protocol: transport, source: Some(number), destination };
        let to = translated_to(way, State::Established, transport, family).filter(|_| self.publishes && kind < 3);
        // The machine that the port is translated to answers for itself.
        let (answering, address, port) = match to {
            Some(to) => (Side::Lan, to.address, to.port.unwrap_or(destination)),
            None => (ends.other, ends.to, destination),
        };
        let there = |body| (ends.side, Bytes::new(ends.from, ends.to, body));
        let back = |body| (answering, Bytes::new(address, ends.from, body));
        match kind {
            0 | 1 => {
                let (seq, ack) = (HERE + 1 + PAYLOAD, THERE + 1 + PAYLOAD);
                let sent = |flags, seq, ack| Body::Tcp { source: number, destination, flags, seq, ack };
                let answer = Body::Tcp { source: port, destination: number, flags: SYN | ACK, seq: THERE, ack: seq };
                let before = vec![there(sent(SYN, HERE, 0)), back(answer), there(sent(ACK, seq, ack))];
                (before, sent(PSH | ACK, seq + PAYLOAD, ack))
            }
            2 => {
                let sent = Body::Udp { source: number, destination };
                let answer = Body::Udp { source: port, destination: number };
                (vec![there(sent.clone()), back(answer)], sent)
            }
            _ => {
                let [request, reply] =
                    [[8, 0], [128, 129]][family].map(|kind| Body::Icmp { kind, code: 0, identifier: number });
                (vec![there(request.clone()), back(reply)], request)
            }
        }
    }

    /// The first answer to what the other one has sent.
    fn reply(&self, dice: &mut Dice, ends: &Ends, number: u16) -> (Vec<(Side, Bytes)>, Body) {
        let service = self.port(dice);
        // What the host publishes it does not answer itself.
        let service = if PUBLISHED.iter().any(|(port, _)| *port == service) { 23 } else { service };
        let family = usize::from(ends.from.is_ipv6());
        let (asked, answer) = match dice.below(4) {
            0 | 1 => (
                Body::Tcp { source: number, destination: service, flags: SYN, seq: HERE, ack: 0 },
                Body::Tcp {
                    source: service,
                    destination: number,
                    flags: SYN | ACK,
                    seq: THERE,
                    ack: HERE + 1 + PAYLOAD,
                },
            ),
            2 => (
                Body::Udp { source: number, destination: service },
                Body::Udp { source: service, destination: number },
            ),
            _ => {
                let [request, reply] = [[8, 0], [128, 129]][family];
                (
                    Body::Icmp { kind: request, code: 0, identifier: number },
                    Body::Icmp { kind: reply, code: 0, identifier: number },
                )
            }
        };
        (vec![(ends.other, Bytes::new(ends.to, ends.from, asked))], answer)
    }

    /// An error about what the other one has sent.
    fn error(&self, dice: &mut Dice, ends: &Ends, number: u16) -> (Vec<(Side, Bytes)>, Body) {
        let service = self.port(dice);
        let service = if PUBLISHED.iter().any(|(port, _)| *port == service) { 23 } else { service };
        let asked = Body::Udp { source: number, destination: service };
        // Not always does it come from whom it is about.
        let asked = Bytes::new(ends.to, ends.from, asked);
        let about = asked.bytes(&[]);
        (vec![(ends.other, asked)], error_about(dice, ends, about))
    }

    /// What belongs to no connection and begins none.
    fn stray(&self, dice: &mut Dice, ends: &Ends, number: u16) -> Body {
        let destination = self.port(dice);
        let tcp = |flags| Body::Tcp { source: number, destination, flags, seq: HERE, ack: THERE };
        match dice.below(6) {
            0 => tcp(SYN | FIN),
            1 => tcp(0),
            2 => tcp(ACK),
            3 | 4 => {
                let kind = [0, 129][usize::from(ends.from.is_ipv6())];
                Body::Icmp { kind, code: 0, identifier: number }
            }
            _ => {
                let unknown = Bytes::new(ends.to, ends.from, Body::Udp { source: number, destination });
                error_about(dice, ends, unknown.bytes(&[]))
            }
        }
    }
}

fn error_about(dice: &mut Dice, ends: &Ends, about: Vec<u8>) -> Body {
    let (kind, code) = match ends.from {
        IpAddr::V4(_) => dice.pick(&[(3, 1), (3, 3), (3, 13), (11, 0), (12, 0)]),
        IpAddr::V6(_) => dice.pick(&[(1, 0), (1, 4), (2, 0), (3, 0), (4, 0)]),
    };
    Body::Message { kind, code, rest: [vec![0; 4], about].concat() }
}

struct Ends {
    side: Side,
    from: IpAddr,
    other: Side,
    to: IpAddr,
}

/// Where the host has its packet go instead, which is so for its connection as a whole.
fn translated_to(way: Way, state: State, transport: Transport, family: usize) -> Option<Translation> {
    let Transport::Ports { protocol: protocol::TCP | protocol::UDP, destination, .. } = transport else {
        return None;
    };
    let (_, to) = PUBLISHED.into_iter().find(|(published, _)| *published == destination)?;
    let tracked = matches!(state, State::New | State::Established);
    (way == Way::In && tracked).then_some(Translation { address: LAN[family], port: Some(to) })
}

const fn interface(side: Side) -> Option<&'static str> {
    match side {
        Side::Client => Some("eth0"),
        Side::Lan => Some("eth1"),
        Side::Host => None,
    }
}
