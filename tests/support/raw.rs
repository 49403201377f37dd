//! nf_tables messages byte by byte, for what stock nft does not say and someone else's program may.

use super::namespace::Namespace;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::AsRawFd;

/// `NFT_MSG_NEWSETELEM` of the nf_tables subsystem.
pub const NEWSETELEM: u16 = 10 << 8 | 12;

/// An attribute, filled to a multiple of four bytes.
pub fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + payload.len()).expect("it is short");
    let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute of attributes.
pub fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &attributes.concat())
}

/// A name with the zero at its end.
pub fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, format!("{text}\0").as_bytes())
}

/// Sends one message in a batch of its own for the inet family, and gives the kernel's error number; 0 is success.
pub fn commit(inside: &Namespace, kind: u16, attributes: &[Vec<u8>]) -> i32 {
    const REQUEST: u16 = 1;
    const ACK_CREATE: u16 = 0x404;
    const SUBSYSTEM: u16 = 10;
    let batch = [
        message(16, REQUEST, [0, 0], SUBSYSTEM, &[]),
        message(kind, REQUEST | ACK_CREATE, [1, 0], 0, &attributes.concat()),
        message(17, REQUEST, [0, 0], SUBSYSTEM, &[]),
    ];
    inside.run(|| {
        let netfilter = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), netfilter).expect("a socket");
        send(socket.as_raw_fd(), &batch.concat(), MsgFlags::empty()).expect("the kernel listens");
        let mut answer = [0; 1024];
        recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("the kernel answers");
        -i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]])
    })
}

fn message(kind: u16, flags: u16, family_version: [u8; 2], resource: u16, attributes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(20 + attributes.len()).expect("it is short");
    let header = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat();
    [&header[..], &family_version, &resource.to_be_bytes(), attributes].concat()
}
