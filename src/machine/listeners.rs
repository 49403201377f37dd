//! The sockets that this machine listens on, and the processes that hold them.

use super::processes::Process;
use crate::net::protocol;
use crate::netlink::{ListeningSocket, NetlinkError, listening_sockets};
use crate::printable::printable_bytes;
use nix::errno::Errno;
use procfs::net::{TcpState, UdpState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How many open files of one user's processes are examined, lowest process ID first. A user with more can't hide the
/// sockets of others.
const MOST_FILES: usize = 1 << 18;
/// The same for root, which serves others.
const MOST_FILES_OF_ROOT: usize = 1 << 22;

/// A socket and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The socket.
    pub socket: ListeningSocket,
    /// The process; `None` for a socket of the kernel's, and if it can't be found.
    pub process: Option<Holder>,
}

/// A process that holds a socket. If several hold it, the one with the lowest process ID; systemd (1) comes last,
/// since it holds sockets for others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its process ID.
    pub pid: u32,
    /// Its name, as `ps` shows it. The process chooses it; it is made printable here.
    pub name: String,
}

/// All listening sockets in this process's network namespace. Call it while this process is still root, to see the
/// files of other processes.
///
/// # Errors
///
/// Neither the kernel's `sock_diag` nor `/proc` can be read.
pub fn listeners() -> Result<Vec<Listener>, NetlinkError> {
    let sockets = match listening_sockets() {
        Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => from_proc()?,
        result => result?,
    };
    let holders = holders(&sockets.iter().map(|socket| socket.inode).filter(|inode| *inode != 0).collect());
    let listener = |socket: ListeningSocket| {
        let process = holders.get(&socket.inode).cloned();
        Listener { socket, process }
    };
    Ok(sockets.into_iter().map(listener).collect())
}

fn holders(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Holder> {
    let mut holders: BTreeMap<u64, Holder> = BTreeMap::new();
    let mut looked: BTreeMap<u32, usize> = BTreeMap::new();
    // A process may end while it is examined.
    for process in Process::all() {
        let Some((stat, user)) = process.stat().zip(process.user()) else { continue };
        let looked = looked.entry(user).or_default();
        let most = if user == 0 { MOST_FILES_OF_ROOT } else { MOST_FILES };
        let holder = Holder { pid: process.pid, name: printable_bytes(&stat.name) };
        *looked += process.sockets(most.saturating_sub(*looked), |_, inode| {
            let better = |known: &Holder| (known.pid == 1, known.pid) > (holder.pid == 1, holder.pid);
            if inodes.contains(&inode) && holders.get(&inode).is_none_or(better) {
                holders.insert(inode, holder.clone());
            }
        });
    }
    holders
}

/// The same from `/proc`, which tells neither whether a socket takes IPv4, too, nor its interface. Assumes that it
/// takes both and is bound to no interface, which errs towards exposed.
fn from_proc() -> Result<Vec<ListeningSocket>, NetlinkError> {
    let unreadable = |_| NetlinkError::Socket { doing: "read /proc/net", errno: Errno::EACCES };
    let socket = |protocol, address: SocketAddr, inode| ListeningSocket {
        protocol,
        port: address.port(),
        address: address.ip().to_canonical(),
        both: address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        interface: None,
        inode,
    };
    let mut sockets = Vec::new();
    // Without IPv6 these files do not exist.
    let tcp = procfs::net::tcp().map_err(unreadable)?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
    let listening = tcp.filter(|entry| entry.state == TcpState::Listen);
    sockets.extend(listening.map(|entry| socket(protocol::TCP, entry.local_address, entry.inode)));
    let udp = procfs::net::udp().map_err(unreadable)?.into_iter().chain(procfs::net::udp6().unwrap_or_default());
    let unconnected = udp.filter(|entry| entry.state == UdpState::Close);
    sockets.extend(unconnected.map(|entry| socket(protocol::UDP, entry.local_address, entry.inode)));
    sockets.sort();
    Ok(sockets)
}
