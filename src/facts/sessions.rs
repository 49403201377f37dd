//! The SSH sessions that this machine serves.

use crate::netlink::{TcpSocket, tcp_sockets};
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The programs that serve SSH, by the names of their processes.
const SERVERS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];
/// Where SSH is served even when no such process listens: systemd may listen for it.
const SSH: u16 = 22;
/// How far up the process tree a session is looked for. What runs deeper in scripts is no operator's command.
const MAX_ANCESTORS: usize = 64;

/// An SSH session that this machine serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// Where it comes from.
    pub client: IpAddr,
    /// The address and port of this machine that it is connected to.
    pub server: SocketAddr,
    /// Whether this process is run from it.
    pub own: bool,
    /// The interface that it comes in by; `None` when it is not known.
    pub interface: Option<String>,
}

impl fmt::Display for Session {
    /// `your SSH session from 203.0.113.9 to port 22 by eth0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.own { "your" } else { "the" };
        write!(f, "{whose} SSH session from {} to port {}", self.client, self.server.port())?;
        self.interface.iter().try_for_each(|interface| write!(f, " by {interface}"))
    }
}

/// The SSH sessions in the network namespace of this process, those it is run from first. Empty where nothing can be
/// found out.
///
/// They are the connections to ports on which an SSH server listens. Those it is run from are told by `SSH_CONNECTION`, in
/// this process's environment or in that of a process it was started by (sudo keeps it from its children), and by an SSH
/// server among those processes.
///
/// Sees other processes' environments and files, so it is to be asked while this process is still root.
#[must_use]
pub fn ssh_sessions() -> Vec<Session> {
    let found = tcp_sockets().or_else(|error| {
        tracing::debug!("{error}: reading /proc/net/tcp instead");
        from_proc()
    });
    let sockets = match found {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::info!("could not read the TCP connections: {error}");
            return sessions(&ancestry().own, None, &BTreeSet::new());
        }
    };
    // Looking through all processes takes longer than all else that apply does.
    if sockets.iter().all(|socket| socket.remote.is_none()) {
        return Vec::new();
    }
    let Ancestry { mut own, sockets: served_by } = ancestry();
    let mut ports = listening(&sockets);
    ports.insert(SSH);
    // A server of sessions also holds the connections that they forward.
    let serves = |socket: &&TcpSocket| served_by.contains(&socket.inode) && ports.contains(&socket.local.port());
    own.extend(sockets.iter().filter(serves).filter_map(connection));
    let established: Vec<Connection> = sockets.iter().filter_map(connection).collect();
    sessions(&own, Some(&established), &ports)
}

/// A TCP connection to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    /// The interface of a link-local address.
    zone: Option<String>,
}

fn connection(socket: &TcpSocket) -> Option<Connection> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Some(Connection { client: canonical(socket.remote?), server: canonical(socket.local), zone: None })
}

/// The sockets as `/proc` lists them, where the kernel can't be asked for them: without `inet_diag`.
fn from_proc() -> Result<Vec<TcpSocket>, procfs::ProcError> {
    // Without IPv6 there is no such file.
    let all = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
    let sockets = all.filter_map(|entry| {
        let remote = match entry.state {
            TcpState::Listen => None,
            TcpState::Established => Some(entry.remote_address),
            _ => return None,
        };
        Some(TcpSocket { local: entry.local_address, remote, inode: entry.inode })
    });
    Ok(sockets.collect())
}

/// What of this is a session: connections to the ports, and those of the environments that are established (`None`: that
/// is not known of any). An environment outlives its session in tmux and in what runs on.
fn sessions(own: &[Connection], established: Option<&[Connection]>, ports: &BTreeSet<u16>) -> Vec<Session> {
    let same = |one: &Connection, other: &Connection| one.client == other.client && one.server == other.server;
    let alive = |one: &&Connection| established.is_none_or(|all| all.iter().any(|other| same(one, other)));
    let own: Vec<&Connection> = own.iter().filter(alive).collect();
    let own_ports: BTreeSet<u16> = own.iter().map(|connection| connection.server.port()).collect();
    let served = established.unwrap_or_default().iter().filter(|connection| {
        let port = connection.server.port();
        (ports.contains(&port) || own_ports.contains(&port)) && !own.iter().any(|own| same(own, connection))
    });
    let mut found: Vec<Session> = Vec::new();
    for (connection, own) in own.iter().map(|own| (*own, true)).chain(served.map(|other| (other, false))) {
        let Connection { client, server, zone } = connection;
        let session = Session { client: client.ip(), server: *server, own, interface: zone.clone() };
        // Two sessions from one address fare alike.
        let known = |other: &Session| other.client == session.client && other.server == session.server;
        if !found.iter().any(known) {
            found.push(session);
        }
    }
    found
}

/// The ports on which an SSH server listens. One that was started by another serves a session, and listens for what that
/// session forwards.
fn listening(sockets: &[TcpSocket]) -> BTreeSet<u16> {
    // Processes end while they are looked at.
    let processes = all_processes().into_iter().flatten().flatten().filter(serves_ssh);
    let parent = |process: &Process| Process::new(process.stat().ok()?.ppid).ok();
    let servers = processes.filter(|process| !parent(process).is_some_and(|parent| serves_ssh(&parent)));
    let inodes: BTreeSet<u64> = servers.flat_map(|process| socket_inodes(&process)).collect();
    let listens = |socket: &&TcpSocket| socket.remote.is_none() && inodes.contains(&socket.inode);
    sockets.iter().filter(listens).map(|socket| socket.local.port()).collect()
}

