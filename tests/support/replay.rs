//! A host with the rules that a real engine loaded, and network namespaces in the place of its containers.
//!
//! ```text
//! client ─── eth0 host ─┬─ docker0   172.17.0.1 ─── w1, map, w2, lo, rng, udp, hip, exp, w0 (which publishes nothing)
//!                       ├─ br-...    172.18.0.1 ─── u1, u2 (which publishes nothing)
//!                       ├─ br-...    172.19.0.1 ─── six, seven (which publishes nothing), fd00:6::/64
//!                       └─ br-...    172.20.0.1 ─── int (its network is internal)
//! ```
//!
//! The names of the bridges, the addresses and the ports are read from the rules.

use super::echo::Echo;
use super::lab::{CLIENT, HOST, LAN, Lab};
use super::namespace::{Namespace, output};
use super::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};
use super::proxy::{Proxy, Route};
use super::recording::{Published, Recording};
use super::stream::Downloads;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The containers by the port that they publish.
const NAMES: [(u16, &str); 12] = [
    (9000, "w1"),
    (9010, "map"),
    (9100, "w2"),
    (9200, "lo-only"),
    (9301, "rng"),
    (9302, "rng"),
    (9303, "rng"),
    (9400, "udp"),
    (9500, "u1"),
    (9600, "six"),
    (9700, "hip"),
    (32768, "exp"),
];
/// What listens on the host itself, a container in the host's network among it.
const ON_HOST: [u16; 3] = [22, 80, 9900];
/// What listens outside.
const OUTSIDE: u16 = 4242;

pub struct Replay {
    pub lab: Lab,
    pub recording: Recording,
    containers: BTreeMap<String, Container>,
    echoes: Vec<Echo>,
    proxy: Option<Proxy>,
}

/// A namespace with one interface, a port of a bridge.
struct Container {
    inside: Namespace,
    addresses: Vec<IpAddr>,
    echoes: Vec<Echo>,
}

impl Replay {
    /// A host with the recorded rules and a container for each of them.
    pub fn new(recording: Recording) -> Self {
        let lab = Lab::new();
        lab.forward();
        lab.add_addresses(["203.0.113.66", "2001:db8::66"].map(|address| address.parse().expect("an address")));
        lab.send_loopback_over_the_wire();
        // So that it can send to 127.0.0.1 over the wire, as a neighbour with ill intent does.
        lab.client.ip("address del 127.0.0.1/8 dev lo");
        lab.client.sysctl("net/ipv4/conf/eth0/route_localnet", "1");
        let mut replay =
            Self { lab, recording: recording.clone(), containers: BTreeMap::new(), echoes: Vec::new(), proxy: None };
        for (bridge, network) in recording.bridges() {
            if network.ends_with("/16") {
                replay.add_bridge(&bridge, &network.replace(".0.0/16", ".0.1/16"));
            }
        }
        replay.add_bridge(&recording.internal_bridge(), "172.20.0.1/16");
        let published = recording.published();
        let of = |port| published.iter().find(|one| one.target == Target::Tcp(port)).expect("each recording has it");
        let (user, with_v6) = (of(9500).bridge.clone(), of(9600).bridge.clone());
        replay.lab.host.ip(&format!("address add fd00:6::1/64 dev {with_v6} nodad"));
        for (name, bridge, address) in [
            ("w0", "docker0".to_owned(), "172.17.0.200"),
            ("u2", user, "172.18.0.3"),
            ("seven", with_v6.clone(), "172.19.0.3"),
            ("int", recording.internal_bridge(), "172.20.0.2"),
        ] {
            replay.add_container(name, &bridge, address.parse().expect("an address"), Target::Tcp(9000));
        }
        for Published { bridge, target, to, .. } in published.iter().filter(|one| one.to.is_ipv4()) {
            let name = NAMES.iter().find(|(port, _)| port_of(*target) == *port).expect("each has a name").1;
            let inside = match target {
                Target::Udp(_) => Target::Udp(to.port()),
                _ => Target::Tcp(to.port()),
            };
            replay.add_container(name, bridge, to.ip(), inside);
        }
        for (name, address) in [("six", "fd00:6::2"), ("seven", "fd00:6::3")] {
            replay.add_address(name, address.parse().expect("an address"), 64);
            let container = &replay.containers[name];
            container.inside.ip("-6 route add default via fd00:6::1");
            let echo = container.inside.listen(&[format!("[{address}]:9000").parse().expect("an address")], &[]);
            replay.containers.get_mut(name).expect("it was added").echoes.push(echo);
        }
        let any =
            |port| [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()].map(|ip| (ip, port).into());
        let on_host: Vec<SocketAddr> = ON_HOST.into_iter().flat_map(any).collect();
        let outside: Vec<SocketAddr> = CLIENT.iter().map(|address| SocketAddr::new(*address, OUTSIDE)).collect();
        replay.echoes.push(replay.lab.host.listen(&on_host, &[]));
        replay.echoes.push(replay.lab.client.listen(&outside, &outside));
        replay.load();
        replay
    }

