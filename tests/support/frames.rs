//! IP packets byte by byte, as nobody's kernel would send them.
#![allow(dead_code)]

use palisade::net::protocol;
use std::net::IpAddr;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// What stands behind the IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
        seq: u32,
        ack: u32,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    /// With an INIT chunk.
    Sctp {
        source: u16,
        destination: u16,
    },
    /// With an identifier where the type has one.
    Icmp {
        kind: u8,
        code: u8,
        identifier: u16,
    },
    /// An ICMP message from the four bytes behind its checksum on: an error about a packet, for one.
    Message {
        kind: u8,
        code: u8,
        rest: Vec<u8>,
    },
    /// Of another IP protocol.
    Other(u8),
}

/// A packet as its sender writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
    /// The user whose socket sends it, if the host does.
    pub user: u32,
    pub body: Body,
}

impl Written {
    /// Whether it comes from where the other goes, by the other's ports: with the source translated, it would answer it.
    pub fn answers(&self, other: &Self) -> bool {
        let ports = |body: &Body| match body {
            Body::Tcp { source, destination, .. } => Some((protocol::TCP, *source, *destination)),
            Body::Udp { source, destination } => Some((protocol::UDP, *source, *destination)),
            Body::Sctp { source, destination } => Some((protocol::SCTP, *source, *destination)),
            Body::Icmp { .. } | Body::Message { .. } | Body::Other(_) => None,
        };
        let turned = ports(&other.body).map(|(number, source, destination)| (number, destination, source));
        self.source == other.destination && turned.is_some() && ports(&self.body) == turned
    }

    pub fn new(source: IpAddr, destination: IpAddr, body: Body) -> Self {
        Self { source, destination, hop_limit: 64, user: 0, body }
    }

    pub fn protocol(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => protocol::TCP,
            Body::Udp { .. } => protocol::UDP,
            Body::Sctp { .. } => protocol::SCTP,
            Body::Icmp { .. } | Body::Message { .. } if self.source.is_ipv4() => protocol::ICMP,
            Body::Icmp { .. } | Body::Message { .. } => protocol::ICMPV6,
            Body::Other(number) => number,
        }
    }

    /// The packet from its IP header on, with this at its end.
    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let transport = self.transport(payload);
        let length = u16::try_from(transport.len()).expect("it is short");
        let mut bytes = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend([0x45, 0]);
                bytes.extend((length + 20).to_be_bytes());
                // An identification of zero would have the kernel choose another for what the host sends.
                bytes.extend([0, 1, 0, 0, self.hop_limit, self.protocol(), 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                let sum = checksum(&bytes);
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend([self.protocol(), self.hop_limit]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
            }
            _ => panic!("{} and {} are of two families", self.source, self.destination),
        }
        bytes.extend(transport);
        bytes
    }

    fn transport(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.body {
            Body::Tcp { source, destination, flags, seq, ack } => {
                bytes.extend([source.to_be_bytes(), destination.to_be_bytes()].concat());
                bytes.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
                bytes.extend([0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                bytes.extend(payload);
                self.sum_into(&mut bytes, 16);
            }
            Body::Udp { source, destination } => {
                let length = u16::try_from(8 + payload.len()).expect("it is short");
                bytes
                    .extend([source.to_be_bytes(), destination.to_be_bytes(), length.to_be_bytes(), [0; 2]].concat());
                bytes.extend(payload);
                self.sum_into(&mut bytes, 6);
            }
            Body::Sctp { source, destination } => {
                bytes.extend([source.to_be_bytes(), destination.to_be_bytes()].concat());
                bytes.extend([0; 8]);
                // INIT: tag, window, streams out and in, first number, and a parameter that peers report and skip.
                let length = u16::try_from(24 + payload.len()).expect("it is short");
                let parameter = u16::try_from(4 + payload.len()).expect("it is short");
                bytes.extend([1, 0, length.to_be_bytes()[0], length.to_be_bytes()[1]]);
                bytes.extend([1, 2, 3, 4, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
                bytes.extend([0xc0, 0x77, parameter.to_be_bytes()[0], parameter.to_be_bytes()[1]]);
                bytes.extend(payload);
                let sum = crc32c(&bytes);
                bytes[8..12].copy_from_slice(&sum.to_le_bytes());
            }
            Body::Icmp { kind, code, identifier } => {
                bytes.extend([*kind, *code, 0, 0]);
                // The fields of neighbour discovery that are reserved are clear.
                let neighbours = self.source.is_ipv6() && (130..=136).contains(kind);
                let identifier = if neighbours { 0 } else { *identifier };
                bytes.extend([identifier.to_be_bytes(), [0, u8::from(!neighbours)]].concat());
                if neighbours && let IpAddr::V6(destination) = self.destination {
                    bytes.extend(destination.octets());
                }
                bytes.extend(payload);
                self.sum_into(&mut bytes, 2);
            }
            Body::Message { kind, code, rest } => {
                bytes.extend([*kind, *code, 0, 0]);
                bytes.extend(rest);
                bytes.extend(payload);
                self.sum_into(&mut bytes, 2);
            }
            Body::Other(_) => {
                bytes.extend([0; 8]);
                bytes.extend(payload);
                // The kernel refuses nothing aloud whose sum is wrong, of whatever protocol it is.
                self.sum_into(&mut bytes, 2);
            }
        }
        bytes
    }

    /// Writes the checksum of a header that has zeros in its place.
    fn sum_into(&self, bytes: &mut [u8], at: usize) {
        let length = u32::try_from(bytes.len()).expect("it is short");
        let pseudo = match (self.source, self.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) if ![protocol::TCP, protocol::UDP].contains(&self.protocol()) => {
                Vec::new()
            }
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = length.to_be_bytes();
                [&source.octets()[..], &destination.octets(), &[0, self.protocol()], &length[2..]].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let end = [0, 0, 0, self.protocol()];
                [&source.octets()[..], &destination.octets(), &length.to_be_bytes(), &end].concat()
            }
            _ => Vec::new(),
        };
        let sum = checksum(&[&pseudo[..], bytes].concat());
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded")
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
