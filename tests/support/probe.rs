//! What a peer sees when it tries to get through.

use super::namespace::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a probe that should be let through may take: far longer than it ever does.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long silence must last to count as a denial. An open path answers within a millisecond, and TCP sends its
/// first packet again only after a second.
pub const SILENCE: Duration = Duration::from_millis(400);
/// How many times data goes there and comes back over TCP: what one packet leaves behind may stop a later one.
const ROUND_TRIPS: usize = 5;
/// When a probe that waits longer is sent again.
const A_SECOND: Duration = Duration::from_secs(1);

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Tcp(u16),
    Udp(u16),
    /// An echo request.
    Ping,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "{port}/tcp"),
            Self::Udp(port) => write!(f, "{port}/udp"),
            Self::Ping => f.write_str("ping"),
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Data went there and came back, over TCP several times.
    Connected,
    /// Nothing came back.
    TimedOut,
    /// The other side refused: a TCP reset, or an ICMP port unreachable.
    Refused,
    /// Another ICMP error, "administratively prohibited" among them.
    Unreachable,
    /// The sender's own machine did not let it out.
    NotPermitted,
}

impl Namespace {
    /// Tries from one of its addresses, and waits for an answer so long.
    #[track_caller]
    pub fn probe(&self, target: Target, from: IpAddr, to: IpAddr, wait: Duration) -> Outcome {
        self.run(|| probe_here(self, target, from, to, wait))
    }

    /// A TCP connection over which data has gone both ways, or why there is none.
    pub fn connect(&self, from: IpAddr, to: SocketAddr, wait: Duration) -> Result<TcpStream, Outcome> {
        self.run(|| connect_here(from, to, wait)).map_err(outcome)
    }
}

/// The address that a server sees a connection come from, which is opened to `to`; `None` if the server does not see it:
/// nobody answers, or somebody else.
pub fn seen_from(
    (opener, from): (&Namespace, IpAddr),
    to: SocketAddr,
    (server, at): (&Namespace, SocketAddr),
) -> Option<IpAddr> {
    let listener = server.run(|| listen_when_free(at));
    let opened = opener.run(|| open_from(SocketAddr::new(from, 0), to, PATIENCE));
    let _stream = opened.map_err(outcome).ok()?;
    // The opener has its handshake. If it was with this server, its last packet is on its way here.
    let wait = PollTimeout::try_from(PATIENCE).expect("a few seconds");
    let waits =
        poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], wait).expect("a listener can be polled");
    (waits > 0).then(|| listener.accept().expect("a connection waits").1.ip())
}

/// Listens as soon as nobody else does: whoever asked the same server before may still be about to close.
fn listen_when_free(at: SocketAddr) -> TcpListener {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(at) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            bound => return bound.expect("the server has the address"),
        }
    }
}

/// Whether data still goes over a connection and comes back.
pub fn talks(stream: &mut TcpStream, wait: Duration) -> bool {
    stream.set_read_timeout(Some(wait)).is_ok() && round_trip(stream).is_ok()
}

/// [`Namespace::probe`] on a thread that is inside already.
pub fn probe_here(inside: &Namespace, target: Target, from: IpAddr, to: IpAddr, wait: Duration) -> Outcome {
    probe_from(inside, target, SocketAddr::new(from, 0), to, wait)
}

/// [`probe_here`] from a port.
pub fn probe_from(inside: &Namespace, target: Target, from: SocketAddr, to: IpAddr, wait: Duration) -> Outcome {
    let done = match target {
        Target::Tcp(port) => connect_from(from, SocketAddr::new(to, port), wait).map(drop),
        Target::Udp(port) => datagram_from(from, SocketAddr::new(to, port), wait),
        Target::Ping => return ping(inside, from.ip(), to, wait),
    };
    done.map_or_else(outcome, |()| Outcome::Connected)
}

fn connect_here(from: IpAddr, to: SocketAddr, wait: Duration) -> io::Result<TcpStream> {
    connect_from(SocketAddr::new(from, 0), to, wait)
}

fn open_from(from: SocketAddr, to: SocketAddr, wait: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if from.port() != 0 {
        // The next probe may come from the same port.
        socket.set_reuse_address(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
    }
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), wait)?;
    Ok(socket.into())
}

fn connect_from(from: SocketAddr, to: SocketAddr, wait: Duration) -> io::Result<TcpStream> {
    let mut stream = open_from(from, to, wait)?;
    stream.set_read_timeout(Some(wait))?;
    round_trip(&mut stream)?;
    // Some servers answer once, and end the connection.
    let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    for _ in 1..ROUND_TRIPS {
        match round_trip(&mut stream) {
            Err(error) if ended.contains(&error.kind()) => break,
            result => result?,
        }
    }
    Ok(stream)
}

fn round_trip(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"echo")?;
    stream.read_exact(&mut [0; 4])
}

/// What comes of one question after the other from one socket, each within its wait, up to the first without an answer.
pub fn questions_from(from: SocketAddr, to: SocketAddr, waits: &[Duration]) -> Outcome {
    let asked = open_datagrams(from, to).and_then(|socket| waits.iter().try_for_each(|wait| asks(&socket, *wait)));
    asked.map_or_else(outcome, |()| Outcome::Connected)
}

fn datagram_from(from: SocketAddr, to: SocketAddr, wait: Duration) -> io::Result<()> {
    asks(&open_datagrams(from, to)?, wait)
}

fn open_datagrams(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    Ok(socket)
}

/// Sends again until an answer comes. In a wait no longer than that of silence there is no second try.
fn asks(socket: &UdpSocket, wait: Duration) -> io::Result<()> {
    let begun = Instant::now();
    let again = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
    loop {
        let left = wait.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left.min(A_SECOND)))?;
        socket.send(b"echo")?;
        match socket.recv(&mut [0; 4]) {
            // A receive that has a timeout is not begun again after a signal (signal(7)).
            Err(error) if again.contains(&error.kind()) && begun.elapsed() < wait => {}
            done => return done.map(drop),
        }
    }
}

fn ping(inside: &Namespace, from: IpAddr, to: IpAddr, wait: Duration) -> Outcome {
    let mut command = inside.command("ping");
    command.args(["-n", "-q", "-c", "1", "-W", &wait.as_secs_f32().to_string()]);
    if wait > A_SECOND {
        // It then sends each second, until an answer comes.
        command.args(["-w", &wait.as_secs().to_string()]);
    }
    command.args(["-I", &from.to_string(), &to.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status().expect("nsenter is installed").code() {
        Some(0) => Outcome::Connected,
        Some(1) => Outcome::TimedOut,
        other => panic!("ping from {from} to {to} could not be tried: exit status {other:?}"),
    }
}

fn outcome(error: io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Outcome::TimedOut,
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Outcome::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Outcome::Unreachable,
        // ICMPv6 "administratively prohibited" arrives as EACCES, a local drop as EPERM.
        ErrorKind::PermissionDenied if error.raw_os_error() == Some(nix::libc::EACCES) => Outcome::Unreachable,
        ErrorKind::PermissionDenied => Outcome::NotPermitted,
        _ => panic!("the probe itself failed: {error}"),
    }
}
