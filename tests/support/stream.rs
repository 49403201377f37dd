//! Downloads: servers that go on sending, whether or not anything comes back, and clients that only take.

use super::namespace::Namespace;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A server sends so often.
const TICK: Duration = Duration::from_millis(5);

/// Binds a socket. Who had the address before has closed theirs, but a program that another thread starts just then may
/// hold a copy until it runs.
fn bound<T>(bind: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    let begun = Instant::now();
    loop {
        match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < super::probe::PATIENCE => {
                thread::sleep(TICK);
            }
            result => return result,
        }
    }
}

/// Servers inside a namespace. They stop when this is dropped.
pub struct Downloads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Namespace {
    /// Sends without end to whoever connects to one of these, over TCP, or sends it a datagram, over UDP.
    #[track_caller]
    pub fn offer_downloads(&self, tcp: &[SocketAddr], udp: &[SocketAddr]) -> Downloads {
        let stop = Arc::new(AtomicBool::new(false));
        let listeners =
            self.run(|| tcp.iter().map(|at| bound(|| TcpListener::bind(at))).collect::<Result<Vec<_>, _>>());
        let sockets = self.run(|| udp.iter().map(|at| bound(|| UdpSocket::bind(at))).collect::<Result<Vec<_>, _>>());
        let mut threads = Vec::new();
        for listener in listeners.expect("the lab can listen") {
            listener.set_nonblocking(true).expect("a socket can be made non-blocking");
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || serve_tcp(&listener, &stop)));
        }
        for socket in sockets.expect("the lab can listen") {
            socket.set_nonblocking(true).expect("a socket can be made non-blocking");
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || serve_udp(&socket, &stop)));
        }
        Downloads { stop, threads }
    }

    /// Begins to take from a server over TCP, and has got something when this returns.
    #[track_caller]
    pub fn download(&self, from: std::net::IpAddr, server: SocketAddr) -> Download {
        use socket2::{Domain, Protocol, Socket, Type};
        let connected = self.run(|| {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            socket.connect_timeout(&server.into(), super::probe::PATIENCE)?;
            std::io::Result::Ok(TcpStream::from(socket))
        });
        let stream = connected.unwrap_or_else(|error| panic!("{from} can't connect to {server}: {error}"));
        let mut download = Download(Source::Tcp(stream));
        assert!(download.goes_on(), "nothing came from {server}");
        download
    }

    /// The same over UDP: asks once, and never sends again.
    #[track_caller]
    pub fn download_datagrams(&self, from: std::net::IpAddr, server: SocketAddr) -> Download {
        let asked = self.run(|| {
            let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
            socket.connect(server)?;
            socket.send(b"more")?;
            std::io::Result::Ok(socket)
        });
        let mut download = Download(Source::Udp(asked.expect("a datagram can be sent")));
        assert!(download.goes_on(), "nothing came from {server}");
        download
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn serve_tcp(listener: &TcpListener, stop: &AtomicBool) {
    let mut clients: Vec<TcpStream> = Vec::new();
    while !stop.load(Relaxed) {
        while let Ok((client, _)) = listener.accept() {
            client.set_nonblocking(true).expect("a socket can be made non-blocking");
            clients.push(client);
        }
        clients.retain_mut(|client| match client.write(&[b'x'; 512]) {
            Ok(_) => true,
            // Its buffer is full: the client takes nothing, or hears nothing.
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(TICK);
    }
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut clients: Vec<SocketAddr> = Vec::new();
    while !stop.load(Relaxed) {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 512]) {
            clients.push(from);
        }
        for client in &clients {
            // A firewall's refusal on this machine is an error here, and no reason to stop.
            socket.send_to(&[b'x'; 512], client).ok();
        }
        thread::sleep(TICK);
    }
}

/// A client's end of a download.
pub struct Download(Source);

enum Source {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl From<TcpStream> for Download {
    fn from(stream: TcpStream) -> Self {
        Self(Source::Tcp(stream))
    }
}

impl From<UdpSocket> for Download {
    fn from(socket: UdpSocket) -> Self {
        Self(Source::Udp(socket))
    }
}

impl Download {
    /// Whether something new comes, far more patiently than it ever takes.
    pub fn goes_on(&mut self) -> bool {
        while self.comes_within(Duration::from_millis(1)) {}
        self.comes_within(super::probe::PATIENCE)
    }

    /// Waits until nothing has come for a while, and tells how long things still came, or that they never stopped.
    pub fn stops_within(&mut self, limit: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let mut last = begun;
        while begun.elapsed() < limit + super::probe::SILENCE {
            if self.comes_within(Duration::from_millis(10)) {
                last = Instant::now();
            } else if last.elapsed() >= super::probe::SILENCE {
                break;
            }
        }
        match last - begun {
            taken if taken > limit => Err(format!("things still came after {taken:?}")),
            _ => Ok(()),
        }
    }

    /// Sends something, as an upload or a keepalive would.
    pub fn send(&mut self) {
        match &mut self.0 {
            Source::Tcp(stream) => stream.write_all(b"x").ok(),
            Source::Udp(socket) => socket.send(b"x").map(drop).ok(),
        };
    }

    /// Takes what comes within that time; false when nothing does.
    pub fn comes_within(&mut self, wait: Duration) -> bool {
        let mut buffer = [0; 65_536];
        let taken = match &mut self.0 {
            Source::Tcp(stream) => stream.set_read_timeout(Some(wait)).and_then(|()| stream.read(&mut buffer)),
            Source::Udp(socket) => socket.set_read_timeout(Some(wait)).and_then(|()| socket.recv(&mut buffer)),
        };
        taken.is_ok_and(|length| length > 0)
    }
}
