//! An SSH server, and every road by which its operator comes to it.
//!
//! ```text
//! far ── eth1 ─── client, a router ── eth0 ──────── eth0 ── host ── eth1 ── lan
//! 198.51.100.7     203.0.113.9                     203.0.113.1  └── docker0 ── container
//! 2001:db8:5::7    fe80::9 is the host's gateway   2001:db8::1
//! ```
//!
//! The router publishes the host's port 22 as its own 2200, and as 2201 in its own name. The host translates its port
//! 2222 to 22, and 2224 to port 22 of its address on the local network.

use super::lab::{HOST, HOST_ON_LAN, Lab};
use super::namespace::Namespace;
use super::sshd::Sshd;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::process::Command;
use std::time::Duration;

/// The host's gateway of IPv6.
const GATEWAY: &str = "fe80::9";
/// A session whose server is gone ends by itself.
const ALIVE: [&str; 4] = ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"];

/// How an operator connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Road {
    /// What it is.
    pub name: &'static str,
    /// Whose namespace: `client`, `far`, `lan` or `container`.
    by: &'static str,
    /// Their address.
    own: &'static str,
    /// The address that they connect to, as ssh takes it.
    to: &'static str,
    /// The port that they connect to.
    pub port: u16,
    /// The address that the host sees.
    pub seen: &'static str,
    /// The interface of the host that they come in by.
    pub interface: &'static str,
}

const fn road(
    name: &'static str,
    by: &'static str,
    [own, seen]: [&'static str; 2],
    (to, port): (&'static str, u16),
    interface: &'static str,
) -> Road {
    Road { name, by, own, to, port, seen, interface }
}

/// All roads.
pub const ROADS: [Road; 16] = [
    road("IPv4", "client", ["203.0.113.9"; 2], ("203.0.113.1", 22), "eth0"),
    road("IPv6", "client", ["2001:db8::9"; 2], ("2001:db8::1", 22), "eth0"),
    road("routed IPv4", "far", ["198.51.100.7"; 2], ("203.0.113.1", 22), "eth0"),
    road("IPv6 by a link-local gateway", "far", ["2001:db8:5::7"; 2], ("2001:db8::1", 22), "eth0"),
    road("a translated port", "far", ["198.51.100.7"; 2], ("203.0.113.1", 2222), "eth0"),
    road("a translated port of IPv6", "far", ["2001:db8:5::7"; 2], ("2001:db8::1", 2222), "eth0"),
    road("a translated address", "far", ["198.51.100.7"; 2], ("203.0.113.1", 2224), "eth0"),
    road("a translated address of IPv6", "far", ["2001:db8:5::7"; 2], ("2001:db8::1", 2224), "eth0"),
    road("published by the router", "far", ["198.51.100.7"; 2], ("198.51.100.1", 2200), "eth0"),
    road("published in the router's name", "far", ["198.51.100.7", "203.0.113.9"], ("198.51.100.1", 2201), "eth0"),
    road("the local network", "lan", ["10.77.0.2"; 2], ("10.77.0.1", 22), "eth1"),
    road("the local network's IPv6", "lan", ["fd77::2"; 2], ("fd77::1", 22), "eth1"),
    road("link-local", "client", [GATEWAY; 2], ("fe80::1%eth0", 22), "eth0"),
    road("a container", "container", ["172.17.0.2"; 2], ("172.17.0.1", 22), "docker0"),
    road("a container of IPv6", "container", ["fd17::2"; 2], ("fd17::1", 22), "docker0"),
    road("a container to a public address", "container", ["172.17.0.2"; 2], ("203.0.113.1", 22), "docker0"),
];

/// The server, with all that the roads need.
pub struct Roads {
    pub served: Sshd,
    pub far: Namespace,
    pub container: Namespace,
}

impl Roads {
    pub fn new() -> Self {
        let served = Sshd::with(22, "MaxStartups 1000:30:2000\nLoginGraceTime 0\n");
        let (far, container) = (Namespace::new(), Namespace::new());
        let Lab { host, client, .. } = &served.lab;
        wire(
            client,
            ("eth1", ["198.51.100.1/24", "2001:db8:5::1/64"]),
            &far,
            ["198.51.100.7/24", "2001:db8:5::7/64"],
        );
        far.ip("-4 route add default via 198.51.100.1");
        far.ip("-6 route add default via 2001:db8:5::1");
        client.sysctl("net/ipv4/ip_forward", "1");
        client.sysctl("net/ipv6/conf/all/forwarding", "1");
        client.ip(&format!("address add {GATEWAY}/64 dev eth0 nodad"));
        client.nft_load(
            "table ip router {
                chain in { type nat hook prerouting priority dstnat; tcp dport { 2200, 2201 } dnat to 203.0.113.1:22; }
                chain out { type nat hook postrouting priority srcnat; meta l4proto tcp ct original proto-dst 2201 masquerade; }
            }",
        );
        host.ip("address add fe80::1/64 dev eth0 nodad");
        host.ip(&format!("-6 route replace default via {GATEWAY} dev eth0"));
        host.ip("link add docker0 type bridge");
        wire(host, ("box", []), &container, ["172.17.0.2/16", "fd17::2/64"]);
        host.ip("link set box master docker0");
        for address in ["172.17.0.1/16", "fd17::1/64 nodad"] {
            host.ip(&format!("address add dev docker0 {address}"));
        }
        host.ip("link set docker0 up");
        container.ip("-4 route add default via 172.17.0.1");
        container.ip("-6 route add default via fd17::1");
        served.lab.forward();
        // Forwarding of IPv6 forgets no route that was made by hand, but the default one is checked here.
        assert!(host.ip("-6 route show default").contains(GATEWAY));
        host.nft_load(&format!(
            "table inet translates {{
                chain in {{
                    type nat hook prerouting priority dstnat
                    tcp dport 2222 redirect to :22
                    meta nfproto ipv4 tcp dport 2224 dnat ip to {}:22
                    meta nfproto ipv6 tcp dport 2224 dnat ip6 to [{}]:22
                }}
            }}",
            HOST_ON_LAN[0], HOST_ON_LAN[1]
        ));
        Self { served, far, container }
    }

    fn inside(&self, road: Road) -> &Namespace {
        match road.by {
            "client" => &self.served.lab.client,
            "far" => &self.far,
            "lan" => &self.served.lab.lan,
            "container" => &self.container,
            other => panic!("{other} is nobody"),
        }
    }

    /// An SSH client of this road, which gives up after so many seconds.
    pub fn ssh(&self, road: Road, seconds: u32) -> Command {
        let mut command = self.served.ssh(self.inside(road), road.to, road.port);
        let own = format!("{}{}", road.own, scope(road));
        // What comes first counts.
        let mut patient = Command::new(command.get_program());
        let timeout = format!("ConnectTimeout={seconds}");
        for argument in command.get_args() {
            patient.arg(if argument == "ConnectTimeout=1" { timeout.as_ref() } else { argument });
        }
        patient.args(["-b", &own]).args(ALIVE).stdin(std::process::Stdio::null());
        command = patient;
        command
    }

    /// Whether an SSH server greets a new connection of the operator, who waits so long for it.
    pub fn is_greeted(&self, road: Road, patience: Duration) -> bool {
        let greeting = self.inside(road).run(|| -> io::Result<[u8; 4]> {
            let to = socket_address(road.to, road.port);
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.bind(&socket_address(&format!("{}{}", road.own, scope(road)), 0).into())?;
            socket.connect_timeout(&to.into(), patience)?;
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(patience))?;
            let mut greeting = [0; 4];
            stream.read_exact(&mut greeting)?;
            Ok(greeting)
        });
        greeting.is_ok_and(|greeting| greeting == *b"SSH-")
    }
}

