//! Packets sent by the hundred through the lab's host, and found again wherever they come out.
//!
//! Nothing is waited for that may not come. All is sent by one thread on one processor, whose queue the kernel works off
//! in order: when a frame that no rule sees has come out behind the packets, whatever comes of them has come.
#![allow(dead_code, unsafe_code)]

use super::frames::{Body, RST, Written};
use super::lab::{CLIENT, LAN, Lab};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::unistd::Pid;
use palisade::simulate::protocol;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `ETH_P_ALL`, and a number that IEEE leaves to experiments.
const EVERYTHING: u16 = 0x0003;
const MARKER: u16 = 0x88b5;
/// How many packets are sent before the first is looked for. Each may make another, and a processor's queue has room for
/// a thousand.
const AT_ONCE: usize = 100;
/// What no marker takes as long as.
const PATIENCE: Duration = Duration::from_secs(20);
/// What begins the last eight bytes of each packet.
const COOKIE: [u8; 4] = *b"\x9apal";
/// What the host listens for, beside ICMP.
const PROTOCOLS: [u8; 6] = [protocol::TCP, protocol::UDP, protocol::SCTP, 2, 50, 89];

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

/// A place where frames go in and come out.
struct Tap {
    socket: Socket,
    own: [u8; 6],
    peer: [u8; 6],
}

/// The three machines of a lab, of which two neither answer nor ask.
pub struct Wire {
    client: Tap,
    lan: Tap,
    /// The host's ends, for markers alone.
    host: [Tap; 2],
    sending: [Socket; 2],
    /// ICMP's are the first two.
    receiving: Vec<Socket>,
}

const MACS: [[u8; 6]; 4] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 9]];

impl Wire {
    /// The calling thread stays on one processor from then on.
    pub fn new(lab: &Lab) -> Self {
        let allowed = sched_getaffinity(Pid::from_raw(0)).expect("a thread runs somewhere");
        let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).expect("there is one");
        let mut one = CpuSet::new();
        one.set(first).expect("it is within the set");
        sched_setaffinity(Pid::from_raw(0), &one).expect("a thread may stay where it may run");
        let ends = [(&lab.host, "eth0"), (&lab.client, "eth0"), (&lab.host, "eth1"), (&lab.lan, "eth0")];
        for ((inside, device), mac) in ends.iter().zip(MACS) {
            inside.ip(&format!("link set {device} address {}", text(mac)));
        }
        silence(lab);
        let tap = |index: usize, what: u16| {
            let (inside, device) = ends[index];
            let line = inside.ip(&format!("-o link show dev {device}"));
            let number = line.split(':').next().and_then(|number| number.parse().ok()).expect("an index");
            Tap { socket: inside.run(|| packet_socket(number, what)), own: MACS[index], peer: MACS[index ^ 1] }
        };
        let raw = |domain: Domain, number: u8| {
            let socket =
                Socket::new(domain, Type::from(nix::libc::SOCK_RAW), Some(Protocol::from(i32::from(number))))
                    .expect("a socket");
            enlarge(&socket);
            socket
        };
        let (sending, receiving) = lab.host.run(|| {
            const RAW: u8 = 255;
            let sending = [raw(Domain::IPV4, RAW), raw(Domain::IPV6, RAW)];
            let icmp = [raw(Domain::IPV4, protocol::ICMP), raw(Domain::IPV6, protocol::ICMPV6)];
            let others =
                PROTOCOLS.into_iter().flat_map(|number| [Domain::IPV4, Domain::IPV6].map(|of| raw(of, number)));
            (sending, icmp.into_iter().chain(others).collect::<Vec<_>>())
        });
        for socket in sending.iter().chain(&receiving) {
            socket.set_nonblocking(true).expect("a socket need not block");
        }
        Self {
            client: tap(1, EVERYTHING),
            lan: tap(3, EVERYTHING),
            host: [tap(0, MARKER), tap(2, MARKER)],
            sending,
            receiving,
        }
    }

    /// Sends them in this order, and gives what became of each.
    pub fn send(&mut self, packets: &[(Side, Written)]) -> Vec<Fate> {
        let mut fates = Vec::new();
        for (chunk, packets) in packets.chunks(AT_ONCE).enumerate() {
            let first = chunk * AT_ONCE;
            let mut asked = Asked::default();
            for (index, (side, packet)) in packets.iter().enumerate() {
                let number = u32::try_from(first + index).expect("there are not so many");
                asked.remember(number, packet);
                self.send_one(*side, packet, &[&COOKIE[..], &number.to_be_bytes()].concat());
            }
            self.wait();
            let found = self.found(&asked);
            let fate = |index| found.get(&u32::try_from(first + index).expect("as above")).copied();
            fates.extend((0..packets.len()).map(|index| fate(index).unwrap_or(Fate::Lost)));
        }
        fates
    }

    fn send_one(&self, side: Side, packet: &Written, cookie: &[u8]) {
        let bytes = packet.bytes(cookie);
        let kind: u16 = if packet.source.is_ipv4() { 0x0800 } else { 0x86dd };
        match side {
            Side::Client => self.client.send(kind, &bytes),
            Side::Lan => self.lan.send(kind, &bytes),
            Side::Host => {
                let socket = &self.sending[usize::from(packet.source.is_ipv6())];
                match socket.send_to(&bytes, &SocketAddr::new(packet.destination, 0).into()) {
                    Ok(_) => {}
                    // A rule that denies tells the sender so.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                    Err(error) => panic!("{packet:?} can't be sent: {error}"),
                }
            }
        }
    }

    /// Until whatever was sent has come out.
    fn wait(&mut self) {
        for (tap, end) in [&self.client, &self.lan].into_iter().zip(&self.host) {
            tap.send(MARKER, &[0; 46]);
            end.await_marker();
        }
        for end in &self.host {
            end.send(MARKER, &[0; 46]);
        }
    }

    /// What became of packets: the markers stand behind all that came out.
    fn found(&mut self, asked: &Asked) -> BTreeMap<u32, Fate> {
        let mut found = BTreeMap::new();
        for (tap, side) in [(&self.client, Side::Client), (&self.lan, Side::Lan)] {
            for frame in tap.until_marker() {
                let Some(packet) = frame.get(14..).filter(|packet| !Asked::redirects(packet)) else { continue };
                match asked.refused(packet) {
                    Some(number) => drop(found.entry(number).or_insert(Fate::Refused)),
                    None => drop(cookie(packet).map(|number| found.insert(number, Fate::Left(side)))),
                }
            }
        }
        let mut buffer = [0; 2048];
        for (index, mut socket) in self.receiving.iter().enumerate() {
            let is_icmp = index < 2;
            while let Ok(length) = socket.read(&mut buffer) {
                let message = &buffer[..length];
                match asked.refused_here(message).filter(|_| is_icmp) {
                    Some(number) => drop(found.entry(number).or_insert(Fate::Refused)),
                    None => drop(cookie(message).map(|number| found.insert(number, Fate::Delivered))),
                }
            }
        }
        found
    }
}

