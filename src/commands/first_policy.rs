//! A first policy, from what a machine runs. Only SSH is open in it; all else is offered, commented out, with the reason.

use crate::machine::{Listener, PublishedPort, Session};
use crate::net::Transport;
use crate::netlink::{ConnectedSocket, RoutedLink};
use crate::policy::in_a_policy;
use crate::printable::printable;
use crate::resolve::Containers;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What was found on the machine.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Its interfaces.
    pub(super) links: Vec<RoutedLink>,
    /// Its sockets.
    pub(super) listeners: Vec<Listener>,
    /// The ports of its SSH servers.
    pub(super) ssh_ports: BTreeSet<u16>,
    /// What its containers publish.
    pub(super) published: Vec<PublishedPort>,
    /// The open connections.
    pub(super) connected: Vec<ConnectedSocket>,
    /// Who is logged in.
    pub(super) sessions: Vec<Session>,
}

/// How many connected addresses are named.
const SHOWN: usize = 5;
/// What DHCP clients listen on. Answers to them pass whatever the policy says.
const DHCP_CLIENTS: [u16; 2] = [68, 546];
/// What everybody is meant to reach.
const WEB: [u16; 2] = [80, 443];

/// A service that is offered.
#[derive(Default)]
struct Offer {
    ports: BTreeSet<(Transport, u16)>,
    /// Whose ports these are, in words.
    whose: BTreeSet<String>,
}

impl Found {
    /// The policy as text. `offered` is what stands before a line that is offered: `# `.
    pub(super) fn policy(&self, offered: &str) -> String {
        let mut text = "\
# Written by `palisade init` from what this machine runs. Only SSH is open; what else is there is offered below, with the
# reason, and commented out. Take the `# ` away from what others are to reach, name who is to reach it, and keep this file
# as /etc/palisade/policy.yaml. Then:
#   palisade check
#   palisade apply --confirm 60s     # and `palisade confirm` in a new connection
version: 1

groups:
"
        .to_owned();
        self.groups(&mut text, offered);
        text.push_str("\nservices:\n");
        self.ssh(&mut text, offered);
        for (name, Offer { ports, whose }) in self.offers() {
            let whose: Vec<&str> = whose.iter().map(String::as_str).collect();
            text.push_str(&format!("\n  # {}\n", printable(&whose.join("; "))));
            let connected = self.connected_to(&ports);
            if !connected.is_empty() {
                text.push_str(&format!("  # Connected now: {}\n", in_short(&connected)));
            }
            let from = if ports.iter().any(|(_, port)| WEB.contains(port)) { "any" } else { "trusted" };
            let ports: Vec<String> =
                ports.iter().map(|(transport, port)| format!("{port}/{}", transport.name())).collect();
            let ports = if let [one] = ports.as_slice() { one.clone() } else { format!("[{}]", ports.join(", ")) };
            text.push_str(&format!("  {offered}{name}:\n  {offered}  ports: {ports}\n  {offered}  from: {from}\n"));
        }
        text
    }

    fn groups(&self, text: &mut String, offered: &str) {
        let clients: BTreeSet<IpAddr> = self.sessions.iter().map(|session| session.client).collect();
        let quoted: Vec<String> = clients.iter().map(written).collect();
        if quoted.is_empty() {
            text.push_str("  # Whom you trust: addresses, networks, interfaces.\n");
            text.push_str(&format!("  {offered}trusted: [192.0.2.10, 198.51.100.0/24]\n"));
        } else {
            let users: BTreeSet<String> = self.sessions.iter().map(ToString::to_string).collect();
            let users: Vec<String> = users.into_iter().collect();
            text.push_str(&format!("  # Logged in now: {}.\n", printable(&users.join(", "))));
            text.push_str(&format!("  {offered}trusted: [{}]\n", quoted.join(", ")));
        }
        let containers = Containers::default();
        let mut names = BTreeSet::from(["trusted".to_owned()]);
        for link in self.links.iter().filter(|link| has_role(link)) {
            let networks: Vec<String> =
                link.networks.iter().map(|(network, length)| format!("{network}/{length}")).collect();
            let networks = if networks.is_empty() { "no network".to_owned() } else { networks.join(", ") };
            let (role, is_inside) = match link.kind.as_deref() {
                _ if containers.covers(&link.name) => ("containers", false),
                _ if link.is_way_out => ("the way out: it has a default route", false),
                Some("wireguard" | "tun" | "ipip" | "sit" | "gre" | "ip6gre" | "vti" | "xfrm") => ("a tunnel", true),
                Some("bridge") => {
                    ("a bridge; if containers or machines are behind it, name it in `containers`", true)
                }
                _ => ("a local network", true),
            };
            text.push_str(&format!("  # {}: {role} ({networks})\n", printable(&link.name)));
            if let Some(written) = in_a_policy(&link.name).filter(|_| is_inside && !link.networks.is_empty()) {
                let name = name_of(&link.name, &mut names);
                text.push_str(&format!("  {offered}{name}: {{ interface: {written} }}\n"));
            }
        }
    }