fn serves_ssh(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| SERVERS.contains(&stat.comm.as_str()))
}

fn socket_inodes(process: &Process) -> Vec<u64> {
    let targets = process.fd().into_iter().flatten().flatten().map(|fd| fd.target);
    let inode = |target| if let FDTarget::Socket(inode) = target { Some(inode) } else { None };
    targets.filter_map(inode).collect()
}

/// What this process and those it was started by say of the session they are run from.
#[derive(Default)]
struct Ancestry {
    /// The connections that `SSH_CONNECTION` tells of, from this process upwards.
    own: Vec<Connection>,
    /// The sockets of SSH servers.
    sockets: BTreeSet<u64>,
}

fn ancestry() -> Ancestry {
    const NAME: &str = "SSH_CONNECTION";
    let mut found = Ancestry::default();
    found.own.extend(std::env::var(NAME).ok().as_deref().and_then(parse_connection));
    let mut process = Process::myself();
    for _ in 0..MAX_ANCESTORS {
        let parent = process.ok().and_then(|process| process.stat().ok()).map_or(0, |stat| stat.ppid);
        if parent <= 1 {
            break;
        }
        process = Process::new(parent);
        let Ok(ancestor) = &process else { break };
        let environment = ancestor.environ().unwrap_or_default();
        let value = environment.get(OsStr::new(NAME)).map(|value| value.to_string_lossy());
        found.own.extend(value.as_deref().and_then(parse_connection));
        if serves_ssh(ancestor) {
            found.sockets.extend(socket_inodes(ancestor));
        }
    }
    found
}

/// Reads `203.0.113.9 51234 203.0.113.1 22`, as sshd writes it; a link-local address has `%eth0` behind it.
fn parse_connection(text: &str) -> Option<Connection> {
    let mut words = text.split_whitespace();
    let mut zone = None;
    let mut socket = || {
        let address = words.next()?;
        let (address, interface) = address.split_once('%').map_or((address, None), |(a, zone)| (a, Some(zone)));
        zone = zone.take().or(interface.map(str::to_owned));
        let address: IpAddr = address.parse().ok()?;
        Some(SocketAddr::new(address.to_canonical(), words.next()?.parse().ok()?))
    };
    let (client, server) = (socket()?, socket()?);
    words.next().is_none().then_some(Connection { client, server, zone })
}
#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Connection {
        parse_connection(text).expect("a connection")
    }

    fn clients(own: &[Connection], established: Option<&[Connection]>, ports: &[u16]) -> Vec<(String, bool)> {
        let found = sessions(own, established, &ports.iter().copied().collect());
        found.into_iter().map(|session| (format!("{} {}", session.client, session.server), session.own)).collect()
    }

    #[test]
    fn addresses_are_read_as_sshd_writes_them() {
        let parsed = |text| parse_connection(text).map(|found| (found.client, found.server, found.zone));
        let socket = |text: &str| text.parse::<SocketAddr>().expect("a socket address");

        assert_eq!(
            parsed("203.0.113.9 51234 203.0.113.1 22"),
            Some((socket("203.0.113.9:51234"), socket("203.0.113.1:22"), None))
        );
        assert_eq!(
            parsed("::ffff:203.0.113.9 1 ::ffff:203.0.113.1 2222"),
            Some((socket("203.0.113.9:1"), socket("203.0.113.1:2222"), None))
        );
        assert_eq!(
            parsed("fe80::9%eth0 1 fe80::1%eth0 22"),
            Some((socket("[fe80::9]:1"), socket("[fe80::1]:22"), Some("eth0".to_owned())))
        );
        for broken in ["", "203.0.113.9", "203.0.113.9 1 203.0.113.1", "a b c d", "203.0.113.9 1 203.0.113.1 22 x"] {
            assert_eq!(parsed(broken), None, "{broken}");
        }
    }

    #[test]
    fn connections_to_an_ssh_server_are_sessions_and_the_own_one_comes_first() {
        let own = read("203.0.113.9 51234 203.0.113.1 22");
        let all = [
            read("198.51.100.7 1 203.0.113.1 2222"),
            read("198.51.100.7 2 203.0.113.1 2222"),
            own.clone(),
            read("198.51.100.8 1 203.0.113.1 443"),
        ];

        assert_eq!(
            clients(&[own], Some(&all), &[22, 2222]),
            [("203.0.113.9 203.0.113.1:22".to_owned(), true), ("198.51.100.7 203.0.113.1:2222".to_owned(), false)]
        );
    }

    #[test]
    fn an_environment_counts_only_while_its_connection_is_established() {
        let stale = read("203.0.113.9 51234 203.0.113.1 22");
        let all = [read("198.51.100.7 1 203.0.113.1 22")];

        assert_eq!(
            clients(std::slice::from_ref(&stale), Some(&all), &[22]),
            [("198.51.100.7 203.0.113.1:22".to_owned(), false)]
        );
        assert_eq!(clients(&[stale], None, &[]), [("203.0.113.9 203.0.113.1:22".to_owned(), true)]);
    }

    #[test]
    fn the_port_of_the_own_session_is_one_that_serves_ssh() {
        let own = read("203.0.113.9 51234 203.0.113.1 8022");
        let all = [own.clone(), read("198.51.100.7 1 203.0.113.1 8022")];

        assert_eq!(clients(&[own], Some(&all), &[22]).len(), 2);
    }
}