/// The number at the end of a packet.
fn cookie(packet: &[u8]) -> Option<u32> {
    let (rest, number) = packet.split_last_chunk::<4>()?;
    rest.ends_with(&COOKIE).then(|| u32::from_be_bytes(*number))
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
            Body::Error { .. } => drop(self.errors.insert(number)),
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

impl Tap {
    fn send(&self, kind: u16, bytes: &[u8]) {
        let frame = [&self.peer[..], &self.own, &kind.to_be_bytes(), bytes].concat();
        self.socket.send(&frame).expect("a frame can be sent");
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let length = (&self.socket).read(&mut buffer).expect("a marker comes out");
        buffer[..length].to_vec()
    }

    fn await_marker(&self) {
        while !is_marker(&self.receive()) {}
    }

    /// All frames that came in before the marker. What was sent by this end is seen here, too.
    fn until_marker(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let frame = self.receive();
            let incoming = frame.get(6..12) == Some(&self.peer[..]);
            match is_marker(&frame) {
                true if incoming => return frames,
                false if incoming => frames.push(frame),
                _ => {}
            }
        }
    }
}

fn is_marker(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&MARKER.to_be_bytes()[..])
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
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
            lab.host.ip(&format!("neighbour replace {address} lladdr {} dev {device} nud permanent", text(mac)));
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

fn enlarge(socket: &Socket) {
    setsockopt(socket, RcvBufForce, &(16 << 20)).expect("root may have a large buffer");
}

/// A socket that sends by an interface, and receives what comes in by it.
fn packet_socket(index: i32, what: u16) -> Socket {
    let protocol = Protocol::from(i32::from(what.to_be()));
    let socket = Socket::new(Domain::from(nix::libc::AF_PACKET), Type::from(nix::libc::SOCK_RAW), Some(protocol))
        .expect("a packet socket");
    enlarge(&socket);
    // SAFETY: the structure is plain numbers, for which zeros are valid.
    let mut address: nix::libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(nix::libc::AF_PACKET).expect("a small number");
    address.sll_protocol = what.to_be();
    address.sll_ifindex = index;
    let length = u32::try_from(size_of_val(&address)).expect("a small number");
    // SAFETY: the pointer is to a structure of that length, which outlives the call.
    let bound = unsafe { nix::libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(bound, 0, "a packet socket can be bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    socket
}
