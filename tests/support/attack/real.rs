//! What an attacker's real sockets get through, once a forged frame has prepared the way.

use crate::support::frame::{Frame, Payload, Shape};
use crate::support::frames::Written;
use crate::support::namespace::Namespace;
use crate::support::tap::Mac;
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// The port of the attacker outside.
pub const ATTACKER: u16 = 4444;

/// A packet in a frame, as a packet socket takes it.
pub fn frame(from: Mac, to: Mac, packet: Written) -> Vec<u8> {
    Frame { to, from, payload: Payload::Ip(packet, Shape::Whole) }.bytes([0; 8]).remove(0)
}

/// Has a stack say nothing to what the attacker never asked for: a refusal would end the connection that was forged.
pub fn hold_back_answers(outside: &Namespace) {
    outside.nft_load(&format!(
        "table inet attacker {{ chain input {{
            type filter hook input priority filter
            udp dport {ATTACKER} drop
            tcp dport {ATTACKER} tcp flags & (syn | ack) == syn drop
        }}; }}\n"
    ));
}

/// Whether a datagram comes through from one to the other.
pub fn datagram(from: (&Namespace, SocketAddr), to: (&Namespace, SocketAddr), wait: Duration) -> bool {
    let bound =
        |(inside, address): (&Namespace, SocketAddr)| inside.run(|| UdpSocket::bind(address).expect("a free port"));
    let (sender, receiver) = (bound(from), bound(to));
    receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("a time");
    let begun = Instant::now();
    while begun.elapsed() < wait {
        sender.send_to(b"in", to.1).ok();
        if receiver.recv(&mut [0; 8]).is_ok() {
            return true;
        }
    }
    false
}

/// Whether a TCP connection from that port to that one is made.
pub fn connects(from: (&Namespace, SocketAddr), to: (&Namespace, SocketAddr), wait: Duration) -> bool {
    let _listener = to.0.run(|| TcpListener::bind(to.1).expect("a free port"));
    from.0.run(|| {
        let socket = Socket::new(Domain::for_address(to.1), Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&from.1.into()).expect("its own port");
        // A connection that is reset leaves no trace that the next one from this port would meet.
        socket.set_linger(Some(Duration::ZERO)).expect("an option");
        match socket.connect_timeout(&to.1.into(), wait) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::TimedOut => false,
            Err(error) => panic!("{} can't connect to {}: {error}", from.1, to.1),
        }
    })
}
