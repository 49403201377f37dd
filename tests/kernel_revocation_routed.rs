//! Revocation of what this machine opens, of what passes through it, and of port forwards: whoever loses access loses
//! the connections that were open, and the one beside goes on.
#![allow(missing_docs)]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN, Lab};
use support::namespace::Namespace;
use support::stream::{Download, Downloads};

/// What "its connection stops" means.
const LIMIT: Duration = Duration::from_secs(1);
/// The port whose access is lost, and the one beside it.
const LOST: u16 = 9000;
const KEPT: u16 = 9001;

/// A lab that forwards, in which these machines offer downloads at both ports.
struct Servers {
    lab: Lab,
    _servers: Vec<Downloads>,
}

impl Servers {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        let offer = |inside: &Namespace, addresses: [IpAddr; 2]| {
            let at: Vec<SocketAddr> =
                addresses.into_iter().flat_map(|own| [LOST, KEPT].map(|port| SocketAddr::new(own, port))).collect();
            inside.offer_downloads(&at, &at)
        };
        let servers = vec![offer(&lab.client, CLIENT), offer(&lab.lan, LAN)];
        Self { lab, _servers: servers }
    }

    fn apply(&self, policy: &str) -> String {
        self.lab.write_policy("policy.yaml", policy);
        self.lab.palisade("policy.yaml", &["apply"]).success()
    }
}

/// Over TCP and UDP, IPv4 and IPv6, from a machine to that port of those addresses.
fn begin(from: &Namespace, sources: [IpAddr; 2], to: [IpAddr; 2], port: u16) -> Vec<Download> {
    let each = sources.into_iter().zip(to).flat_map(|(source, to)| {
        let at = SocketAddr::new(to, port);
        [from.download(source, at), from.download_datagrams(source, at)]
    });
    each.collect()
}

/// Fails unless the downloads stop, and stay away whatever their client sends.
#[track_caller]
fn assert_stop(downloads: &mut [Download]) {
    for (number, download) in downloads.iter_mut().enumerate() {
        assert_eq!(download.stops_within(LIMIT), Ok(()), "{number}");
        download.send();
        assert_eq!(download.stops_within(Duration::ZERO), Ok(()), "{number}");
    }
}

#[track_caller]
fn assert_go_on(downloads: &mut [Download]) {
    for (number, download) in downloads.iter_mut().enumerate() {
        assert!(download.goes_on(), "{number}");
    }
}

#[test]
fn what_this_machine_opened_ends_with_the_rule_that_allowed_it() {
    let servers = Servers::new();
    let policy = |ports: &str| {
        format!(
            "version: 1\ndefaults: {{ outgoing: deny }}\noutgoing: {{ feed: {{ ports: {ports}, from: host, to: any }} }}\n"
        )
    };
    servers.apply(&policy("[9000/tcp, 9000/udp, 9001/tcp, 9001/udp]"));
    let host = &servers.lab.host;
    let (mut lost, mut kept) = (begin(host, HOST, CLIENT, LOST), begin(host, HOST, CLIENT, KEPT));

    let said = servers.apply(&policy("[9001/tcp, 9001/udp]"));

    assert_stop(&mut lost);
    assert_go_on(&mut kept);
    assert!(said.ends_with("ended 4 connections that lost their access\n"), "{said}");
}

#[test]
fn what_a_user_opened_ends_and_what_another_opened_goes_on() {
    let servers = Servers::new();
    let policy = |users: &str| {
        format!(
            "version: 1\ndefaults: {{ outgoing: deny }}\noutgoing: {{ feed: {{ ports: any, from: [{users}], to: any }} }}\n"
        )
    };
    servers.apply(&policy("{ user: 4001 }, { user: 4002 }"));
    let of = |user: u32| {
        nix::unistd::setfsuid(user.into());
        let begun = begin(&servers.lab.host, HOST, CLIENT, LOST);
        nix::unistd::setfsuid(0.into());
        begun
    };
    let (mut lost, mut kept) = (of(4001), of(4002));

    let said = servers.apply(&policy("{ user: 4002 }"));

    assert_stop(&mut lost);
    assert_go_on(&mut kept);
    assert!(said.ends_with("ended 4 connections that lost their access\n"), "{said}");
}

#[test]
fn what_was_routed_ends_whether_or_not_it_is_translated_and_though_everything_else_is_forwarded() {
    for (default, nat) in [
        ("deny", ""),
        ("allow", ""),
        ("deny", "nat: { lan: { from: [10.77.0.0/24, \"fd77::/64\"], to: { interface: eth0 } } }\n"),
    ] {
        let servers = Servers::new();
        let policy = |ports: &str, denied: &str| match default {
            "deny" => format!(
                "version: 1\nforward: {{ feed: {{ ports: {ports}, from: {{ interface: eth1 }}, to: any }} }}\n{nat}"
            ),
            _ => format!(
                "version: 1\ndefaults: {{ forward: allow }}\nforward: {{ feed: {{ action: deny, ports: {denied}, from: any, to: any }} }}\n"
            ),
        };
        servers.apply(&policy("[9000/tcp, 9000/udp, 9001/tcp, 9001/udp]", "1/tcp"));
        let lan = &servers.lab.lan;
        let (mut lost, mut kept) = (begin(lan, LAN, CLIENT, LOST), begin(lan, LAN, CLIENT, KEPT));

        let said = servers.apply(&policy("[9001/tcp, 9001/udp]", "[9000/tcp, 9000/udp]"));

        assert_stop(&mut lost);
        assert_go_on(&mut kept);
        assert!(said.ends_with("ended 4 connections that lost their access\n"), "{default} {nat}: {said}");
    }
}

#[test]
fn a_port_forward_that_leads_elsewhere_ends_connections_to_the_old_target() {
    for forward in ["deny", "allow"] {
        let servers = Servers::new();
        let policy = |target: [&str; 2]| {
            format!(
                "version: 1
defaults: {{ forward: {forward} }}
services:
  feed: {{ ports: [9000/tcp, 9000/udp], from: any, forward_to: [{}, \"{}\"] }}
  beside: {{ ports: [9001/tcp, 9001/udp], from: any, forward_to: [10.77.0.2, \"fd77::2\"] }}
",
                target[0], target[1]
            )
        };
        servers.apply(&policy(["10.77.0.2", "fd77::2"]));
        let client = &servers.lab.client;
        let (mut lost, mut kept) = (begin(client, CLIENT, HOST, LOST), begin(client, CLIENT, HOST_ON_LAN, KEPT));

        let said = servers.apply(&policy(["10.77.0.3", "fd77::3"]));

        assert_stop(&mut lost);
        assert_go_on(&mut kept);
        assert!(said.ends_with("ended 4 connections that lost their access\n"), "{forward}: {said}");
    }
}
