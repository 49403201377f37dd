//! The WireGuard server of `policies/`, with a peer behind a tunnel: WireGuard's own where the kernel has it.

mod support;

use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use support::lab::{ANY, CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target, seen_from};
use support::tunnel::{HOST_INSIDE, PEER, Tunnel};

const POLICY: &str = "wireguard-server.yaml";

/// Who connects from which address, over which interface of the host, to which address, and whether the policy lets
/// them, by target.
struct Row<'n> {
    who: &'n Namespace,
    from: IpAddr,
    by: &'static str,
    to: IpAddr,
    targets: &'static [(Target, bool)],
}

const TO_INTERNET: &[(Target, bool)] = &[(Target::Tcp(4242), true), (Target::Udp(4242), true), (Target::Ping, true)];
const TO_LAN: &[(Target, bool)] = &[
    (Target::Tcp(22), true),
    (Target::Tcp(443), true),
    (Target::Ping, true),
    (Target::Tcp(3306), false),
    (Target::Udp(4242), false),
];
const TO_SERVER: &[(Target, bool)] =
    &[(Target::Tcp(22), true), (Target::Udp(53), true), (Target::Ping, true), (Target::Tcp(443), false)];
const SSH_ALONE: &[(Target, bool)] = &[(Target::Tcp(22), true), (Target::Udp(53), false)];
const NOTHING: &[(Target, bool)] = &[(Target::Tcp(22), false), (Target::Tcp(443), false), (Target::Udp(4242), false)];

fn rows<'n>(lab: &'n Lab, peer: &'n Namespace) -> Vec<Row<'n>> {
    let row = |who, from: [IpAddr; 2], by, to: [IpAddr; 2], targets| {
        [0, 1].map(|version| Row { who, from: from[version], by, to: to[version], targets })
    };
    [
        row(peer, PEER, "wg0", CLIENT, TO_INTERNET),
        row(peer, PEER, "wg0", LAN, TO_LAN),
        row(peer, PEER, "wg0", HOST_INSIDE, TO_SERVER),
        row(&lab.lan, LAN, "eth1", HOST_ON_LAN, SSH_ALONE),
        row(&lab.lan, LAN, "eth1", PEER, NOTHING),
        row(&lab.lan, LAN, "eth1", CLIENT, NOTHING),
        row(&lab.client, CLIENT, "eth0", LAN, NOTHING),
        row(&lab.client, CLIENT, "eth0", PEER, NOTHING),
        row(&lab.client, CLIENT, "eth0", HOST, NOTHING),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The connections that come to another end: of all that are open, if nothing is loaded.
fn differences(rows: &[Row<'_>], loaded: bool) -> Vec<String> {
    let mut found = Vec::new();
    for Row { who, from, by, to, targets } in rows {
        for (target, allowed) in *targets {
            let open = *allowed || !loaded;
            let outcome = who.probe(*target, *from, *to, if open { PATIENCE } else { SILENCE });
            if (outcome == Outcome::Connected) != open {
                found.push(format!("{target} from {from} by {by} to {to}: {outcome:?}"));
            }
        }
    }
    found
}

/// The connections of which `explain` says something else.
fn explained_otherwise(lab: &Lab, rows: &[Row<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for Row { from, by, to, targets, .. } in rows {
        for (target, allowed) in *targets {
            let port = match target {
                Target::Ping => "ping".to_owned(),
                target => target.to_string(),
            };
            let (source, destination) = (from.to_string(), to.to_string());
            let arguments = ["explain", &port, "--from", &source, "--to", &destination, "--on", by, "--json"];
            let said = lab.palisade(POLICY, &arguments).stdout;
            let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
            if said["verdict"] != if *allowed { "allow" } else { "deny" } {
                found.push(format!("{target} from {from} by {by} to {to}: {}: {}", said["verdict"], said["reason"]));
            }
        }
    }
    found
}

#[test]
fn peers_of_a_vpn_reach_the_internet_and_three_ports_of_the_lan_which_is_closed_from_outside() {
    let lab = Lab::new();
    lab.forward();
    let tunnel = Tunnel::new(&lab);
    let open = |of: IpAddr, ports: &[u16]| -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::new(of, *port)).collect()
    };
    let listen = |inside: &Namespace, own: &[IpAddr]| {
        let tcp: Vec<_> = ANY.iter().flat_map(|any| open(*any, &[22, 443, 3306, 4242])).collect();
        let udp: Vec<_> = own.iter().flat_map(|own| open(*own, &[53, 4242])).collect();
        inside.listen(&tcp, &udp)
    };
    let _echoes = [
        listen(&lab.host, &[HOST, HOST_INSIDE, HOST_ON_LAN].concat()),
        listen(&lab.client, &CLIENT),
        listen(&lab.lan, &LAN),
        listen(&tunnel.peer, &PEER),
    ];
    let rows = rows(&lab, &tunnel.peer);
    let seen = |version: usize| {
        let at = SocketAddr::new(CLIENT[version], 8443);
        seen_from((&tunnel.peer, PEER[version]), at, (&lab.client, at))
    };
    assert_eq!(differences(&rows, false), [""; 0]);
    assert_eq!([seen(0), seen(1)], PEER.map(Some));

    let checked = lab.palisade(POLICY, &["check", "--json"]).success();
    let checked: Value = serde_json::from_str(&checked).expect("a document");
    // Nothing is to be revoked: of a ping, `explain` can't tell whether its connection was.
    output(lab.host.command("conntrack").arg("-F")).success();
    lab.palisade(POLICY, &["apply"]).success();

    assert_eq!((&checked["valid"], &checked["problems"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    assert_eq!(differences(&rows, true), [""; 0]);
    // Peers with routed IPv6 addresses are not masqueraded.
    assert_eq!([seen(0), seen(1)], [Some(HOST[0]), Some(PEER[1])]);
    assert_eq!(explained_otherwise(&lab, &rows), [""; 0]);
    lab.palisade(POLICY, &["diff"]).success();
}