    fn ssh(&self, text: &mut String, offered: &str) {
        let mut ports: Vec<String> = self.ssh_ports.iter().map(|port| format!("{port}/tcp")).collect();
        if ports.is_empty() {
            text.push_str("  # No SSH server was found: this is where one usually listens.\n");
            ports.push("22/tcp".to_owned());
        } else {
            text.push_str("  # Without this nobody gets in to mend anything.\n");
        }
        let ports = if let [one] = ports.as_slice() { one.clone() } else { format!("[{}]", ports.join(", ")) };
        text.push_str(&format!("  ssh:\n    ports: {ports}\n    from: any\n"));
        text.push_str(&format!("    {offered}limit: 6/minute     # new connections of one source address\n"));
    }

    /// The services by name: what containers publish, then what processes listen on.
    fn offers(&self) -> Vec<(String, Offer)> {
        let mut by_owner: BTreeMap<(bool, String), Offer> = BTreeMap::new();
        let mut published = BTreeSet::new();
        for port in self.published.iter().filter(|port| !is_loopback(port.address)) {
            let Some(transport) = Transport::from_number(port.protocol) else { continue };
            published.insert((transport, port.port));
            let offer = by_owner.entry((false, port.container.clone())).or_default();
            offer.ports.insert((transport, port.port));
            offer.whose.insert(format!("the container {} of {}", port.container, port.engine.name()));
        }
        for Listener { socket, process } in &self.listeners {
            let Some(transport) = Transport::from_number(socket.protocol) else { continue };
            let is_ssh = transport == Transport::Tcp && self.ssh_ports.contains(&socket.port);
            let is_dhcp = transport == Transport::Udp && DHCP_CLIENTS.contains(&socket.port);
            let is_published = published.contains(&(transport, socket.port));
            if is_loopback(socket.address)
                || socket.interface.as_deref() == Some("lo")
                || is_ssh
                || is_dhcp
                || is_published
            {
                continue;
            }
            let (owner, whose) = match process {
                Some(holder) => (holder.name.clone(), format!("the process {} ({})", holder.name, holder.pid)),
                None => {
                    let port = format!("{}-{}", transport.name(), socket.port);
                    (port, "the kernel, or a process that can't be seen".to_owned())
                }
            };
            let offer = by_owner.entry((true, owner)).or_default();
            offer.ports.insert((transport, socket.port));
            offer.whose.insert(whose);
        }
        let mut names = BTreeSet::from(["ssh".to_owned()]);
        by_owner.into_iter().map(|((_, owner), offer)| (name_of(&owner, &mut names), offer)).collect()
    }

    /// Who is connected to one of these ports, from elsewhere.
    fn connected_to(&self, ports: &BTreeSet<(Transport, u16)>) -> BTreeSet<IpAddr> {
        let is_of = |socket: &&ConnectedSocket| {
            let transport = Transport::from_number(socket.protocol);
            transport.is_some_and(|transport| ports.contains(&(transport, socket.local.port())))
        };
        let remotes = self.connected.iter().filter(is_of).map(|socket| socket.remote.ip());
        remotes.filter(|remote| !is_loopback(*remote)).collect()
    }
}

/// Whether nobody else can reach an address.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether somebody is behind an interface for whom it is listed: not the loopback, nor a port of a bridge.
fn has_role(link: &RoutedLink) -> bool {
    link.name != "lo" && link.master.is_none() && (link.is_way_out || !link.networks.is_empty())
}

/// An address as a policy writes it.
fn written(address: &IpAddr) -> String {
    if address.is_ipv6() { format!("\"{address}\"") } else { address.to_string() }
}