    fn load(&mut self) {
        self.recording.load(&self.lab.host);
        self.start_proxy();
    }

    /// As docker-proxy does: each published port on each address that it is published on. Over IPv6 it asks the
    /// container's IPv4 address when there is no other.
    fn start_proxy(&mut self) {
        self.proxy = None;
        let published = self.recording.published();
        let mut routes = Vec::new();
        for one in published.iter().filter(|one| one.to.is_ipv4()) {
            let mut route = |listen: IpAddr, to| {
                routes.push(Route { target: one.target, listen: (listen, port_of(one.target)).into(), to });
            };
            // Over UDP a socket for each address, so that an answer comes from the one that was asked.
            let (v4, v6): (Vec<_>, Vec<_>) = match (one.only, one.target) {
                (Some(only), _) => (vec![only], vec![]),
                (None, Target::Udp(_)) => {
                    let docker0 = Ipv4Addr::new(172, 17, 0, 1).into();
                    let (lo, lo6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
                    (vec![HOST[0], docker0, lo], vec![HOST[1], lo6])
                }
                (None, _) => (vec![Ipv4Addr::UNSPECIFIED.into()], vec![Ipv6Addr::UNSPECIFIED.into()]),
            };
            let own = published.iter().find(|other| other.target == one.target && other.to.is_ipv6());
            v4.into_iter().for_each(|listen| route(listen, one.to));
            v6.into_iter().for_each(|listen| route(listen, own.map_or(one.to, |own| own.to)));
        }
        self.proxy = Some(Proxy::start(&self.lab.host, &routes));
    }

    pub fn add_bridge(&self, name: &str, address: &str) {
        self.lab.host.ip(&format!("link add {name} type bridge"));
        self.lab.host.ip(&format!("address add {address} dev {name}"));
        self.lab.host.ip(&format!("link set {name} up"));
    }

    /// A container with one address, which listens on a port; or one port more of a container that is there.
    pub fn add_container(&mut self, name: &str, bridge: &str, address: IpAddr, listens: Target) {
        if !self.containers.contains_key(name) {
            let inside = Namespace::new();
            let host = &self.lab.host;
            host.ip(&format!("link add v-{name} type veth peer name eth0 netns {}", inside.path()));
            host.ip(&format!("link set v-{name} master {bridge} up"));
            inside.ip("link set eth0 up");
            self.containers.insert(name.to_owned(), Container { inside, addresses: Vec::new(), echoes: Vec::new() });
            self.add_address(name, address, 16);
            self.route(name);
        }
        let socket = [SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port_of(listens))];
        let (tcp, udp): (&[_], &[_]) =
            if matches!(listens, Target::Udp(_)) { (&[], &socket) } else { (&socket, &[]) };
        let container = self.containers.get_mut(name).expect("it was added");
        let echo = container.inside.listen(tcp, udp);
        container.echoes.push(echo);
    }

    fn add_address(&mut self, name: &str, address: IpAddr, bits: u8) {
        let container = self.containers.get_mut(name).expect("it was added");
        let nodad = if address.is_ipv6() { "nodad" } else { "" };
        container.inside.ip(&format!("address add {address}/{bits} dev eth0 {nodad}"));
        container.addresses.push(address);
    }

    fn route(&self, name: &str) {
        let container = &self.containers[name];
        if let IpAddr::V4(address) = container.addresses[0] {
            let [a, b, _, _] = address.octets();
            container.inside.ip(&format!("-4 route replace default via {a}.{b}.0.1"));
        }
    }

