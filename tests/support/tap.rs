//! Frames put on a wire and taken off it, in order, and what a host takes for itself.
//!
//! Nothing is waited for that may not come. All is sent by one thread on one processor, whose queue the kernel works off
//! in order: when a frame that no rule sees has come out behind the packets, whatever comes of them has come.
#![allow(dead_code, unsafe_code)]

use super::namespace::Namespace;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::unistd::Pid;
use palisade::net::protocol;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

pub type Mac = [u8; 6];

/// `ETH_P_ALL`, and a number that IEEE leaves to experiments.
const EVERYTHING: u16 = 0x0003;
const MARKER: u16 = 0x88b5;
/// What no marker takes as long as.
const PATIENCE: Duration = Duration::from_secs(20);
/// What begins the last eight bytes of each packet. Behind a message of neighbour discovery they are an option of eight
/// bytes that nobody knows.
const COOKIE: [u8; 4] = *b"\x9a\x01pa";
/// The users that have sockets which send.
pub const USERS: [u32; 3] = [0, 4001, 4002];
/// What a host listens for, beside ICMP.
const PROTOCOLS: [u8; 8] = [protocol::TCP, protocol::UDP, protocol::SCTP, 2, 47, 50, 89, 112];

/// The calling thread stays where it may run first, from then on.
pub fn stay_on_one_processor() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("a thread runs somewhere");
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).expect("there is one");
    let mut one = CpuSet::new();
    one.set(first).expect("it is within the set");
    sched_setaffinity(Pid::from_raw(0), &one).expect("a thread may stay where it may run");
}

pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The link address of a device.
#[track_caller]
pub fn mac_of(inside: &Namespace, device: &str) -> Mac {
    let line = inside.ip(&format!("-o link show dev {device}"));
    let text = line.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
    let bytes: Vec<u8> = text
        .into_iter()
        .flat_map(|text| text.split(':'))
        .map(|byte| u8::from_str_radix(byte, 16).expect("a byte"))
        .collect();
    bytes.try_into().unwrap_or_else(|_| panic!("{device} has no link address: {line}"))
}

/// The last eight bytes of the packet of this number.
pub fn cookie_of(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&COOKIE);
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The number at the end of a packet.
pub fn cookie(packet: &[u8]) -> Option<u32> {
    let (rest, number) = packet.split_last_chunk::<4>()?;
    rest.ends_with(&COOKIE).then(|| u32::from_be_bytes(*number))
}

/// A place where frames go in and come out.
pub struct Tap(Socket);

impl Tap {
    /// At a device: of all frames that come in by it, or of markers alone.
    pub fn new(inside: &Namespace, device: &str, only_markers: bool) -> Self {
        let line = inside.ip(&format!("-o link show dev {device}"));
        let index = line.split(':').next().and_then(|number| number.parse().ok()).expect("an index");
        let what = if only_markers { MARKER } else { EVERYTHING };
        Self(inside.run(|| packet_socket(index, what)))
    }

    pub fn send(&self, frame: &[u8]) {
        self.0.send(frame).expect("a frame can be sent");
    }

    pub fn send_marker(&self, to: Mac, from: Mac) {
        self.send(&[&to[..], &from, &MARKER.to_be_bytes(), &[0; 46]].concat());
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let length = (&self.0).read(&mut buffer).expect("a marker comes out");
        buffer[..length].to_vec()
    }

    pub fn await_marker(&self) {
        while !is_marker(&self.receive()) {}
    }

    /// All frames that came in before the marker.
    pub fn until_marker(&self) -> Vec<Vec<u8>> {
        let frames = std::iter::repeat_with(|| self.receive());
        frames.take_while(|frame| !is_marker(frame)).collect()
    }
}

fn is_marker(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&MARKER.to_be_bytes()[..])
}

/// Sockets of a host that send packets as they are written, and receive those that the host takes for itself, after its
/// rules.
pub struct OwnStack {
    /// By the users that have opened them, one of each IP version.
    sending: BTreeMap<u32, [Socket; 2]>,
    /// ICMP's are the first two.
    receiving: Vec<Socket>,
}

impl OwnStack {
    pub fn new(host: &Namespace) -> Self {
        const RAW: u8 = 255;
        let raw = |domain: Domain, number: u8| {
            let kind = Type::from(nix::libc::SOCK_RAW);
            let socket = Socket::new(domain, kind, Some(Protocol::from(i32::from(number)))).expect("a socket");
            enlarge(&socket);
            socket.set_nonblocking(true).expect("a socket need not block");
            socket
        };
        host.run(|| {
            let icmp = [raw(Domain::IPV4, protocol::ICMP), raw(Domain::IPV6, protocol::ICMPV6)];
            let others =
                PROTOCOLS.into_iter().flat_map(|number| [Domain::IPV4, Domain::IPV6].map(|of| raw(of, number)));
            let sending = USERS.map(|user| {
                // A socket is whose it was when it was made.
                nix::unistd::setfsuid(user.into());
                let sending = [raw(Domain::IPV4, RAW), raw(Domain::IPV6, RAW)];
                nix::unistd::setfsuid(0.into());
                sending[0].set_broadcast(true).expect("a socket may send to all");
                (user, sending)
            });
            Self { sending: sending.into(), receiving: icmp.into_iter().chain(others).collect() }
        })
    }

    /// Sends a packet from its IP header on, as root. One that a rule denies is lost.
    pub fn send(&self, to: IpAddr, packet: &[u8]) {
        self.send_as(0, to, packet);
    }

    /// Sends a packet as one of [`USERS`].
    pub fn send_as(&self, user: u32, to: IpAddr, packet: &[u8]) {
        let socket = &self.sending[&user][usize::from(to.is_ipv6())];
        match socket.send_to(packet, &SocketAddr::new(to, 0).into()) {
            Ok(_) => {}
            // A rule that denies tells the sender so.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => panic!("a packet to {to} can't be sent: {error}"),
        }
    }

    /// All that has come, as these sockets see it: with the header of IPv4, without that of IPv6; and whether it is ICMP.
    pub fn received(&self) -> Vec<(Vec<u8>, bool)> {
        let mut buffer = [0; 2048];
        let mut messages = Vec::new();
        for (index, mut socket) in self.receiving.iter().enumerate() {
            while let Ok(length) = socket.read(&mut buffer) {
                messages.push((buffer[..length].to_vec(), index < 2));
            }
        }
        messages
    }
}

fn enlarge(socket: &Socket) {
    setsockopt(socket, RcvBufForce, &(16 << 20)).expect("root may have a large buffer");
}

/// A socket that sends by an interface, and receives what comes in by it.
fn packet_socket(index: i32, what: u16) -> Socket {
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    let protocol = Protocol::from(i32::from(what.to_be()));
    let socket = Socket::new(Domain::from(nix::libc::AF_PACKET), Type::from(nix::libc::SOCK_RAW), Some(protocol))
        .expect("a packet socket");
    enlarge(&socket);
    let one: i32 = 1;
    // SAFETY: the pointer is to a number of that length, which outlives the call.
    let set = unsafe {
        let one = (&raw const one).cast();
        nix::libc::setsockopt(socket.as_raw_fd(), nix::libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, one, 4)
    };
    assert_eq!(set, 0, "a packet socket can pass over what goes out");
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
