//! Packets sent by the hundred through the lab's host, and found again wherever they come out.
#![allow(dead_code)]

use super::frames::{Body, RST, Written};
use super::lab::{CLIENT, LAN, Lab};
use super::tap::{Mac, OwnStack, Tap, cookie, cookie_of, mac_text, stay_on_one_processor};
use palisade::net::protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// How many packets are sent before the first is looked for. Each may make another, and a processor's queue has room for
/// a thousand.
const AT_ONCE: usize = 100;

/// While connections are begun, the host's own stack says nothing of ports that nobody listens to. Connections are
/// tracked where a rule asks for them.
pub const QUIET: &str = "
table inet quiet {
    chain output {
        type filter hook output priority raw;
        tcp flags & rst == rst drop
        icmp type destination-unreachable drop
        icmpv6 type destination-unreachable drop
    }
    chain tracks {
        type filter hook output priority 0;
        ct state new accept
    }
}
";

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Client,
    Lan,
    Host,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The host has taken it for itself.
    Delivered,
    /// It has left the host towards that side.
    Left(Side),
    /// Its sender was told that it is refused.
    Refused,
    /// Nobody has heard of it.
    Lost,
}

/// An end of a wire: where frames go in and come out, its own address and the one at the other end.
struct End {
    tap: Tap,
    own: Mac,
    peer: Mac,
}

/// The three machines of a lab, of which two neither answer nor ask.
pub struct Wire {
    client: End,
    lan: End,
    /// The host's ends, for markers alone.
    host: [End; 2],
    stack: OwnStack,
    /// The sources with which the packets left that were sent last, by their numbers.
    sources: BTreeMap<usize, IpAddr>,
}

const MACS: [Mac; 4] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 9]];

impl Wire {
    /// The calling thread stays on one processor from then on.
    pub fn new(lab: &Lab) -> Self {
        stay_on_one_processor();
        let ends = [(&lab.host, "eth0"), (&lab.client, "eth0"), (&lab.host, "eth1"), (&lab.lan, "eth0")];
        for ((inside, device), mac) in ends.iter().zip(MACS) {
            inside.ip(&format!("link set {device} address {}", mac_text(mac)));
        }
        silence(lab);
        let end = |index: usize, only_markers: bool| {
            let (inside, device) = ends[index];
            End { tap: Tap::new(inside, device, only_markers), own: MACS[index], peer: MACS[index ^ 1] }
        };
        Self {
            client: end(1, false),
            lan: end(3, false),
            host: [end(0, true), end(2, true)],
            stack: OwnStack::new(&lab.host),
            sources: BTreeMap::new(),
        }
    }

    /// Sends them in this order, and gives what became of each.
    pub fn send(&mut self, packets: &[(Side, Written)]) -> Vec<Fate> {
        let mut fates = Vec::new();
        self.sources.clear();
        for (chunk, packets) in packets.chunks(AT_ONCE).enumerate() {
            let first = chunk * AT_ONCE;
            let mut asked = Asked::default();
            for (index, (side, packet)) in packets.iter().enumerate() {
                let number = u32::try_from(first + index).expect("there are not so many");
                asked.remember(number, packet);
                self.send_one(*side, packet, &cookie_of(number));
            }
            self.wait();
            let found = self.found(&asked);
            let fate = |index| found.get(&u32::try_from(first + index).expect("as above")).copied();
            fates.extend((0..packets.len()).map(|index| fate(index).unwrap_or(Fate::Lost)));
        }
        fates
    }

    /// The source that a packet had as it left the host, by its place among those that were sent last.
    pub fn source_of(&self, index: usize) -> Option<IpAddr> {
        self.sources.get(&index).copied()
    }

    fn send_one(&self, side: Side, packet: &Written, cookie: &[u8]) {
        let bytes = packet.bytes(cookie);
        let kind: u16 = if packet.source.is_ipv4() { 0x0800 } else { 0x86dd };
        match side {
            Side::Client => self.client.send(kind, &bytes),
            Side::Lan => self.lan.send(kind, &bytes),
            Side::Host => self.stack.send_as(packet.user, packet.destination, &bytes),
        }
    }

    /// Until whatever was sent has come out.
    fn wait(&mut self) {
        for (end, host) in [&self.client, &self.lan].into_iter().zip(&self.host) {
            end.send_marker();
            host.tap.await_marker();
        }
        for end in &self.host {
            end.send_marker();
        }
    }

    /// What became of packets: the markers stand behind all that came out.
    fn found(&mut self, asked: &Asked) -> BTreeMap<u32, Fate> {
        let mut found = BTreeMap::new();
        for (end, side) in [(&self.client, Side::Client), (&self.lan, Side::Lan)] {
            for frame in end.tap.until_marker() {
                let Some(packet) = frame.get(14..).filter(|packet| !Asked::redirects(packet)) else { continue };
                match asked.refused(packet) {
                    Some(number) => drop(found.entry(number).or_insert(Fate::Refused)),
                    None => {
                        let Some(number) = cookie(packet) else { continue };
                        found.insert(number, Fate::Left(side));
                        let index = usize::try_from(number).expect("a small number");
                        self.sources.extend(source(packet).map(|source| (index, source)));
                    }
                }
            }
        }
        for (message, is_icmp) in self.stack.received() {
            if is_icmp && Asked::redirects_here(&message) {
                continue;
            }
            match asked.refused_here(&message).filter(|_| is_icmp) {
                Some(number) => drop(found.entry(number).or_insert(Fate::Refused)),
                None => drop(cookie(&message).map(|number| found.insert(number, Fate::Delivered))),
            }
        }
        found
    }
}

