//! Attacks with real packets and what comes of them, each with its control in which it gets in. Needs root.

mod support;

use std::net::IpAddr;
use support::attack::craft::{Speech, discovery, host_sends, message, send, send_to, tcp};
use support::attack::denied::about_v6;
use support::attack::repairs::{REPAIRS, take_away};
use support::attack::who::{C1, C2, DOCKER0, FAR, HOST, Place, ROUTER, STRANGER, Who};
use support::attack::{Stage, Step};
use support::frame::{Shape, about};
use support::frames::{ACK, Body, PSH, SYN, Written};

const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"] }
";

/// What comes of an attack without the rules that keep it out, and with them.
fn without_and_with<T>(stage: &Stage, attack: impl Fn(&Stage) -> T) -> [T; 2] {
    stage.apply(POLICY);
    take_away(&stage.lab.host, REPAIRS);
    stage.forget();
    let without = attack(stage);
    stage.apply(POLICY);
    stage.forget();
    [without, attack(stage)]
}

const SHUT: [[bool; 2]; 2] = [[true; 2], [false; 2]];

#[test]
fn a_container_that_forges_the_address_of_the_host_opens_no_port_of_it() {
    let stage = Stage::new();
    let forgeries = [false, true].map(|six| {
        Speech::ALL.map(|speech| {
            let forged = speech.first((HOST.address(six), 9000), (STRANGER.address(six), 4444));
            let answer = send(STRANGER, speech.answer(&forged));
            // Over IPv4 by a bridge, where the kernel does not ask whether a source is its own.
            [send_to(C1, if six { DOCKER0.mac } else { C2.mac }, forged), answer]
        })
    });
    let gets_in = |steps: &[Step]| stage.play(steps).contains(&Place::Host);

    let answered =
        without_and_with(&stage, |_| forgeries.each_ref().map(|by| by.each_ref().map(|steps| gets_in(steps))));
    assert_eq!(answered, [[[true; 4]; 2], [[false; 4]; 2]]);
    stage.forget();
    assert!(
        !forgeries.iter().flatten().any(|[_, answer]| gets_in(std::slice::from_ref(answer))),
        "nobody forged anything"
    );
}

/// How the host would send to somebody far away.
fn route(stage: &Stage, six: bool) -> String {
    let line = stage.lab.host.ip(&format!("-o route get {}", FAR.address(six)));
    line.split_whitespace()
        .skip_while(|word| *word != "via")
        .nth(1)
        .map(str::to_owned)
        .expect("it is behind a router")
}

#[test]
fn a_redirect_that_quotes_a_known_connection_leads_the_host_no_other_way() {
    let stage = Stage::new();
    let host = &stage.lab.host;
    for (name, value) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv4/conf/all/accept_redirects", "1"),
        ("net/ipv4/conf/eth0/accept_redirects", "1"),
        ("net/ipv4/conf/eth0/secure_redirects", "0"),
        ("net/ipv6/conf/eth0/accept_redirects", "1"),
    ] {
        host.sysctl(name, value);
    }
    // IPv6 is led elsewhere by the router alone, which calls itself by its address on the link.
    host.ip("-6 route delete default");
    host.ip(&format!("-6 route add default via {} dev eth0", ROUTER.link_local()));
    let redirected = |stage: &Stage| {
        [false, true].map(|six| {
            stage.lab.host.ip("route flush cache");
            stage.lab.host.ip("-6 route flush cache");
            let begun = Speech::Ping.first((HOST.address(six), 5000), (FAR.address(six), 0));
            let error = if six {
                let rest = about_v6(&begun, STRANGER.link_local());
                Written { hop_limit: 255, ..message(ROUTER.link_local(), HOST.address(true), 137, 0, rest) }
            } else {
                message(ROUTER.address(false), HOST.address(false), 5, 1, about(&begun, [203, 0, 113, 66]))
            };
            stage.play(&[host_sends(begun), send(ROUTER, error)]);
            let is =
                |who: Who| [who.address(six), who.link_local()].map(|a| a.to_string()).contains(&route(stage, six));
            assert!(is(ROUTER) || is(STRANGER), "{}", route(stage, six));
            is(STRANGER)
        })
    };
    assert_eq!(without_and_with(&stage, redirected), SHUT);
}

#[test]
fn what_a_helper_expects_opens_no_port() {
    let stage = Stage::new();
    stage.lab.host.nft_load(
        "table inet helpers {
        ct helper ftp { type \"ftp\" protocol tcp; l3proto inet; }
        chain output { type filter hook output priority filter; tcp dport 21 ct helper set \"ftp\"; }
    }\n",
    );
    let steps = [false, true].map(|six| {
        let (host, server) = (HOST.address(six), STRANGER.address(six));
        let said = if six { format!("EPRT |2|{host}|9001|\r\n") } else { "PORT 203,0,113,1,35,41\r\n".to_owned() };
        let greeting = b"USER anonymous\r\n".to_vec();
        let segment = |from, to, flags, seq, ack| {
            let mut packet = tcp(flags, from, to);
            if let Body::Tcp { seq: s, ack: a, .. } = &mut packet.body {
                (*s, *a) = (seq, ack);
            }
            packet
        };
        let (own, their) = ((host, 40_000), (server, 21));
        let behind = 2 + u32::try_from(greeting.len()).expect("it is short");
        [
            host_sends(segment(own, their, SYN, 1, 0)).shaped(Shape::Saying(vec![])),
            send(STRANGER, segment(their, own, SYN | ACK, 1, 2)).shaped(Shape::Saying(vec![])),
            host_sends(segment(own, their, ACK, 2, 2)).shaped(Shape::Saying(vec![])),
            host_sends(segment(own, their, ACK | PSH, 2, 2)).shaped(Shape::Saying(greeting)),
            host_sends(segment(own, their, ACK | PSH, behind, 2)).shaped(Shape::Saying(said.into_bytes())),
            send(STRANGER, Speech::Tcp.first((server, 20), (host, 9001))),
        ]
    });
    let opened = |stage: &Stage| steps.each_ref().map(|steps| stage.play(steps).contains(&Place::Host));
    assert_eq!(without_and_with(&stage, opened), SHUT);
}

#[test]
fn a_container_that_advertises_itself_becomes_no_router_of_the_host() {
    let stage = Stage::new();
    stage.lab.host.sysctl("net/ipv6/conf/docker0/accept_ra", "2");
    let advertised = |stage: &Stage| {
        let all: IpAddr = "ff02::1".parse().expect("a group");
        let said = discovery(C1.link_local(), all, 134, vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        stage.play(&[send(C1, said)]);
        !stage.lab.host.ip("-6 route show default dev docker0").is_empty()
    };
    // Rules first: what was learnt stays.
    stage.apply(POLICY);
    assert!(!advertised(&stage));
    take_away(&stage.lab.host, REPAIRS);
    assert!(advertised(&stage));
}
