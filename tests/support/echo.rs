//! Listeners that send back what they get.

use super::namespace::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};

/// Listeners inside a namespace. They close when this is dropped.
pub struct Echo {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// Listens, and echoes, on these TCP and UDP addresses. When this returns, connections are taken.
    #[track_caller]
    pub fn listen(&self, tcp: &[SocketAddr], udp: &[SocketAddr]) -> Echo {
        let (listeners, sockets) = self.run(|| {
            let open = |kind, protocol| move |address: &SocketAddr| listener(*address, kind, protocol);
            let listeners: Vec<Socket> = tcp.iter().map(open(Type::STREAM, Protocol::TCP)).collect();
            let sockets: Vec<Socket> = udp.iter().map(open(Type::DGRAM, Protocol::UDP)).collect();
            (listeners, sockets)
        });
        let (stopped, stop) = pipe().expect("a pipe");
        let thread = thread::spawn(move || serve(&stopped, &listeners, &sockets));
        Echo { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn listener(address: SocketAddr, kind: Type, protocol: Protocol) -> Socket {
    let try_open = || {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        if kind == Type::STREAM {
            socket.listen(1024)?;
        }
        socket.set_nonblocking(true)?;
        std::io::Result::Ok(socket)
    };
    try_open().unwrap_or_else(|error| panic!("the lab can't listen on {address}: {error}"))
}

/// Echoes until the other end of `stopped` is closed.
fn serve(stopped: &PipeReader, listeners: &[Socket], sockets: &[Socket]) {
    let mut streams: Vec<TcpStream> = Vec::new();
    loop {
        let fds = std::iter::once(stopped.as_fd())
            .chain(listeners.iter().map(AsFd::as_fd))
            .chain(sockets.iter().map(AsFd::as_fd))
            .chain(streams.iter().map(AsFd::as_fd));
        let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready[0] {
            return;
        }
        let (of_listeners, rest) = ready[1..].split_at(listeners.len());
        let (of_sockets, of_streams) = rest.split_at(sockets.len());
        let mut of_streams = of_streams.iter();
        streams.retain_mut(|stream| !of_streams.next().is_some_and(|ready| *ready) || echo_stream(stream));
        for socket in sockets.iter().zip(of_sockets).filter_map(|(socket, ready)| ready.then_some(socket)) {
            echo_datagram(socket);
        }
        for listener in listeners.iter().zip(of_listeners).filter_map(|(socket, ready)| ready.then_some(socket)) {
            if let Ok((accepted, _)) = listener.accept() {
                accepted.set_nonblocking(true).expect("a socket can be made non-blocking");
                streams.push(accepted.into());
            }
        }
    }
}

/// Echoes what has come in; false when the stream is at its end.
fn echo_stream(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 512];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => stream.write_all(&buffer[..length]).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn echo_datagram(socket: &Socket) {
    let mut buffer = [MaybeUninit::uninit(); 512];
    // An ICMP error that waits on the socket comes out here too; the probe that caused it is gone.
    if let Ok((_, from)) = socket.recv_from(&mut buffer) {
        socket.send_to(b"echo", &from).ok();
    }
}
