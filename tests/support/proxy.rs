//! A stand-in for docker-proxy: it listens on the host and hands on what it gets over a connection of its own.

use super::namespace::Namespace;
use super::probe::{PATIENCE, Target};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, PipeReader, PipeWriter, copy, pipe};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Where it listens, with what transport, and whom it asks.
pub struct Route {
    pub target: Target,
    pub listen: SocketAddr,
    pub to: SocketAddr,
}

/// Proxies inside a namespace. They stop listening when this is dropped.
pub struct Proxy {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// When this returns, connections are taken.
    pub fn start(inside: &Namespace, routes: &[Route]) -> Self {
        let sockets: Vec<(Socket, SocketAddr)> =
            inside.run(|| routes.iter().map(|route| (bound(route), route.to)).collect());
        let (stopped, stop) = pipe().expect("a pipe");
        let inside = inside.clone();
        let thread = thread::spawn(move || {
            inside.enter();
            serve(&stopped, &sockets);
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn bound(route: &Route) -> Socket {
    let (kind, protocol) = match route.target {
        Target::Udp(_) => (Type::DGRAM, Protocol::UDP),
        _ => (Type::STREAM, Protocol::TCP),
    };
    let try_open = || {
        let socket = Socket::new(Domain::for_address(route.listen), kind, Some(protocol))?;
        if route.listen.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&route.listen.into())?;
        if kind == Type::STREAM {
            socket.listen(1024)?;
        }
        std::io::Result::Ok(socket)
    };
    let since = Instant::now();
    loop {
        match try_open() {
            Ok(socket) => return socket,
            // A program that another test starts holds what was open here from its fork to its exec.
            Err(error) if error.kind() == ErrorKind::AddrInUse && since.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("the proxy can't listen on {}: {error}", route.listen),
        }
    }
}

fn serve(stopped: &PipeReader, sockets: &[(Socket, SocketAddr)]) {
    loop {
        let fds = std::iter::once(stopped.as_fd()).chain(sockets.iter().map(|(socket, _)| socket.as_fd()));
        let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready[0] {
            return;
        }
        for ((socket, to), _) in sockets.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            if socket.r#type().is_ok_and(|kind| kind == Type::STREAM) {
                if let Ok((accepted, _)) = socket.accept() {
                    let to = *to;
                    thread::spawn(move || relay(&accepted.into(), to));
                }
            } else {
                relay_datagram(socket, *to);
            }
        }
    }
}

/// Copies both ways until both are at their end. A thread begins in the network namespace of the one that made it.
fn relay(near: &TcpStream, to: SocketAddr) {
    let Ok(far) = TcpStream::connect_timeout(&to, PATIENCE) else { return };
    let one_way = |mut from: &TcpStream, mut to: &TcpStream| {
        copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    };
    thread::scope(|scope| {
        scope.spawn(|| one_way(near, &far));
        one_way(&far, near);
    });
}

fn relay_datagram(near: &Socket, to: SocketAddr) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    let Ok((_, from)) = near.recv_from(&mut buffer) else { return };
    let ask = || {
        let any = if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { [0, 0, 0, 0].into() };
        let far = UdpSocket::bind(SocketAddr::new(any, 0))?;
        far.set_read_timeout(Some(PATIENCE))?;
        far.connect(to)?;
        far.send(b"echo")?;
        far.recv(&mut [0; 4])
    };
    if ask().is_ok() {
        near.send_to(b"echo", &from).ok();
    }
}
