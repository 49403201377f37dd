//! What a firewall costs the packets that pass it: new connections, one stream, packets from blocked sources.
//!
//! `scripts/measure/packets.py` makes places to compare, each a network namespace with its rules and one with a client,
//! and runs this. One thread is client and server by turns, on one processor: whatever the kernel does about a packet on
//! its way through a pair of virtual interfaces it does within the call that sent it. So what is counted per second of the
//! thread's own processor time is what packets cost, whatever else the machine does meanwhile.
//!
//! Prints a line a turn: for each place, in the order named, how many per second. Places take turns of some
//! milliseconds; each goes first as often as last.

use clap::{Parser, Subcommand};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};
use std::error::Error;
use std::fs::{File, read_to_string};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many connections are open at once, and how many packets one call sends.
const BATCH: usize = 64;

/// The hardware addresses that `packets.py` gives each server and each client.
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

#[derive(Parser)]
struct Arguments {
    /// What `cargo bench` says to each bench: this one is run by scripts/bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// How long a place's turn lasts, in milliseconds of processor time.
    #[arg(long, default_value_t = 40)]
    millis: u64,
    /// How many turns each place has.
    #[arg(long, default_value_t = 25)]
    turns: usize,
    /// The address of every server.
    #[arg(long, default_value = "10.9.0.1")]
    server: Ipv4Addr,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Connections opened, accepted and reset, per second, to one port after another.
    Connect {
        #[arg(long, default_value_t = 20_000)]
        first: u16,
        #[arg(long, default_value_t = 1)]
        ports: u16,
        #[arg(required = true)]
        places: Vec<Place>,
    },
    /// Bytes of one stream, per second.
    Stream {
        #[arg(long, default_value_t = 20_000)]
        port: u16,
        #[arg(required = true)]
        places: Vec<Place>,
    },
    /// Packets that begin something, per second, from one address of a file after another.
    Flood {
        #[arg(long)]
        sources: PathBuf,
        #[arg(long)]
        port: u16,
        /// SYN segments instead of datagrams.
        #[arg(long)]
        tcp: bool,
        /// The port is one that a program has, which reads nothing.
        #[arg(long)]
        open: bool,
        #[arg(required = true)]
        places: Vec<Place>,
    },
}

/// `CLIENT:SERVER`: the processes that hold the two network namespaces.
#[derive(Clone)]
struct Place {
    client: Pid,
    server: Pid,
}

impl FromStr for Place {
    type Err = Box<dyn Error + Send + Sync>;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (client, server) = text.split_once(':').ok_or("a place is CLIENT:SERVER")?;
        Ok(Self { client: Pid::from_raw(client.parse()?), server: Pid::from_raw(server.parse()?) })
    }
}

/// Something that can be done over and over.
trait Load {
    /// Does it some times; how many.
    fn some(&mut self) -> Result<u64>;
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let server = arguments.server;
    let Some(what) = &arguments.what else {
        println!("packets: run by scripts/bench");
        return Ok(());
    };
    let mut cpu = CpuSet::new();
    cpu.set(0)?;
    sched_setaffinity(Pid::this(), &cpu)?;
    match what {
        What::Connect { first, ports, places } => {
            take_turns(&arguments, places, |place| Connections::new(place, server, *first, *ports))
        }
        What::Stream { port, places } => take_turns(&arguments, places, |place| Stream::new(place, server, *port)),
        What::Flood { sources, port, tcp, open, places } => {
            let sources: Vec<Ipv4Addr> =
                read_to_string(sources)?.lines().map(str::parse).collect::<std::result::Result<_, _>>()?;
            take_turns(&arguments, places, |place| Flood::new(place, &sources, (server, *port), *tcp, *open))
        }
    }
}

fn take_turns<L: Load>(arguments: &Arguments, places: &[Place], load: impl Fn(&Place) -> Result<L>) -> Result<()> {
    let mut loads = Vec::new();
    for place in places {
        loads.push((Namespace::of(place.client)?, load(place)?));
    }
    // The first turn warms caches and tables up.
    for turn in 0..=arguments.turns {
        let mut rates = vec![0.0; loads.len()];
        let mut order: Vec<usize> = (0..loads.len()).collect();
        if turn % 2 == 0 {
            order.reverse();
        }
        for place in order {
            let (client, load) = &mut loads[place];
            client.enter()?;
            let (mut done, begun) = (0, processor_time()?);
            let taken = loop {
                done += load.some()?;
                let taken = processor_time()? - begun;
                if taken >= Duration::from_millis(arguments.millis) {
                    break taken;
                }
            };
            rates[place] = done as f64 / taken.as_secs_f64();
        }
        if turn > 0 {
            println!("{}", rates.iter().map(|rate| format!("{rate:.1}")).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(())
}

/// What this thread has had of a processor, interrupts on its behalf included.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

struct Namespace(File);

impl Namespace {
    fn of(process: Pid) -> Result<Self> {
        Ok(Self(File::open(format!("/proc/{process}/ns/net"))?))
    }

    /// Sockets keep the namespace in which they were made, so one thread can have some in each.
    fn enter(&self) -> Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }
}

/// Connections to one listener after another.
struct Connections {
    server: Ipv4Addr,
    listeners: Vec<(u16, Socket)>,
    next: usize,
}

impl Connections {
    fn new(place: &Place, server: Ipv4Addr, first: u16, ports: u16) -> Result<Self> {
        Namespace::of(place.server)?.enter()?;
        let listeners = (first..first + ports).map(|port| Ok((port, listener(port)?))).collect::<Result<_>>()?;
        Ok(Self { server, listeners, next: 0 })
    }
}

impl Load for Connections {
    fn some(&mut self) -> Result<u64> {
        let mut open = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            let (port, listener) = &self.listeners[self.next];
            self.next = (self.next + 1) % self.listeners.len();
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            client.set_nonblocking(true)?;
            // Closed by a reset: no TIME_WAIT, at neither end.
            client.set_linger(Some(Duration::ZERO))?;
            match client.connect(&SocketAddrV4::new(self.server, *port).into()) {
                Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error.into()),
                _ => open.push((client, listener)),
            }
        }
        let mut served = Vec::with_capacity(BATCH);
        for (_, listener) in &open {
            served.push(listener.accept().map_err(|error| format!("a connection did not come: {error}"))?);
        }
        drop(open);
        Ok(served.len() as u64)
    }
}

