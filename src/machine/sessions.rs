//! The SSH sessions that this machine serves.
//!
//! A connection to port 22 is no session yet: anyone can open as many as they like. It becomes one when somebody logs
//! in over it, which shows in the kernel's data about the processes that serve it.

use super::processes::Process;
use super::ssh_ports;
use crate::files::{user_id, user_name};
use crate::netlink::{TcpSocket, tcp_sockets};
use crate::printable::printable;
use procfs::net::TcpState;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The programs that serve an SSH connection. OpenSSH has used `sshd-session` since 9.8.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "dropbear", "dropbearmulti"];
/// The program that OpenSSH runs before login since 9.9, and the user that it runs as. Until 9.9, sshd itself runs as
/// that user.
const BEFORE_LOGIN: (&str, &str) = ("sshd-auth", "sshd");
/// How many open files of a server are examined. The connection that it serves is among the first.
const MOST_FILES: usize = 4096;
/// The variable in which sshd describes the connection to the processes of its session.
pub(super) const SSH_CONNECTION: &str = "SSH_CONNECTION";

/// An SSH session that this machine serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// The address and port on this machine.
    pub server: SocketAddr,
    /// Whether this process is run from it.
    pub own: bool,
    /// The user who is logged in; `None` if that can't be seen, nor whether anybody is.
    pub user: Option<String>,
    /// The interface that it comes in by; `None` if unknown.
    pub interface: Option<String>,
    /// The address and port that the client connected to, if a rule translates them to [`Session::server`].
    pub asked: Option<SocketAddr>,
}

impl Session {
    /// The address and port that the client connects to, and would connect to again.
    #[must_use]
    pub fn asked_for(&self) -> SocketAddr {
        self.asked.unwrap_or(self.server)
    }
}

impl fmt::Display for Session {
    /// `your SSH session from 203.0.113.9 to port 22 by eth0`, `the SSH session of alice from ...`,
    /// `an SSH connection, perhaps a session, from ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            _ if self.own => f.write_str("your SSH session")?,
            Some(user) => write!(f, "the SSH session of {}", printable(user))?,
            None => f.write_str("an SSH connection, perhaps a session,")?,
        }
        write!(f, " from {} to port {}", self.client, self.asked_for().port())?;
        self.interface.iter().try_for_each(|interface| write!(f, " by {}", printable(interface)))
    }
}

/// The SSH sessions in the network namespace of this process, its own first. Empty if nothing can be found out.
///
/// Its own sessions are found by `SSH_CONNECTION`, in the environment of this process or of an ancestor (sudo does
/// not pass it on), and by an SSH server among its ancestors. In tmux or screen the variable may name a connection
/// that has ended; then any session of the same user counts.
///
/// Call it while this process is still root: it reads other processes' environments and files. Where it can't, as in the
/// hardening of palisade's unit, each connection to a port of sshd may be a session: of whom is unknown.
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
            return sessions(&Ancestry::of_this_process(), None, &Serving::default());
        }
    };
    let established: BTreeMap<u64, Connection> =
        sockets.iter().filter_map(|socket| Some((socket.inode, connection(socket)?))).collect();
    // Looking through all processes takes longer than the rest of `apply`.
    if established.is_empty() {
        return Vec::new();
    }
    let serving = Serving { served: served(&established), unseen: unseen(&established) };
    sessions(&Ancestry::of_this_process(), Some(&established.into_values().collect()), &serving)
}

/// A TCP connection to this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Reads the sockets from `/proc`, for kernels without `inet_diag`.
fn from_proc() -> Result<Vec<TcpSocket>, procfs::ProcError> {
    // Without IPv6 this file does not exist.
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

/// A connection and the SSH server that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Served {
    connection: Connection,
    /// The process that has served it from the start.
    server: u32,
    /// The user who is logged in.
    user: Option<u32>,
}

/// The connections to SSH servers.
#[derive(Debug, Default)]
struct Serving {
    /// Those whose server was found.
    served: Vec<Served>,
    /// Those that may have a server into which this process can't look.
    unseen: Vec<Connection>,
}

/// The connections to a port of sshd, if this process can't look into those of root: the first one is. Those that no
/// server has accepted yet have no inode.
fn unseen(established: &BTreeMap<u64, Connection>) -> Vec<Connection> {
    if Process::open(1).is_some_and(|first| first.program().is_some()) {
        return Vec::new();
    }
    let ports = ssh_ports();
    let to_sshd = established.iter().filter(|(inode, to)| **inode != 0 && ports.contains(&to.server.port()));
    to_sshd.map(|(_, connection)| connection.clone()).collect()
}