fn in_short(addresses: &BTreeSet<IpAddr>) -> String {
    let first: Vec<String> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
    match addresses.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A name for a service or a group, like what others call it, that is not taken yet.
fn name_of(owner: &str, taken: &mut BTreeSet<String>) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let mut name: String = owner.chars().map(allowed).take(24).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, "x-");
    }
    // Words of the language.
    if ["any", "containers", "private", "host"].contains(&name.as_str()) {
        name.push_str("-1");
    }
    let plain = name.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{plain}-{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{EngineKind, Holder};
    use crate::net::protocol;
    use crate::netlink::ListeningSocket;
    use crate::policy::parse;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn listener(protocol: u8, at: &str, port: u16, process: Option<(u32, &str)>) -> Listener {
        let socket = ListeningSocket { protocol, port, address: address(at), both: false, interface: None, inode: 1 };
        Listener { socket, process: process.map(|(pid, name)| Holder { pid, name: name.to_owned() }) }
    }

    fn machine() -> Found {
        let link = |name: &str, kind: Option<&str>, network: &str, is_way_out| RoutedLink {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            networks: BTreeSet::from([(address(network), 24)]),
            is_way_out,
            ..RoutedLink::default()
        };
        let published = |at: &str, port, container: &str| PublishedPort {
            protocol: protocol::TCP,
            port,
            address: address(at),
            container: container.to_owned(),
            container_port: 80,
            engine: EngineKind::Docker,
        };
        Found {
            links: vec![
                link("docker0", Some("bridge"), "172.17.0.0", false),
                link("eth0", None, "203.0.113.0", true),
                link("eth1", None, "10.0.0.0", false),
                link("wg0", Some("wireguard"), "10.8.0.0", false),
            ],
            listeners: vec![
                listener(protocol::TCP, "0.0.0.0", 2222, Some((10, "sshd"))),
                listener(protocol::TCP, "::", 443, Some((20, "nginx: a\nversion: 2"))),
                listener(protocol::TCP, "0.0.0.0", 80, Some((20, "nginx: a\nversion: 2"))),
                listener(protocol::TCP, "127.0.0.1", 5432, Some((30, "postgres"))),
                listener(protocol::TCP, "0.0.0.0", 9000, Some((40, "docker-proxy"))),
                listener(protocol::UDP, "0.0.0.0", 68, Some((50, "dhclient"))),
                listener(protocol::UDP, "0.0.0.0", 51820, None),
            ],
            ssh_ports: BTreeSet::from([2222]),
            published: vec![published("0.0.0.0", 9000, "dashboard"), published("127.0.0.1", 9001, "private")],
            connected: vec![ConnectedSocket {
                protocol: protocol::TCP,
                local: "203.0.113.5:9000".parse().expect("an address"),
                remote: "198.51.100.7:40000".parse().expect("an address"),
                user: None,
            }],
            sessions: vec![Session {
                client: address("2001:db8::9"),
                client_port: 50000,
                server: "[2001:db8::5]:2222".parse().expect("an address"),
                own: false,
                user: Some("alice".to_owned()),
                interface: None,
                asked: None,
            }],
        }
    }

    const EXPECTED: &str = "\
groups:
  # Logged in now: the SSH session of alice from 2001:db8::9 to port 2222.
  # trusted: [\"2001:db8::9\"]
  # docker0: containers (172.17.0.0/24)
  # eth0: the way out: it has a default route (203.0.113.0/24)
  # eth1: a local network (10.0.0.0/24)
  # eth1: { interface: eth1 }
  # wg0: a tunnel (10.8.0.0/24)
  # wg0: { interface: wg0 }

services:
  # Without this nobody gets in to mend anything.
  ssh:
    ports: 2222/tcp
    from: any
    # limit: 6/minute     # new connections of one source address

  # the container dashboard of Docker
  # Connected now: 198.51.100.7
  # dashboard:
  #   ports: 9000/tcp
  #   from: trusted

  # the process nginx: a\\u{a}version: 2 (20)
  # nginx--a-version--2:
  #   ports: [80/tcp, 443/tcp]
  #   from: any

  # the kernel, or a process that can't be seen
  # udp-51820:
  #   ports: 51820/udp
  #   from: trusted
";

    #[test]
    fn a_first_policy_opens_ssh_and_offers_what_else_is_there_with_the_reason() {
        let text = machine().policy("# ");

        let (_, body) = text.split_once("version: 1\n\n").expect("a head");
        assert_eq!(body, EXPECTED);
        let parsed = parse(&text, "policy.yaml");
        assert_eq!(parsed.problems, []);
        let policy = parsed.policy.expect("a policy");
        let services: Vec<&str> = policy.services.iter().map(|service| service.name.value.as_str()).collect();
        assert_eq!((services, policy.groups.len()), (vec!["ssh"], 0));
    }

    #[test]
    fn what_is_offered_is_valid_as_it_stands() {
        for machine in [machine(), Found::default()] {
            let parsed = parse(&machine.policy(""), "policy.yaml");
            assert_eq!(parsed.problems, []);
            let facts = crate::facts::Facts::default();
            let resolved = crate::resolve::resolve(&parsed.policy.expect("a policy"), &facts);
            assert!(resolved.is_ok(), "{resolved:?}");
        }
    }
}