/// The source address of an IP packet.
fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(*packet.get(12..)?.first_chunk::<4>()?)),
        6 => Some(IpAddr::from(*packet.get(8..)?.first_chunk::<16>()?)),
        _ => None,
    }
}

/// What is asked about, as refusals name it.
#[derive(Default)]
struct Asked {
    /// By the ports and addresses of a reset: where it goes to, and where it comes from.
    tcp: BTreeMap<(SocketAddr, SocketAddr), u32>,
    /// Which are errors themselves.
    errors: BTreeSet<u32>,
}

impl Asked {
    fn remember(&mut self, number: u32, packet: &Written) {
        match packet.body {
            Body::Tcp { source, destination, .. } => {
                let ends = (SocketAddr::new(packet.source, source), SocketAddr::new(packet.destination, destination));
                self.tcp.insert(ends, number);
            }
            Body::Message { .. } => drop(self.errors.insert(number)),
            _ => {}
        }
    }

    /// Which packet an IP packet refuses, if it refuses one.
    fn refused(&self, packet: &[u8]) -> Option<u32> {
        let (number, source, destination, rest): (u8, IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
            4 => {
                let address = |at: usize| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<4>()?));
                (*packet.get(9)?, address(12)?, address(16)?, packet.get(20..)?)
            }
            6 => {
                let address = |at: usize| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<16>()?));
                (*packet.get(6)?, address(8)?, address(24)?, packet.get(40..)?)
            }
            _ => return None,
        };
        match number {
            protocol::TCP if rest.get(13)? & RST != 0 && cookie(packet).is_none() => {
                let port = |at: usize| Some(u16::from_be_bytes(*rest.get(at..)?.first_chunk()?));
                let ends = (SocketAddr::new(destination, port(2)?), SocketAddr::new(source, port(0)?));
                self.tcp.get(&ends).copied()
            }
            protocol::ICMP if *rest.first()? == 3 => cookie(packet).filter(|n| !self.errors.contains(n)),
            protocol::ICMPV6 if *rest.first()? == 1 => cookie(packet).filter(|n| !self.errors.contains(n)),
            _ => None,
        }
    }

    /// Whether an IP packet tells its sender of a nearer way, which rules are not asked about.
    fn redirects(packet: &[u8]) -> bool {
        match packet.first().map_or(0, |byte| byte >> 4) {
            4 => packet.get(9) == Some(&protocol::ICMP) && packet.get(20) == Some(&5),
            _ => packet.get(6) == Some(&protocol::ICMPV6) && packet.get(40) == Some(&137),
        }
    }

    /// The same of an ICMP message as the ICMP sockets of the host see it, which others may send packets in the name of.
    fn redirects_here(message: &[u8]) -> bool {
        match message.first().map_or(0, |byte| byte >> 4) {
            4 => message.get(20) == Some(&5),
            _ => message.first() == Some(&137),
        }
    }

    /// Which packet of the host an ICMP message refuses, as its ICMP sockets see it: with the header of IPv4, without
    /// that of IPv6.
    fn refused_here(&self, message: &[u8]) -> Option<u32> {
        let is_refusal = match message.first()? >> 4 {
            4 => message.get(20) == Some(&3),
            _ => message.first() == Some(&1),
        };
        cookie(message).filter(|number| is_refusal && !self.errors.contains(number))
    }
}

impl End {
    fn send(&self, kind: u16, bytes: &[u8]) {
        self.tap.send(&[&self.peer[..], &self.own, &kind.to_be_bytes(), bytes].concat());
    }

    fn send_marker(&self) {
        self.tap.send_marker(self.peer, self.own);
    }
}

/// Has the two others say nothing by themselves, and the host know them without asking.
fn silence(lab: &Lab) {
    for inside in [&lab.client, &lab.lan] {
        inside.nft_load(
            "table inet mute { chain nothing { type filter hook prerouting priority -400; policy drop; };\n}\n",
        );
    }
    let neighbours = [("eth0", CLIENT, MACS[1]), ("eth1", LAN, MACS[3])];
    for (device, addresses, mac) in neighbours {
        for address in addresses {
            lab.host.ip(&format!("neighbour replace {address} lladdr {} dev {device} nud permanent", mac_text(mac)));
        }
    }
    // Whoever else lives on those networks is reached over the one that answers.
    for (device, [v4, v6], [net4, net6]) in
        [("eth0", CLIENT, ["203.0.113.0/24", "2001:db8::/64"]), ("eth1", LAN, ["10.77.0.0/24", "fd77::/64"])]
    {
        lab.host.ip(&format!("-4 route add {v4}/32 dev {device}"));
        lab.host.ip(&format!("-6 route add {v6}/128 dev {device}"));
        lab.host.ip(&format!("-4 route delete {net4} dev {device}"));
        lab.host.ip(&format!("-4 route add {net4} via {v4} dev {device}"));
        lab.host.ip(&format!("-6 route delete {net6} dev {device}"));
        lab.host.ip(&format!("-6 route add {net6} via {v6} dev {device}"));
    }
    for of in ["all", "default", "eth0", "eth1"] {
        lab.host.sysctl(&format!("net/ipv4/conf/{of}/rp_filter"), "0");
    }
    lab.host.sysctl("net/ipv6/icmp/ratemask", "0");
}