/// All served connections, found through their sockets. Strangers and local users can add processes and connections,
/// so each is examined only once.
fn served(established: &BTreeMap<u64, Connection>) -> Vec<Served> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut servers: Vec<(u32, Connection)> = Vec::new();
    for process in Process::all() {
        let Some(stat) = process.stat() else { continue };
        children.entry(stat.parent).or_default().push(process.pid);
        if serves_ssh(&process) {
            servers.extend(serves(&process, established).map(|connection| (process.pid, connection.clone())));
        }
    }
    let before_login = user_id(BEFORE_LOGIN.1);
    let user = |server| logged_in(server, children.get(&server).map_or(&[], Vec::as_slice), before_login);
    servers.into_iter().map(|(server, connection)| Served { connection, server, user: user(server) }).collect()
}

/// Whether a process serves SSH. OpenSSH's process that runs as the logged-in user does not count, since it is not
/// root's.
pub(super) fn serves_ssh(process: &Process) -> bool {
    process.runs(&SERVERS) && process.is_roots_own()
}

/// The connection that a server serves: its first one. Those that it forwards come later.
fn serves<'c>(server: &Process, established: &'c BTreeMap<u64, Connection>) -> Option<&'c Connection> {
    let mut first: Option<(u32, &Connection)> = None;
    server.sockets(MOST_FILES, |descriptor, inode| {
        if let Some(connection) = established.get(&inode)
            && first.is_none_or(|(known, _)| descriptor < known)
        {
            first = Some((descriptor, connection));
        }
    });
    first.map(|(_, connection)| connection)
}

/// The user who is logged in over the connection that a process serves. A login begins an audit session. Without
/// audit in the kernel or PAM, the child that runs before login is replaced by one of the user's: OpenSSH's own, or
/// the user's program.
fn logged_in(server: u32, children: &[u32], before_login: Option<u32>) -> Option<u32> {
    let process = Process::open(server)?;
    let parent = Process::open(process.stat()?.parent);
    let session = |(_, session): (u32, u32)| session;
    if let Some((user, session_of_its_own)) = process.login()
        && parent.and_then(|parent| parent.login()).map(session) != Some(session_of_its_own)
    {
        return Some(user);
    }
    let children = children.iter().filter_map(|child| Process::open(*child));
    let children = children.filter_map(|child| Some((child.program()?, child.user()?))).collect::<Vec<_>>();
    if children.iter().any(|(program, user)| program == BEFORE_LOGIN.0 || Some(*user) == before_login) {
        return None;
    }
    let of_user = |(program, user): &&(_, u32)| *user != 0 || !SERVERS.iter().any(|server| program == server);
    children.iter().find(of_user).map(|(_, user)| *user)
}

/// What this process and its ancestors tell about the session that they belong to.
#[derive(Debug, Default)]
struct Ancestry {
    /// The connections named in their environments.
    named: Vec<Connection>,
    /// The user of the outermost process with such an environment.
    user: Option<u32>,
    /// Their process IDs.
    processes: BTreeSet<u32>,
}

impl Ancestry {
    fn of_this_process() -> Self {
        let mut found = Self::default();
        // A connection in the environment of init is not this process's session.
        for (process, _) in Process::ancestry().take_while(|(process, _)| process.pid > 1) {
            if let Some(named) = process.variable(SSH_CONNECTION).as_deref().and_then(parse_connection) {
                found.named.push(named);
                found.user = process.user();
            }
            found.processes.insert(process.pid);
        }
        found
    }
}

/// The sessions: the connections with a login, and those from environments that are established (`None`: unknown for
/// all). In tmux and in background jobs, an environment outlives its session.
fn sessions(ancestry: &Ancestry, established: Option<&BTreeSet<Connection>>, serving: &Serving) -> Vec<Session> {
    let Serving { served, unseen } = serving;
    let same = |one: &Connection, other: &Connection| one.client == other.client && one.server == other.server;
    let alive = |one: &&Connection| {
        let key = Connection { zone: None, ..(*one).clone() };
        established.is_none_or(|all| all.contains(&key))
    };
    let mut own: Vec<&Connection> = ancestry.named.iter().filter(alive).collect();
    let by_server = served.iter().filter(|served| ancestry.processes.contains(&served.server));
    own.extend(by_server.map(|served| &served.connection));
    if own.is_empty() && ancestry.user.is_some() {
        own.extend(served.iter().filter(|served| served.user == ancestry.user).map(|served| &served.connection));
    }
    let others = served.iter().filter(|served| served.user.is_some()).map(|served| &served.connection);
    let is_seen = |one: &&Connection| served.iter().any(|served| same(&served.connection, one));
    let others = others.chain(unseen.iter().filter(|one| !is_seen(one)));
    let (mut found, mut known): (Vec<Session>, _) = (Vec::new(), BTreeSet::new());
    for (connection, is_own) in own.iter().map(|own| (*own, true)).chain(others.map(|other| (other, false))) {
        let Connection { client, server, zone } = connection;
        // Somebody is logged in over the own ones, too.
        if !known.insert((*client, *server)) {
            continue;
        }
        let user = served.iter().find(|served| same(&served.connection, connection)).and_then(|served| served.user);
        found.push(Session {
            client: client.ip(),
            client_port: client.port(),
            server: *server,
            own: is_own,
            user: user.map(user_name),
            interface: zone.clone(),
            asked: None,
        });
    }
    found
}