/// The interface of a link-local address, as text follows it.
fn scope(road: Road) -> &'static str {
    if road.own == GATEWAY { "%eth0" } else { "" }
}

/// A port of an address with its interface, if it has one; of the namespace that this thread is in.
fn socket_address(address: &str, port: u16) -> SocketAddr {
    let (address, interface) = address.split_once('%').map_or((address, None), |(one, name)| (one, Some(name)));
    match address.parse().expect("an address") {
        IpAddr::V4(address) => SocketAddr::new(address.into(), port),
        IpAddr::V6(address) => {
            let scope = interface.map_or(0, |name| if_nametoindex(name).expect("an interface"));
            SocketAddrV6::new(address, port, 0, scope).into()
        }
    }
}

/// Joins two namespaces. The second one's interface is `eth0`.
fn wire<const N: usize>(one: &Namespace, (name, own): (&str, [&str; N]), other: &Namespace, others: [&str; 2]) {
    one.ip(&format!("link add {name} type veth peer name eth0 netns {}", other.path()));
    let addresses = own.iter().map(|own| (one, name, *own)).chain(others.map(|theirs| (other, "eth0", theirs)));
    for (inside, device, address) in addresses {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        inside.ip(&format!("address add {address} dev {device} {nodad}"));
    }
    one.ip(&format!("link set {name} up"));
    other.ip("link set eth0 up");
}

/// Addresses of strangers, whom the client's namespace has, and where they connect to.
pub fn strangers() -> [(IpAddr, SocketAddr); 2] {
    [
        (Ipv4Addr::new(203, 0, 113, 66).into(), SocketAddr::new(HOST[0], 22)),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66).into(), SocketAddr::new(HOST[1], 22)),
    ]
}
