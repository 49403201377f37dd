//! The sockets that this machine can be reached on, and the connected ones (`sock_diag`).
//!
//! `/proc/net/tcp6` shows neither whether a socket takes IPv4, too, nor the interface that it is bound to, and is
//! several times as slow: the kernel walks the table of connections line by line.

use super::routing::route::Routing;
use super::wire::attr::{Fields, Message};
use super::wire::channel::{Channel, End};
use super::wire::error::NetlinkError;
use super::wire::uapi::{diag, flag};
use super::wire::write::Writer;
use crate::net;
use crate::net::{Version, protocol};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The name of the request in errors.
const DOING: &str = "the list of sockets";
/// How often the list is read if it changes meanwhile; the last result is used as it is.
const ATTEMPTS: u32 = 5;

/// A socket that accepts connections, or datagrams from anyone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListeningSocket {
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// The port.
    pub port: u16,
    /// The address that it is bound to; unspecified for all of this machine's addresses.
    pub address: IpAddr,
    /// Whether it is bound to all IPv6 addresses and takes IPv4 as well.
    pub both: bool,
    /// The interface that it is bound to; `None` if it is not bound to one.
    pub interface: Option<String>,
    /// Its inode, which identifies the processes that hold it; 0 for a socket of the kernel.
    pub inode: u64,
}

impl ListeningSocket {
    /// Whether it receives what comes in for an address and a port by an interface; `None` stands for any.
    #[must_use]
    pub fn receives(&self, (protocol, port): (u8, u16), address: IpAddr, interface: Option<&str>) -> bool {
        let takes = self.address == address
            || self.address.is_unspecified() && (self.both || self.address.is_ipv6() == address.is_ipv6());
        let by = self.interface.as_deref().is_none_or(|own| interface.is_none_or(|name| own == name));
        (self.protocol, self.port) == (protocol, port) && takes && by
    }
}

/// All listening sockets in the network namespace of the calling thread. Needs no capability.
///
/// # Errors
///
/// The error of the system call; [`NetlinkError::Refused`] with `ENOENT` if the kernel has no `inet_diag`.
pub fn listening_sockets() -> Result<Vec<ListeningSocket>, NetlinkError> {
    let channel = Channel::open(mnl::Bus::SockDiag)?;
    let mut found = Vec::new();
    // The kernel calls an unconnected UDP socket closed.
    for (protocol, state) in [(protocol::TCP, diag::LISTEN), (protocol::UDP, diag::CLOSE)] {
        for family in Version::ALL.map(Version::nfproto) {
            let request = Request { protocol, family: Some(family), states: 1 << state };
            found.extend(dump(&channel, request, |message| read(message, protocol))?);
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
            // A socket bound to a deleted interface can't be reached.
            let Some(name) = name else { continue };
            socket.interface = Some(name);
        }
        sockets.push(socket);
    }
    sockets.sort();
    Ok(sockets)
}

/// A TCP socket that listens or is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpSocket {
    /// This machine's address and port.
    pub local: SocketAddr,
    /// The peer's address and port; `None` for a listening socket.
    pub remote: Option<SocketAddr>,
    /// Its inode, which identifies the processes that hold it.
    pub inode: u64,
}

/// The listening TCP sockets, and those with an established connection. Needs no capability.
///
/// # Errors
///
/// As [`listening_sockets`].
pub fn tcp_sockets() -> Result<Vec<TcpSocket>, NetlinkError> {
    let channel = Channel::open(mnl::Bus::SockDiag)?;
    let tcp = |family, state: u32| {
        let request = Request { protocol: protocol::TCP, family, states: 1 << state };
        dump(&channel, request, |message| read_tcp(message).map(Some))
    };
    // The kernel walks its whole connection table, sized by the machine's memory: do it once for both families.
    let mut found = tcp(None, diag::ESTABLISHED)?;
    for family in Version::ALL.map(Version::nfproto) {
        found.extend(tcp(Some(family), diag::LISTEN)?);
    }
    Ok(found)
}

pub(super) fn read_tcp(message: &Message<'_>) -> Option<TcpSocket> {
    let head = answer(message)?;
    let state = u32::from(*head.get(diag::STATE)?);
    let remote = SocketAddr::new(address(head, diag::REMOTE_ADDRESS)?, port(head, diag::REMOTE_PORT)?);
    Some(TcpSocket {
        local: SocketAddr::new(address(head, diag::ADDRESS)?, port(head, diag::PORT)?),
        remote: (state != diag::LISTEN).then_some(remote),
        inode: word(head, diag::INODE)?.into(),
    })
}

/// A TCP connection or a connected UDP socket, as seen from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectedSocket {
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// This machine's address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The number of the user who made it; `None` for a socket that no program holds any more.
    pub user: Option<u32>,
}

/// The connections that can still send or receive something, including TCP connections that one side has closed.
/// Needs no capability.
///
/// # Errors
///
/// As [`listening_sockets`].
pub fn connected_sockets() -> Result<Vec<ConnectedSocket>, NetlinkError> {
    const OPEN: [u32; 6] =
        [diag::ESTABLISHED, diag::FIN_WAIT1, diag::FIN_WAIT2, diag::CLOSE_WAIT, diag::LAST_ACK, diag::CLOSING];
    let channel = Channel::open(mnl::Bus::SockDiag)?;
    let connected = |protocol, family, states: &[u32]| {
        let states = states.iter().fold(0, |all, state| all | 1 << state);
        dump(&channel, Request { protocol, family, states }, |message| read_connected(message, protocol))
    };
    let mut found = connected(protocol::TCP, None, &OPEN)?;
    for family in Version::ALL.map(Version::nfproto) {
        found.extend(connected(protocol::UDP, Some(family), &[diag::ESTABLISHED])?);
    }
    Ok(found)
}