/// The sessions without those that would get the same verdict: others from the same address to the same port, of the
/// same user or of the operator's own. The first of them stays.
#[must_use]
pub fn distinct(sessions: Vec<Session>) -> Vec<Session> {
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    let mut is_new = |session: &Session| {
        let Session { client, server, asked, interface, user, .. } = session.clone();
        let from = (client, server, asked, interface);
        if session.own { own.insert(from) } else { !own.contains(&from) && others.insert((from, user)) }
    };
    let (first, rest): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|session| session.own);
    first.into_iter().chain(rest).filter(|session| is_new(session)).collect()
}

/// Parses `203.0.113.9 51234 203.0.113.1 22`, as sshd writes it. A link-local address ends with `%eth0`.
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

    fn served(text: &str, server: u32, user: Option<u32>) -> Served {
        Served { connection: read(text), server, user }
    }

    /// Each session as text: client, server, and whether it is this process's own.
    fn told(ancestry: &Ancestry, served: &[Served]) -> Vec<String> {
        of_serving(ancestry, Serving { served: served.to_vec(), unseen: Vec::new() })
    }

    fn of_serving(ancestry: &Ancestry, serving: Serving) -> Vec<String> {
        let served = serving.served.iter().map(|served| &served.connection);
        let established = served.chain(&serving.unseen).cloned().collect();
        distinct(sessions(ancestry, Some(&established), &serving)).iter().map(ToString::to_string).collect()
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
    fn connections_that_somebody_is_logged_in_by_are_sessions_and_the_own_one_comes_first() {
        let all = [
            served("198.51.100.7 1 203.0.113.1 2222", 10, Some(0)),
            served("198.51.100.7 2 203.0.113.1 2222", 11, Some(0)),
            served("198.51.100.66 1 203.0.113.1 22", 12, None),
            served("203.0.113.9 51234 203.0.113.1 22", 13, Some(0)),
        ];
        let other = "the SSH session of root from 198.51.100.7 to port 2222".to_owned();
        let own = "your SSH session from 203.0.113.9 to port 22".to_owned();

        let named = Ancestry { named: vec![read("203.0.113.9 51234 203.0.113.1 22")], ..Ancestry::default() };
        assert_eq!(told(&named, &all), [own.clone(), other.clone()]);
        let descends = Ancestry { processes: BTreeSet::from([5, 13]), ..Ancestry::default() };
        assert_eq!(told(&descends, &all), [own, other.clone()]);
        let of_root = "the SSH session of root from 203.0.113.9 to port 22".to_owned();
        assert_eq!(told(&Ancestry::default(), &all), [other, of_root]);
    }

    #[test]
    fn a_connection_whose_server_cannot_be_looked_into_may_be_a_session() {
        let serving = Serving {
            served: vec![served("198.51.100.7 1 203.0.113.1 22", 10, Some(0))],
            unseen: [
                "198.51.100.7 1 203.0.113.1 22",
                "198.51.100.8 1 203.0.113.1 22",
                "198.51.100.8 2 203.0.113.1 22",
                "203.0.113.9 51234 203.0.113.1 22",
            ]
            .map(read)
            .to_vec(),
        };
        let own = Ancestry { named: vec![read("203.0.113.9 51234 203.0.113.1 22")], ..Ancestry::default() };

        let expected = [
            "your SSH session from 203.0.113.9 to port 22",
            "the SSH session of root from 198.51.100.7 to port 22",
            "an SSH connection, perhaps a session, from 198.51.100.8 to port 22",
        ];
        assert_eq!(of_serving(&own, serving), expected);
    }

    #[test]
    fn an_environment_counts_only_while_its_connection_is_established() {
        let stale = || vec![read("203.0.113.9 51234 203.0.113.1 22")];
        let all = [
            served("198.51.100.7 1 203.0.113.1 22", 10, Some(4_000_000_000)),
            served("198.51.100.8 1 203.0.113.1 22", 11, Some(0)),
        ];
        let [seventh, root] = [
            "the SSH session of 4000000000 from 198.51.100.7 to port 22",
            "the SSH session of root from 198.51.100.8 to port 22",
        ];

        let of_nobody = Ancestry { named: stale(), ..Ancestry::default() };
        assert_eq!(told(&of_nobody, &all), [seventh, root]);
        // In tmux, which was once attached from another connection.
        let detached = Ancestry { named: stale(), user: Some(0), ..Ancestry::default() };
        assert_eq!(told(&detached, &all), ["your SSH session from 198.51.100.8 to port 22", seventh]);
        let unknown = sessions(&of_nobody, None, &Serving::default());
        assert_eq!(unknown.iter().map(|session| session.own).collect::<Vec<_>>(), [true]);
    }
}
