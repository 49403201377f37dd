//! Ethernet frames byte by byte, with IP packets cut and dressed as senders with ill intent cut and dress them.
#![allow(dead_code)]

use super::frames::{Written, checksum};
use super::tap::Mac;
use palisade::net::protocol;
use std::net::IpAddr;

pub const BROADCAST: Mac = [0xff; 6];

/// A frame without what tells it from the others, which stands at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub to: Mac,
    pub from: Mac,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Ip(Written, Shape),
    /// A question for the link address of `target`, or, with an operation of 2, an answer.
    Arp {
        operation: u8,
        sender: [u8; 4],
        target: [u8; 4],
    },
}

/// What is done to an IP packet before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    /// With these bytes behind the transport's header, and nothing that tells it from others.
    Saying(Vec<u8>),
    /// With options of IPv4, filled to four bytes, or IPv6 extension headers of these numbers, each of eight bytes.
    Options(Vec<u8>),
    /// In fragments with so many bytes each, a multiple of eight.
    Fragments(usize),
    /// The same, with the last fragment first.
    Backwards(usize),
}

impl Frame {
    /// The IP packet in it.
    #[track_caller]
    pub fn packet(&self) -> &Written {
        match &self.payload {
            Payload::Ip(packet, _) => packet,
            Payload::Arp { .. } => panic!("ARP has no IP packet"),
        }
    }

    /// The frames that carry it, in the order in which they are sent, with this at the packet's end.
    pub fn bytes(&self, cookie: [u8; 8]) -> Vec<Vec<u8>> {
        let (kind, packets): (u16, Vec<Vec<u8>>) = match &self.payload {
            Payload::Ip(packet, shape) => {
                let kind = if packet.source.is_ipv4() { 0x0800 } else { 0x86dd };
                (kind, shape.of(packet.bytes(&shape.payload(packet, cookie)), cookie))
            }
            Payload::Arp { operation, sender, target } => {
                let head = [0, 1, 8, 0, 6, 4, 0, *operation];
                let ends = [&self.from[..], sender, &[0; 6], target].concat();
                (0x0806, vec![[&head[..], &ends, &[0; 10], &cookie].concat()])
            }
        };
        packets.into_iter().map(|packet| [&self.to[..], &self.from, &kind.to_be_bytes(), &packet].concat()).collect()
    }
}

impl Shape {
    /// What stands behind the transport's header: in fragments, so much that the last eight bytes are within one.
    fn payload(&self, packet: &Written, cookie: [u8; 8]) -> Vec<u8> {
        let filling: &[u8] = match self {
            Self::Saying(bytes) => return bytes.clone(),
            Self::Whole | Self::Options(_) => &[],
            Self::Fragments(_) | Self::Backwards(_) if packet.protocol() == protocol::TCP => &[0; 20],
            Self::Fragments(_) | Self::Backwards(_) => &[0; 16],
        };
        [filling, &cookie].concat()
    }

    fn of(&self, packet: Vec<u8>, cookie: [u8; 8]) -> Vec<Vec<u8>> {
        let is_v4 = packet[0] >> 4 == 4;
        match self {
            Self::Whole | Self::Saying(_) => vec![packet],
            Self::Options(options) if is_v4 => vec![with_options(&packet, options)],
            Self::Options(numbers) => vec![with_extensions(&packet, numbers)],
            Self::Fragments(size) => fragments(&packet, *size, cookie),
            Self::Backwards(size) => fragments(&packet, *size, cookie).into_iter().rev().collect(),
        }
    }
}

fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut bytes = packet[..20].to_vec();
    bytes.extend(options);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[0] = 0x40 | u8::try_from(bytes.len() / 4).expect("sixty bytes at most");
    let header = bytes.len();
    bytes.extend(&packet[20..]);
    sum_v4(&mut bytes, header);
    bytes
}

/// Each header is filled with a padding option of four bytes, but a fragment header and a routing header, which have
/// nothing left to do.
fn with_extensions(packet: &[u8], numbers: &[u8]) -> Vec<u8> {
    const FRAGMENT: u8 = 44;
    const ROUTING: u8 = 43;
    let last = packet[6];
    let mut bytes = packet[..40].to_vec();
    for (index, number) in numbers.iter().enumerate() {
        let next = *numbers.get(index + 1).unwrap_or(&last);
        bytes.extend(match *number {
            FRAGMENT => [next, 0, 0, 0, 0, 0, 0, 1],
            ROUTING => [next, 0, 4, 0, 0, 0, 0, 0],
            // Whoever speaks of multicast groups alerts routers.
            0 => [next, 0, 5, 2, 0, 0, 1, 0],
            _ => [next, 0, 1, 4, 0, 0, 0, 0],
        });
    }
    bytes[6] = *numbers.first().unwrap_or(&last);
    bytes.extend(&packet[40..]);
    length_v6(&mut bytes);
    bytes
}

fn fragments(packet: &[u8], size: usize, cookie: [u8; 8]) -> Vec<Vec<u8>> {
    assert!(size.is_multiple_of(8), "a fragment begins at a multiple of eight bytes");
    let is_v4 = packet[0] >> 4 == 4;
    let (header, body) = packet.split_at(if is_v4 { 20 } else { 40 });
    let count = body.len().div_ceil(size);
    let fragment = |(index, piece): (usize, &[u8])| {
        let at = u16::try_from(index * size).expect("it is short");
        let more = index + 1 < count;
        let mut bytes = header.to_vec();
        if is_v4 {
            bytes[4..6].copy_from_slice(&cookie[6..]);
            bytes[6..8].copy_from_slice(&((at / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
        } else {
            let place = (at | u16::from(more)).to_be_bytes();
            bytes[6] = 44;
            bytes.extend([header[6], 0, place[0], place[1]]);
            bytes.extend(&cookie[4..]);
        }
        bytes.extend(piece);
        if is_v4 {
            sum_v4(&mut bytes, 20)
        } else {
            length_v6(&mut bytes)
        }
        bytes
    };
    body.chunks(size).enumerate().map(fragment).collect()
}

/// Writes the length and the checksum of an IPv4 packet whose header has so many bytes.
fn sum_v4(bytes: &mut [u8], header: usize) {
    let length = u16::try_from(bytes.len()).expect("it is short");
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(&bytes[..header]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn length_v6(bytes: &mut [u8]) {
    let length = u16::try_from(bytes.len() - 40).expect("it is short");
    bytes[4..6].copy_from_slice(&length.to_be_bytes());
}

/// What an ICMP error says of a packet: the packet as it was sent, behind the four bytes that the error's type has
/// there (an MTU, or a router).
pub fn about(packet: &Written, field: [u8; 4]) -> Vec<u8> {
    let limit = if packet.protocol() == protocol::TCP { 20 } else { 8 };
    let header = if packet.source.is_ipv4() { 20 } else { 40 };
    [&field[..], &packet.bytes(&[0; 8])[..header + limit]].concat()
}

/// The link address of a multicast group.
pub fn mac_of_group(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let octets = group.octets();
            [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]
        }
    }
}
