//! What a session depends on beside its own connection: the path of the tunnel that it comes by, and the servers that
//! a login asks. Neither can be told for certain, so these are warnings.

use crate::access::{AccessChange, Port};
use crate::machine::{Machine, Session};
use crate::net::protocol;
use crate::resolve::{Action, Resolved};
use crate::ruleset::{Table, TableId};
use crate::simulate::{Packet, Transport, Verdict, simulate_table};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// The kinds of interfaces that carry packets in packets, as the kernel names them (`IFLA_INFO_KIND`). Programs such
/// as OpenVPN and Tailscale have a `tun`.
const TUNNELS: [&str; 14] = [
    "wireguard",
    "tun",
    "ovpn",
    "ipip",
    "sit",
    "gre",
    "ip6gre",
    "ip6tnl",
    "vti",
    "vti6",
    "xfrm",
    "ppp",
    "geneve",
    "vxlan",
];
/// The one whose socket is the kernel's own, as are those of GENEVE and VXLAN.
const WIREGUARD: &str = "wireguard";
/// What a login may ask elsewhere: Kerberos, LDAP, LDAP over TLS.
const DIRECTORY: [u16; 3] = [88, 389, 636];
/// An address that no policy names: RFC 5737.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Warns of a session that comes by a tunnel whose own packets may not get in again. `changes` are those of access.
pub(super) fn of_tunnel(session: &Session, machine: &Machine, changes: &[AccessChange]) -> Option<String> {
    let kind = tunnel(session, machine)?;
    let inside = format!("{session} comes by a tunnel, and is tried inside of it alone");
    let Some(ports) = ports(machine, kind) else {
        return Some(format!("{inside}: can't tell whether the tunnel's own packets get in again"));
    };
    let shut: Vec<String> = changes.iter().filter(|change| shuts(change, &ports)).map(ToString::to_string).collect();
    (!shut.is_empty()).then(|| {
        format!(
            "{inside}: the tunnel itself may not get in again ({}); `apply --confirm` undoes that",
            shut.join("; ")
        )
    })
}

/// The kind of the tunnel that a session comes by; `None` if it comes by none.
pub(super) fn tunnel<'m>(session: &Session, machine: &'m Machine) -> Option<&'m str> {
    let name = session.interface.as_ref()?;
    let link = machine.links.iter().flatten().find(|link| link.name == *name)?;
    link.kind.as_deref().filter(|kind| TUNNELS.contains(kind))
}

/// The UDP ports that a tunnel's packets may come to; `None` if none is known.
fn ports(machine: &Machine, kind: &str) -> Option<BTreeSet<u16>> {
    let of_udp = machine.listeners.iter().flatten().map(|listener| &listener.socket);
    let of_udp = of_udp.filter(|socket| socket.protocol == protocol::UDP && !socket.address.is_loopback());
    // A kernel's socket belongs to no process.
    let ports: BTreeSet<u16> =
        of_udp.filter(|socket| kind != WIREGUARD || socket.inode == 0).map(|socket| socket.port).collect();
    (!ports.is_empty()).then_some(ports)
}

fn shuts(change: &AccessChange, ports: &BTreeSet<u16>) -> bool {
    let among = match &change.port {
        Some(Port::One(port)) => ports.contains(port),
        Some(Port::Range(range)) => range.split_once('-').is_some_and(|(first, last)| {
            let range = first.parse().ok().zip(last.parse().ok());
            range.is_some_and(|(first, last): (u16, u16)| ports.range(first..=last.max(first)).next().is_some())
        }),
        None => false,
    };
    among && change.proto == "udp" && !(change.loses.is_empty() && change.unknown.is_empty())
}

/// Warns of a policy that denies what this machine opens, where the rules before let it ask servers of users.
pub(super) fn of_directory(id: &TableId, before: Option<&Table>, policy: &Resolved, after: &Table) -> Option<String> {
    if policy.defaults.outgoing == Action::Allow {
        return None;
    }
    let asks = |table: &Table, port: u16| {
        let packet = Packet::from_machine(HERE, ELSEWHERE, Transport::tcp(port));
        simulate_table(id, table, &packet).verdict == Verdict::Allow
    };
    let lost = |port: &u16| before.is_none_or(|before| asks(before, *port)) && !asks(after, *port);
    DIRECTORY.iter().any(lost).then(|| {
        "outgoing connections are denied from now on: if a login asks a directory server (LDAP, Kerberos), add it to \
         `outgoing`, or nobody of it logs in again; `palisade apply --confirm 5m` undoes the change unless a new login \
         confirms it"
            .to_owned()
    })
}
