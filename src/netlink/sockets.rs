//! The sockets on which this machine can be reached (`sock_diag`).
//!
//! `/proc/net/tcp6` does not tell whether a socket takes IPv4 too, nor by which interface alone it is reached, and lists
//! every connection beside.

use super::attr::{Fields, Message};
use super::channel::{Channel, End};
use super::error::NetlinkError;
use super::route::Routing;
use super::uapi::{diag, flag};
use super::write::Writer;
use crate::simulate::protocol;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What asking for them is called in errors.
const DOING: &str = "the list of listening sockets";
/// How often they are asked for when the list changes meanwhile; the last is taken as it is.
const ATTEMPTS: u32 = 5;

/// A socket that takes connections, or datagrams from anyone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListeningSocket {
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// The port.
    pub port: u16,
    /// The address that it is bound to; unspecified for all of this machine's.
    pub address: IpAddr,
    /// Whether it is bound to all addresses of IPv6 and takes IPv4 as well.
    pub both: bool,
    /// The interface that it is bound to; `None` for all of them.
    pub interface: Option<String>,
    /// Its inode, by which processes hold it; 0 for one of the kernel's own.
    pub inode: u64,
}

/// All of them, of the network namespace of the calling thread. It takes no capability.
///
/// # Errors
///
/// What the system calls say; [`NetlinkError::Refused`] with `ENOENT` where the kernel has no `inet_diag`.
pub fn listening_sockets() -> Result<Vec<ListeningSocket>, NetlinkError> {
    let channel = Channel::open(mnl::Bus::SockDiag)?;
    let mut found = Vec::new();
    for protocol in [protocol::TCP, protocol::UDP] {
        for family in [diag::AF_INET, diag::AF_INET6] {
            found.extend(dump(&channel, protocol, family)?);
        }
    }
    let routing = Routing::open()?;
    let mut names: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let mut sockets = Vec::new();
    for (mut socket, index) in found {
        if index != 0 {
            let name = match names.get(&index) {
                Some(name) => name.clone(),
                None => names.entry(index).or_insert(routing.interface_name(index)?).clone(),
            };
            // On an interface that is gone nobody reaches it.
            let Some(name) = name else { continue };
            socket.interface = Some(name);
        }
        sockets.push(socket);
    }
    sockets.sort();
    Ok(sockets)
}

fn dump(channel: &Channel, protocol: u8, family: u8) -> Result<Vec<(ListeningSocket, u32)>, NetlinkError> {
    // A UDP socket that is not connected is closed, as the kernel calls it.
    let states = 1 << if protocol == protocol::TCP { diag::LISTEN } else { diag::CLOSE };
    for attempt in 1.. {
        let mut found = Vec::new();
        let end = channel.request(
            DOING,
            true,
            |bytes, seq| write_request(bytes, seq, family, protocol, states),
            |message| {
                found.extend(read(message, protocol)?);
                Some(())
            },
        )?;
        if end == End::Complete || attempt >= ATTEMPTS {
            return Ok(found);
        }
    }
    Err(NetlinkError::Refused { doing: DOING, errno: Errno::EBUSY })
}

fn write_request(bytes: &mut Vec<u8>, seq: u32, family: u8, protocol: u8, states: u32) {
    let mut head = [0; diag::REQUEST];
    head[0] = family;
    head[1] = protocol;
    head[4..8].copy_from_slice(&states.to_ne_bytes());
    Writer::message(bytes, diag::BY_FAMILY, flag::DUMP, seq, &head).finish();
}

/// A socket and the index of its interface; `None` inside for one without a port, which hears nobody.
fn read(message: &Message<'_>, protocol: u8) -> Option<Option<(ListeningSocket, u32)>> {
    if message.kind != diag::BY_FAMILY {
        return None;
    }
    let head = message.payload.get(..diag::ANSWER)?;
    let fields = Fields::<{ diag::END }>::read(message.payload.get(diag::ANSWER..)?)?;
    let word = |at: usize| head.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
    let port = head.get(diag::PORT..)?.first_chunk().copied().map(u16::from_be_bytes)?;
    let address = match *head.first()? {
        diag::AF_INET => IpAddr::from(Ipv4Addr::from(*head.get(diag::ADDRESS..)?.first_chunk::<4>()?)),
        _ => IpAddr::from(Ipv6Addr::from(*head.get(diag::ADDRESS..)?.first_chunk::<16>()?)),
    };
    let only_six = fields.u8(diag::ONLY_SIX).is_some_and(|only| only != 0);
    let both = address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !only_six;
    let inode = u64::from(word(diag::INODE)?);
    let socket = ListeningSocket { protocol, port, address: address.to_canonical(), both, interface: None, inode };
    Some((port != 0).then_some((socket, word(diag::INTERFACE)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Messages;
    use proptest::prelude::*;

    fn answer(family: u8, address: &[u8], only_six: u8) -> Vec<u8> {
        let mut head = [0; diag::ANSWER];
        head[0] = family;
        head[diag::PORT..diag::PORT + 2].copy_from_slice(&9000_u16.to_be_bytes());
        head[diag::ADDRESS..diag::ADDRESS + address.len()].copy_from_slice(address);
        head[diag::INTERFACE..diag::INTERFACE + 4].copy_from_slice(&7_u32.to_ne_bytes());
        head[diag::INODE..diag::INODE + 4].copy_from_slice(&42_u32.to_ne_bytes());
        let mut bytes = Vec::new();
        let mut writer = Writer::message(&mut bytes, diag::BY_FAMILY, 0, 1, &head);
        writer.bytes(diag::ONLY_SIX, &[only_six]);
        writer.finish();
        bytes
    }

    fn read_all(bytes: &[u8]) -> Vec<(ListeningSocket, u32)> {
        Messages::new(bytes).filter_map(|message| read(&message, protocol::TCP).flatten()).collect()
    }

    #[test]
    fn a_socket_is_read_with_the_families_that_it_takes() {
        let socket = |address: &str, both| ListeningSocket {
            protocol: protocol::TCP,
            port: 9000,
            address: address.parse().expect("an address"),
            both,
            interface: None,
            inode: 42,
        };

        assert_eq!(read_all(&answer(diag::AF_INET, &[192, 0, 2, 1], 0)), [(socket("192.0.2.1", false), 7)]);
        assert_eq!(read_all(&answer(diag::AF_INET6, &[0; 16], 0)), [(socket("::", true), 7)]);
        assert_eq!(read_all(&answer(diag::AF_INET6, &[0; 16], 1)), [(socket("::", false), 7)]);
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
        assert_eq!(read_all(&answer(diag::AF_INET6, &mapped, 0)), [(socket("192.0.2.1", false), 7)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            let mut message = Vec::new();
            Writer::message(&mut message, diag::BY_FAMILY, 0, 0, &bytes).finish();
            let _ = (read_all(&bytes), read_all(&message));
        }
    }
}
