//! Asking an engine's name server.

use crate::support::namespace::Namespace;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The first IPv4 address of a container, asked by name inside of another, or nothing when no answer comes.
pub fn resolve(inside: &Namespace, server: IpAddr, name: &str) -> Option<Ipv4Addr> {
    // One question with recursion wanted: its name as labels, type A, class IN.
    let mut question = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    question.push(u8::try_from(name.len()).expect("a container's name is a short label"));
    question.extend(name.as_bytes());
    question.extend([0, 0, 1, 0, 1]);
    inside.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(1500))).ok()?;
        socket.send_to(&question, SocketAddr::new(server, 53)).ok()?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).ok()?;
        // The first record's data: behind the question, a pointer to the name and ten bytes of header.
        let data = answer[..length].get(question.len() + 12..)?;
        Some(Ipv4Addr::new(*data.first()?, *data.get(1)?, *data.get(2)?, *data.get(3)?))
    })
}
