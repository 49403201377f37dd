//! Packets of the stage: who sends what to whom, as one line each.

use super::Step;
use super::who::{Place, Who};
use crate::support::frame::{BROADCAST, Frame, Payload, Shape, mac_of_group};
use crate::support::frames::{ACK, Body, SYN, Written};
use crate::support::tap::Mac;
use std::net::IpAddr;

/// What is spoken above IP, where a packet has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    Tcp,
    Udp,
    Ping,
    /// Of a protocol that connection tracking knows no ports of.
    Esp,
}

impl Speech {
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Ping, Self::Esp];
    pub const PORTS: [Self; 2] = [Self::Tcp, Self::Udp];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Ping => "ping",
            Self::Esp => "ESP",
        }
    }

    /// The first packet of a connection, from port to port.
    pub fn first(self, from: (IpAddr, u16), to: (IpAddr, u16)) -> Written {
        let body = match self {
            Self::Tcp => Body::Tcp { source: from.1, destination: to.1, flags: SYN, seq: 1, ack: 0 },
            Self::Udp => Body::Udp { source: from.1, destination: to.1 },
            Self::Ping => Body::Icmp { kind: if from.0.is_ipv4() { 8 } else { 128 }, code: 0, identifier: from.1 },
            Self::Esp => Body::Other(50),
        };
        Written::new(from.0, to.0, body)
    }

    /// The answer to a packet.
    pub fn answer(self, to: &Written) -> Written {
        let body = match to.body.clone() {
            // The acknowledged number is behind the SYN and the eight bytes that it carried.
            Body::Tcp { source, destination, seq, .. } => {
                Body::Tcp { source: destination, destination: source, flags: SYN | ACK, seq: 1, ack: seq + 1 }
            }
            Body::Udp { source, destination } => Body::Udp { source: destination, destination: source },
            Body::Icmp { kind, identifier, .. } => {
                Body::Icmp { kind: if kind == 8 { 0 } else { 129 }, code: 0, identifier }
            }
            other => other,
        };
        Written::new(to.destination, to.source, body)
    }
}

pub fn tcp(flags: u8, from: (IpAddr, u16), to: (IpAddr, u16)) -> Written {
    let ack = if flags & ACK == 0 { 0 } else { 1 };
    Written::new(from.0, to.0, Body::Tcp { source: from.1, destination: to.1, flags, seq: 1, ack })
}

pub fn message(from: IpAddr, to: IpAddr, kind: u8, code: u8, rest: Vec<u8>) -> Written {
    Written::new(from, to, Body::Message { kind, code, rest })
}

/// Neighbour discovery, which the hop limit shows to come from a neighbour.
pub fn discovery(from: IpAddr, to: IpAddr, kind: u8, rest: Vec<u8>) -> Written {
    Written { hop_limit: 255, ..message(from, to, kind, 0, rest) }
}

/// A packet as `who` sends it to the link address that leads to its destination: a group's, everybody's, or the host's.
pub fn send(who: Who, packet: Written) -> Step {
    let to = link_of(packet.destination).unwrap_or(who.place.host().mac);
    send_to(who, to, packet)
}

/// A packet in a frame to that link address.
pub fn send_to(who: Who, to: Mac, packet: Written) -> Step {
    let frame = Frame { to, from: who.mac, payload: Payload::Ip(packet, Shape::Whole) };
    Step { from: who.place, frame }
}

/// A packet of the host's own.
pub fn host_sends(packet: Written) -> Step {
    let frame = Frame { to: BROADCAST, from: BROADCAST, payload: Payload::Ip(packet, Shape::Whole) };
    Step { from: Place::Host, frame }
}

impl Step {
    pub fn shaped(mut self, shape: Shape) -> Self {
        if let Payload::Ip(_, of) = &mut self.frame.payload {
            *of = shape;
        }
        self
    }
}

fn link_of(destination: IpAddr) -> Option<Mac> {
    let everybody = match destination {
        IpAddr::V4(address) => address.is_broadcast() || address.octets() == [203, 0, 113, 255],
        IpAddr::V6(_) => false,
    };
    if everybody { Some(BROADCAST) } else { destination.is_multicast().then(|| mac_of_group(destination)) }
}