    /// Has the container send without end to whoever connects to that port, instead of echoing on its ports.
    pub fn offer_downloads(&mut self, name: &str, port: u16) -> Downloads {
        let container = self.containers.get_mut(name).expect("it is there");
        container.echoes.clear();
        container.inside.offer_downloads(&[SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)], &[])
    }

    /// The container is made anew and gets another address; its engine changes its own rules, and nobody else does
    /// anything.
    pub fn recreate(&mut self, name: &str, address: Ipv4Addr) {
        let address = IpAddr::V4(address);
        let container = self.containers.get_mut(name).expect("it is there");
        let old = std::mem::replace(&mut container.addresses[0], address);
        container.inside.ip(&format!("address del {old}/16 dev eth0"));
        container.inside.ip(&format!("address add {address}/16 dev eth0"));
        self.route(name);
        self.recording = self.recording.moved(old, address);
        self.load();
        // A container that is made anew announces its address.
        for inside in self.containers.values().map(|container| &container.inside).chain([&self.lab.host]) {
            inside.ip("neighbour flush all");
        }
    }

    /// A network like that of `u1` is made, with a container that publishes 9950 and one that publishes nothing.
    pub fn add_network(&mut self, bridge: &str) {
        let like = self.recording.published().into_iter().find(|one| one.target == Target::Tcp(9500));
        let like = like.expect("each recording has it");
        let address = like.to.ip().to_string().replace("172.18.", "172.21.").parse().expect("an address");
        let like = like.bridge;
        let renamed = [(like.as_str(), bridge), ("172.18.0.", "172.21.0."), ("9500", "9950")];
        self.recording = self.recording.with_another(&like, &renamed);
        self.add_bridge(bridge, "172.21.0.1/16");
        self.add_container("new", bridge, address, Target::Tcp(9000));
        self.add_container("new2", bridge, Ipv4Addr::new(172, 21, 0, 3).into(), Target::Tcp(9000));
        self.load();
    }

    /// Whom a place of a row stands for, and its address; a 6 at the end of its name means the one for IPv6.
    pub fn place(&self, name: &str) -> (&Namespace, IpAddr) {
        let lab = &self.lab;
        let parse = |address: &str| address.parse().expect("an address");
        match name {
            "trusted" => (&lab.client, CLIENT[0]),
            "trusted6" => (&lab.client, CLIENT[1]),
            "out" => (&lab.client, parse("203.0.113.66")),
            "out6" => (&lab.client, parse("2001:db8::66")),
            "lan" => (&lab.lan, LAN[0]),
            "lan6" => (&lab.lan, LAN[1]),
            "host" => (&lab.host, HOST[0]),
            "host6" => (&lab.host, HOST[1]),
            "lo" => (&lab.host, Ipv4Addr::LOCALHOST.into()),
            "lo6" => (&lab.host, Ipv6Addr::LOCALHOST.into()),
            "docker0" => (&lab.host, parse("172.17.0.1")),
            name => {
                let found = self.containers.get(name).map(|container| (container, 0));
                let v6 = || self.containers.get(name.strip_suffix('6')?).map(|container| (container, 1));
                let Some((container, family)) = found.or_else(v6) else { panic!("there is no place {name}") };
                (&container.inside, container.addresses[family])
            }
        }
    }

    /// A container and its address, when it is there and has one of that family.
    pub fn stand_in(&self, name: &str, six: bool) -> Option<(&Namespace, IpAddr)> {
        let container = self.containers.get(name)?;
        let address = container.addresses.iter().find(|address| address.is_ipv6() == six)?;
        Some((&container.inside, *address))
    }

    /// A connection that is open, as it must be.
    #[track_caller]
    pub fn connect(&self, from: &str, to: &str, port: u16) -> TcpStream {
        let ((inside, source), (_, address)) = (self.place(from), self.place(to));
        let stream = inside.connect(source, SocketAddr::new(address, port), PATIENCE);
        stream.unwrap_or_else(|outcome| panic!("{from} -> {to} {port}/tcp: {outcome:?}"))
    }

    /// Whether a connection, which must be open, is led to another address than it asked for.
    #[track_caller]
    pub fn is_translated(&self, from: &str, to: &str, port: u16) -> bool {
        let stream = self.connect(from, to, port);
        let from = stream.local_addr().expect("it is connected");
        let mut conntrack = self.lab.host.command("conntrack");
        conntrack.args(["--dump", "--dst-nat", "--proto", "tcp", "--orig-src", &from.ip().to_string()]);
        conntrack.args(["--orig-port-src", &from.port().to_string()]);
        !output(&mut conntrack).success().is_empty()
    }

    /// The address that the outside sees when a container connects to it.
    pub fn seen_as(&self, container: &str, outside: &str) -> IpAddr {
        let ((from, _), (to, address)) = (self.place(container), self.place(outside));
        let listener = to.run(|| TcpListener::bind((address, 0))).expect("the client listens");
        let at = listener.local_addr().expect("it is bound");
        let _stream = from.run(|| TcpStream::connect_timeout(&at, PATIENCE)).expect("the outside is reached");
        listener.accept().expect("it is connected").1.ip()
    }

    /// Tries every row, and gives each outcome that is not what `expected` makes of its cell, as a sentence.
    pub fn differences(&self, rows: &[Row], expected: fn(Cell) -> char) -> Vec<String> {
        thread::scope(|scope| {
            let running: Vec<_> = rows
                .iter()
                .map(|row| {
                    let expected = expected(row.cell);
                    let ((inside, from), (_, to)) = (self.place(row.from), self.place(row.to));
                    let wait = if expected == '-' { SILENCE } else { PATIENCE };
                    let probe = move || {
                        inside.enter();
                        probe_here(inside, row.target, from, to, wait)
                    };
                    (row, expected, scope.spawn(probe))
                })
                .collect();
            let done = running.into_iter().map(|(row, expected, probe)| {
                let outcome = probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                (row, expected, outcome)
            });
            done.filter(|(_, expected, outcome)| *expected != sign(*outcome))
                .map(|(row, expected, outcome)| {
                    format!("{} -> {} {}: {expected} expected, but {outcome:?}", row.from, row.to, row.target)
                })
                .collect()
        })
    }
}