/// Waits for a second at most.
fn listener(port: u16) -> Result<Socket> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    listener.listen(i32::try_from(BATCH)? * 2)?;
    listener.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(listener)
}

/// One stream from the client to the server.
struct Stream {
    client: Socket,
    server: Socket,
    data: Vec<u8>,
    buffer: Vec<u8>,
}

impl Stream {
    fn new(place: &Place, server: Ipv4Addr, port: u16) -> Result<Self> {
        Namespace::of(place.server)?.enter()?;
        let listener = listener(port)?;
        Namespace::of(place.client)?.enter()?;
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        client.connect(&SocketAddrV4::new(server, port).into())?;
        let server = listener.accept()?.0;
        for socket in [&client, &server] {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { client, server, data: vec![0; 1 << 18], buffer: vec![0; 1 << 18] })
    }
}

impl Load for Stream {
    fn some(&mut self) -> Result<u64> {
        let mut came = 0;
        unless_it_would_wait((&self.client).write(&self.data))?;
        while let Some(length) = unless_it_would_wait((&self.server).read(&mut self.buffer))? {
            came += length as u64;
        }
        Ok(came)
    }
}

fn unless_it_would_wait(done: std::io::Result<usize>) -> Result<Option<usize>> {
    match done {
        Ok(0) => Err("the stream has ended".into()),
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Packets as they are on the wire.
struct Flood {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
    next: usize,
    _receiver: Option<UdpSocket>,
}

impl Flood {
    fn new(place: &Place, sources: &[Ipv4Addr], to: (Ipv4Addr, u16), tcp: bool, open: bool) -> Result<Self> {
        Namespace::of(place.server)?.enter()?;
        let receiver = open.then(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, to.1))).transpose()?;
        Namespace::of(place.client)?.enter()?;
        let address: LinkAddr = getifaddrs()?
            .filter(|interface| interface.interface_name == "eth0")
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .ok_or("the client has no eth0")?;
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)?;
        bind(socket.as_raw_fd(), &address)?;
        let frames = (1_024..u16::MAX).zip(sources.iter().cycle().take(sources.len().next_multiple_of(BATCH)));
        let frames = frames.map(|(port, source)| frame(*source, port, to, tcp)).collect();
        Ok(Self { socket, frames, next: 0, _receiver: receiver })
    }
}

impl Load for Flood {
    fn some(&mut self) -> Result<u64> {
        let batch: Vec<[IoSlice<'_>; 1]> =
            self.frames[self.next..].iter().take(BATCH).map(|frame| [IoSlice::new(frame)]).collect();
        self.next = (self.next + batch.len()) % self.frames.len();
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(batch.len(), None);
        let nowhere = vec![None; batch.len()];
        let sent = sendmmsg(self.socket.as_raw_fd(), &mut headers, &batch, nowhere, [], MsgFlags::empty())?;
        Ok(sent.count() as u64)
    }
}

/// An Ethernet frame: a SYN, or a datagram of eight bytes.
fn frame(source: Ipv4Addr, source_port: u16, (server, port): (Ipv4Addr, u16), tcp: bool) -> Vec<u8> {
    let mut transport = [source_port.to_be_bytes(), port.to_be_bytes()].concat();
    let protocol = if tcp {
        transport.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
        let pseudo = [&source.octets()[..], &server.octets(), &[0, 6, 0, 20]].concat();
        let sum = checksum(&[&pseudo[..], &transport].concat());
        transport[16..18].copy_from_slice(&sum);
        6
    } else {
        // Without a checksum, as UDP over IPv4 may be.
        transport.extend([0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        17
    };
    let length = u16::try_from(20 + transport.len()).unwrap_or(u16::MAX);
    let mut header = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0x40, 0, 64, protocol, 0, 0]].concat();
    header.extend(source.octets());
    header.extend(server.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&SERVER_MAC[..], &CLIENT_MAC, &[8, 0], &header, &transport].concat()
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes.chunks_exact(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