/// The inner `None` stands for a connection that was closed here and only waits for the peer to close it: nobody
/// reads from it, and it sends nothing more.
fn read_connected(message: &Message<'_>, protocol: u8) -> Option<Option<ConnectedSocket>> {
    let head = answer(message)?;
    let end = |at, port_at| Some(SocketAddr::new(address(head, at)?.to_canonical(), port(head, port_at)?));
    let held = word(head, diag::INODE)? != 0;
    let socket = ConnectedSocket {
        protocol,
        user: Some(word(head, diag::USER)?).filter(|_| held),
        local: end(diag::ADDRESS, diag::PORT)?,
        remote: end(diag::REMOTE_ADDRESS, diag::REMOTE_PORT)?,
    };
    let abandoned = u32::from(*head.get(diag::STATE)?) == diag::FIN_WAIT2 && !held;
    Some((!abandoned).then_some(socket))
}

/// A request for sockets.
#[derive(Clone, Copy)]
struct Request {
    protocol: u8,
    /// `AF_INET` or `AF_INET6`; `None` for both, which works for TCP alone.
    family: Option<u8>,
    /// `1 << TCP_*` for each state.
    states: u32,
}

impl Request {
    fn write(self, bytes: &mut Vec<u8>, seq: u32) {
        let states = self.states.to_ne_bytes();
        match self.family {
            Some(family) => {
                let mut head = [0; diag::REQUEST];
                head[0] = family;
                head[1] = self.protocol;
                head[4..8].copy_from_slice(&states);
                Writer::message(bytes, diag::BY_FAMILY, flag::DUMP, seq, &head).finish();
            }
            None => {
                // In the older request the states follow the addresses; the kernel ignores the field after them.
                let mut head = [0; diag::OLD_REQUEST];
                head[diag::OLD_STATES..diag::OLD_STATES + 4].copy_from_slice(&states);
                Writer::message(bytes, diag::TCP_OF_BOTH, flag::DUMP, seq, &head).finish();
            }
        }
    }
}

/// All sockets of a request; reads them again if they change meanwhile. `read` returns `None` for a malformed answer,
/// and an inner `None` for a socket to skip.
fn dump<T>(
    channel: &Channel,
    request: Request,
    read: impl Fn(&Message<'_>) -> Option<Option<T>>,
) -> Result<Vec<T>, NetlinkError> {
    for attempt in 1.. {
        let mut found = Vec::new();
        let end = channel.request(
            DOING,
            true,
            |bytes, seq| request.write(bytes, seq),
            |message| {
                found.extend(read(message)?);
                Some(())
            },
        )?;
        if end == End::Complete || attempt >= ATTEMPTS {
            return Ok(found);
        }
    }
    Err(NetlinkError::Refused { doing: DOING, errno: Errno::EBUSY })
}

/// A socket and its interface index; the inner `None` stands for a socket without a port, which receives nothing.
pub(super) fn read(message: &Message<'_>, protocol: u8) -> Option<Option<(ListeningSocket, u32)>> {
    let head = answer(message)?;
    let fields = Fields::<{ diag::END }>::read(message.payload.get(diag::ANSWER..)?)?;
    let (address, port) = (address(head, diag::ADDRESS)?, port(head, diag::PORT)?);
    let only_six = fields.u8(diag::ONLY_SIX).is_some_and(|only| only != 0);
    let both = address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !only_six;
    let inode = u64::from(word(head, diag::INODE)?);
    let socket = ListeningSocket { protocol, port, address: address.to_canonical(), both, interface: None, inode };
    Some((port != 0).then_some((socket, word(head, diag::INTERFACE)?)))
}

/// The fixed part of an answer: `struct inet_diag_msg`.
fn answer<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    message.payload.get(..diag::ANSWER).filter(|_| matches!(message.kind, diag::BY_FAMILY | diag::TCP_OF_BOTH))
}

fn word(head: &[u8], at: usize) -> Option<u32> {
    head.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn port(head: &[u8], at: usize) -> Option<u16> {
    head.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

fn address(head: &[u8], at: usize) -> Option<IpAddr> {
    let version = Version::from_nfproto(*head.first()?)?;
    net::address(head.get(at..)?.get(..version.address_len())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::attr::Messages;
    use proptest::prelude::*;

    fn socket_message(family: u8, address: &[u8], only_six: u8) -> Vec<u8> {
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

        assert_eq!(
            read_all(&socket_message(Version::V4.nfproto(), &[192, 0, 2, 1], 0)),
            [(socket("192.0.2.1", false), 7)]
        );
        assert_eq!(read_all(&socket_message(Version::V6.nfproto(), &[0; 16], 0)), [(socket("::", true), 7)]);
        assert_eq!(read_all(&socket_message(Version::V6.nfproto(), &[0; 16], 1)), [(socket("::", false), 7)]);
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
        assert_eq!(read_all(&socket_message(Version::V6.nfproto(), &mapped, 0)), [(socket("192.0.2.1", false), 7)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            let mut message = Vec::new();
            Writer::message(&mut message, diag::BY_FAMILY, 0, 0, &bytes).finish();
            let _ = (read_all(&bytes), read_all(&message));
            for message in Messages::new(&message) {
                let _ = (read_tcp(&message), read_connected(&message, protocol::TCP));
            }
        }
    }
}
