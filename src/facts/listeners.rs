//! The sockets on which this machine is reached, and the processes that hold them.

use crate::netlink::{ListeningSocket, NetlinkError, listening_sockets};
use crate::simulate::protocol;
use nix::errno::Errno;
use procfs::net::{TcpState, UdpState};
use procfs::process::{FDTarget, all_processes};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A socket, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The socket.
    pub socket: ListeningSocket,
    /// The process; `None` for a socket of the kernel's own, and where it can't be told.
    pub process: Option<Holder>,
}

/// A process that holds a socket: of several the one that was started first, unless that is systemd, which holds sockets
/// for others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` has it; any bytes that the process likes, but for control characters.
    pub name: String,
}

/// All of them in the network namespace of this process. To be asked while it is still root, which sees the files of other
/// processes.
///
/// # Errors
///
/// Where neither the kernel's `sock_diag` nor `/proc` tells.
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
    // Processes end while they are looked at.
    for process in all_processes().into_iter().flatten().flatten() {
        let fds = process.fd().into_iter().flatten().flatten();
        let held = fds.filter_map(|fd| if let FDTarget::Socket(inode) = fd.target { Some(inode) } else { None });
        let held: BTreeSet<u64> = held.filter(|inode| inodes.contains(inode)).collect();
        if held.is_empty() {
            continue;
        }
        let (Ok(stat), Ok(pid)) = (process.stat(), u32::try_from(process.pid)) else { continue };
        let name = stat.comm.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        for inode in held {
            let better = |known: &Holder| (known.pid == 1, known.pid) > (pid == 1, pid);
            if holders.get(&inode).is_none_or(better) {
                holders.insert(inode, Holder { pid, name: name.clone() });
            }
        }
    }
    holders
}

/// The same from `/proc`, which does not tell whether a socket takes IPv4 too, nor its interface: as if it did, and had
/// none, so that rather too many may reach it.
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
    // Without IPv6 there are no such files.
    let tcp = procfs::net::tcp().map_err(unreadable)?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
    let listening = tcp.filter(|entry| entry.state == TcpState::Listen);
    sockets.extend(listening.map(|entry| socket(protocol::TCP, entry.local_address, entry.inode)));
    let udp = procfs::net::udp().map_err(unreadable)?.into_iter().chain(procfs::net::udp6().unwrap_or_default());
    let unconnected = udp.filter(|entry| entry.state == UdpState::Close);
    sockets.extend(unconnected.map(|entry| socket(protocol::UDP, entry.local_address, entry.inode)));
    sockets.sort();
    Ok(sockets)
}