/// What comes of a row: before palisade, and with it.
#[derive(Clone, Copy)]
pub struct Cell {
    pub before: char,
    pub with: char,
}

/// One probe, and what comes of it on one engine.
pub struct Row<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub target: Target,
    pub cell: Cell,
}

/// Reads one column of a table such as this, where `+` is an answer, `-` silence, `x` a refusal, and `..` a
/// probe that an engine has nothing for:
///
/// ```text
///                                      | 28.5 29.7
/// out -> host  9000/tcp 9400/udp ping  | +-   ++
/// ```
pub fn column<'a>(table: &'a str, engine: &str) -> Vec<Row<'a>> {
    let mut lines = table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let header = lines.next().and_then(|line| line.split_once('|')).expect("a table begins with its engines").1;
    let at = header.split_whitespace().position(|name| name == engine).expect("each engine has a column");
    let mut rows = Vec::new();
    for line in lines {
        let malformed = || -> ! { panic!("not a row of a table: {line}") };
        let Some((probes, cells)) = line.split_once('|') else { malformed() };
        let Some((from, to)) = probes.split_once("->") else { malformed() };
        let Some(cell) = cells.split_whitespace().nth(at) else { malformed() };
        let &[before, with] = cell.chars().collect::<Vec<_>>().as_slice() else { malformed() };
        if (before, with) == ('.', '.') {
            continue;
        }
        let mut to = to.split_whitespace();
        let (from, Some(place)) = (from.trim(), to.next()) else { malformed() };
        for word in to {
            let target = super::matrix::target(word).unwrap_or_else(|| malformed());
            rows.push(Row { from, to: place, target, cell: Cell { before, with } });
        }
    }
    rows
}

fn sign(outcome: Outcome) -> char {
    match outcome {
        Outcome::Connected => '+',
        Outcome::TimedOut => '-',
        Outcome::Refused | Outcome::Unreachable | Outcome::NotPermitted => 'x',
    }
}

fn port_of(target: Target) -> u16 {
    match target {
        Target::Tcp(port) | Target::Udp(port) => port,
        Target::Ping => 0,
    }
}
