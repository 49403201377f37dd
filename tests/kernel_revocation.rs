//! Revocation bites: whoever loses access loses the connections that were open, and nobody else does.

mod revocation;
mod support;

use revocation::{comes_back, ended, forget_ended, remembered, tracked};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;
use support::lab::{CLIENT, HOST, Lab};
use support::namespace::{Namespace, output};
use support::probe::{PATIENCE, SILENCE, talks};
use support::recording::Recording;
use support::replay::Replay;
use support::stream::Download;

/// What "its connection stops" means.
const LIMIT: Duration = Duration::from_secs(1);
const REMOVED: [&str; 2] = ["203.0.113.66", "2001:db8::66"];
const KEPT: [&str; 2] = ["203.0.113.67", "2001:db8::67"];

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn host(family: usize, port: u16) -> SocketAddr {
    SocketAddr::new(HOST[family], port)
}

/// 9000 over TCP and UDP for these, nothing else.
fn policy(sources: &[&str]) -> String {
    let sources: Vec<_> = sources.iter().map(|source| format!("\"{source}\"")).collect();
    format!("version: 1\nservices:\n  feed: {{ ports: [9000/tcp, 9000/udp], from: [{}] }}\n", sources.join(", "))
}

fn everyone() -> String {
    policy(&[REMOVED, KEPT].concat())
}

/// A lab whose client has the addresses, and whose host holds the policy that admits them all.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.add_addresses([REMOVED, KEPT].concat().into_iter().map(ip));
    lab.write_policy("feed.yaml", &everyone());
    lab.palisade("feed.yaml", &["apply"]).success();
    lab
}

#[test]
fn a_download_of_whom_the_policy_no_longer_names_stops_within_a_second_and_another_goes_on() {
    let lab = lab();
    let at = [host(0, 9000), host(1, 9000)];
    let _server = lab.host.offer_downloads(&at, &at);
    let begin = |address: &str| {
        let server = at[usize::from(address.contains(':'))];
        [lab.client.download(ip(address), server), lab.client.download_datagrams(ip(address), server)]
    };
    let mut removed: Vec<_> = REMOVED.into_iter().flat_map(begin).collect();
    let mut kept: Vec<_> = KEPT.into_iter().flat_map(begin).collect();
    let before = KEPT.map(|address| tracked(&lab, address));

    lab.write_policy("feed.yaml", &policy(&KEPT));
    let said = lab.palisade("feed.yaml", &["apply"]).success();
    for download in &mut removed {
        assert_eq!(download.stops_within(LIMIT), Ok(()));
    }
    assert_eq!(said, "applied: 2 operations, verified\nended 4 connections that lost their access\n");
    for download in &mut removed {
        // Nor does the client's own sending revive it.
        download.send();
        assert_eq!(download.stops_within(Duration::ZERO), Ok(()));
    }
    for download in &mut kept {
        assert!(download.goes_on());
    }
    assert_eq!(
        KEPT.map(|address| tracked(&lab, address)),
        before,
        "connections that keep their access are not touched"
    );
}

#[test]
fn a_port_that_is_taken_out_of_the_policy_ends_its_connections() {
    let lab = lab();
    let at = [host(0, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let mut download = lab.client.download(ip(KEPT[0]), at[0]);

    lab.write_policy("feed.yaml", &everyone().replace("9000/tcp", "9001/tcp"));
    lab.palisade("feed.yaml", &["apply"]).success();
    assert_eq!(download.stops_within(LIMIT), Ok(()));
}

#[test]
fn the_first_policy_ends_what_it_would_not_have_let_in() {
    let lab = Lab::new();
    lab.add_addresses([REMOVED[0], KEPT[0]].map(ip));
    // Something else has the kernel track connections already, as container engines do.
    lab.host
        .nft_load("table ip other { chain c { type filter hook input priority 0; ct state new counter accept; }; }");
    let at = [host(0, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let (mut removed, mut kept) =
        (lab.client.download(ip(REMOVED[0]), at[0]), lab.client.download(ip(KEPT[0]), at[0]));
    let _far = lab.client.listen(&[SocketAddr::new(ip(REMOVED[0]), 4242)], &[]);
    let to_far = SocketAddr::new(ip(REMOVED[0]), 4242);
    let mut own = lab.host.connect(HOST[0], to_far, PATIENCE).expect("the host reaches out");

    lab.write_policy("feed.yaml", &policy(&KEPT));
    lab.palisade("feed.yaml", &["apply"]).success();
    assert_eq!(removed.stops_within(LIMIT), Ok(()));
    assert!(kept.goes_on());
    assert!(talks(&mut own, PATIENCE), "what this machine began itself goes on");
}

#[test]
fn a_source_that_gets_its_access_back_goes_on_with_its_connection() {
    let lab = lab();
    let at = [host(0, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let mut download = lab.client.download(ip(REMOVED[0]), at[0]);
    lab.write_policy("feed.yaml", &policy(&KEPT));
    lab.palisade("feed.yaml", &["apply"]).success();
    assert_eq!(download.stops_within(LIMIT), Ok(()));

    lab.write_policy("feed.yaml", &everyone());
    lab.palisade("feed.yaml", &["apply"]).success();
    download.send();
    assert!(download.goes_on());
}

#[test]
fn applying_the_same_policy_again_ends_nothing() {
    let lab = lab();
    let at = [host(0, 9000), host(1, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let mut downloads = [lab.client.download(ip(KEPT[0]), at[0]), lab.client.download(ip(KEPT[1]), at[1])];
    let before = KEPT.map(|address| tracked(&lab, address));

    let said = lab.palisade("feed.yaml", &["apply"]).success();
    assert_eq!(said, "nothing to do: the kernel already holds this policy\n");
    assert_eq!(KEPT.map(|address| tracked(&lab, address)), before);
    for download in &mut downloads {
        assert!(download.goes_on());
    }
}

#[test]
fn a_download_from_a_container_stops_and_another_goes_on_and_so_does_what_the_container_began() {
    for engine in ["docker-20.10-iptables", "docker-28.5-iptables", "docker-29.7-nftables"] {
        let mut replay = Replay::new(Recording::read(engine));
        // The published port has the container's number, so that what the container sends after its connection was
        // forgotten is translated to just what its client waits for; and 9010 leads to a port of another number.
        let _servers = [replay.offer_downloads("w1", 9000), replay.offer_downloads("map", 80)];
        let lab = &replay.lab;
        lab.add_addresses([ip(KEPT[0])]);
        // The host listens on sshd's port, and a policy that opens it to nobody is refused.
        let ssh = "  ssh: { ports: 22/tcp, from: any }\n";
        let policy = |sources| policy(sources).replace("9000/udp", "9010/tcp") + ssh;
        lab.write_policy("feed.yaml", &policy(&[REMOVED[0], KEPT[0]]));
        lab.palisade("feed.yaml", &["apply"]).success();
        let begin = |address| [9000, 9010].map(|port| lab.client.download(ip(address), host(0, port)));
        let (mut removed, mut kept) = (begin(REMOVED[0]), begin(KEPT[0]));
        let mut own = replay.connect("w2", "trusted", 4242);

        lab.write_policy("feed.yaml", &policy(&[KEPT[0]]));
        lab.palisade("feed.yaml", &["apply"]).success();
        for download in &mut removed {
            assert_eq!(download.stops_within(LIMIT), Ok(()), "{engine}");
            download.send();
            assert_eq!(download.stops_within(Duration::ZERO), Ok(()), "{engine}");
        }
        for download in &mut kept {
            assert!(download.goes_on(), "{engine}");
        }
        assert!(talks(&mut own, PATIENCE), "{engine}: what the container began itself");
    }
}

#[test]
fn streams_that_nothing_had_tracked_before_the_first_policy_end_and_others_go_on() {
    let lab = Lab::new();
    lab.add_addresses([REMOVED, KEPT].concat().into_iter().map(ip));
    let at = [host(0, 9000), host(1, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let _echo = lab.host.listen(&[host(0, 9001), host(1, 9001)], &[]);
    let _far = lab.client.listen(&[0, 1].map(|family| SocketAddr::new(CLIENT[family], 4242)), &[]);
    let family = |address: &str| usize::from(address.contains(':'));
    let begin = |address: &str| lab.client.download(ip(address), at[family(address)]);
    let talk = |address: &str| {
        let stream = lab.client.connect(ip(address), host(family(address), 9001), PATIENCE);
        stream.expect("nothing is in the way")
    };
    let (mut removed, mut kept) = (REMOVED.map(begin), KEPT.map(begin));
    let (mut removed_talks, mut kept_talks) = (REMOVED.map(talk), KEPT.map(talk));
    let mut own = [0, 1].map(|family| {
        let far = SocketAddr::new(CLIENT[family], 4242);
        lab.host.connect(HOST[family], far, PATIENCE).expect("the host reaches out")
    });
    for address in [REMOVED, KEPT, ["203.0.113.9", "2001:db8::9"]].concat() {
        assert_eq!(tracked(&lab, address), [""; 0], "nothing tracks {address}");
    }

    lab.write_policy("feed.yaml", &policy(&KEPT).replace("9000/udp", "9001/tcp"));
    assert_eq!(
        ended(lab.palisade("feed.yaml", &["apply"])),
        "ended 4 connections that lost their access\n",
        "two downloads and two that wait for whoever sends first"
    );
    for download in &mut removed {
        assert_eq!(download.stops_within(LIMIT), Ok(()));
        download.send();
        assert_eq!(download.stops_within(Duration::ZERO), Ok(()));
    }
    assert_eq!(removed_talks.each_mut().map(|stream| talks(stream, SILENCE)), [false; 2]);
    assert!(kept.iter_mut().all(Download::goes_on));
    assert_eq!(kept_talks.each_mut().map(|stream| talks(stream, PATIENCE)), [true; 2]);
    assert_eq!(own.each_mut().map(|stream| talks(stream, PATIENCE)), [true; 2]);
    let said = lab.palisade("feed.yaml", &["apply"]).success();
    assert_eq!(said, "nothing to do: the kernel already holds this policy\n");

    // Without what is remembered of them, what the server sends next begins them anew.
    forget_ended(&lab);
    assert!(removed.iter_mut().all(comes_back));
}

#[test]
fn a_stream_that_was_forgotten_and_that_the_server_seems_to_have_begun_ends_with_its_access() {
    let lab = lab();
    let at = [host(0, 9000), host(1, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let begin = |address: &str| lab.client.download(ip(address), at[usize::from(address.contains(':'))]);
    let (mut removed, mut kept) = (REMOVED.map(begin), KEPT.map(begin));
    output(lab.host.command("conntrack").arg("--flush")).success();
    assert!(removed.iter_mut().chain(&mut kept).all(Download::goes_on));

    lab.write_policy("feed.yaml", &policy(&KEPT));
    assert_eq!(ended(lab.palisade("feed.yaml", &["apply"])), "ended 2 connections that lost their access\n");
    for download in &mut removed {
        assert_eq!(download.stops_within(LIMIT), Ok(()));
    }
    assert!(kept.iter_mut().all(Download::goes_on));
}

#[test]
fn what_nobody_can_tell_who_began_goes_on_and_is_said() {
    let lab = Lab::new();
    // A server that takes one connection and listens no more.
    let (mut served, client) = {
        let listener = lab.host.run(|| TcpListener::bind(host(0, 2049)).expect("the port is free"));
        let client = lab.client.run(|| TcpStream::connect(host(0, 2049)).expect("nothing is in the way"));
        (listener.accept().expect("it has connected").0, client)
    };
    let from = client.local_addr().expect("it is connected");

    lab.write_policy("none.yaml", "version: 1\n");
    let said = lab.palisade("none.yaml", &["apply"]);
    assert_eq!(
        said.stderr,
        format!(
            " WARN 1 connection that the kernel has not seen begin may go on, since it can't be told which side began (TCP \
             203.0.113.1:2049 with {from}): restart the programs that serve them to end them\n"
        )
    );
    assert!(said.success().ends_with(", verified\n"), "none is said to have ended");
    served.write_all(b"more").expect("it is connected");
    assert!(Download::from(client).comes_within(PATIENCE));
}

#[test]
fn connected_sockets_for_datagrams_end_like_streams() {
    let lab = Lab::new();
    let bound = |inside: &Namespace, address: IpAddr, port: u16| {
        inside.run(|| {
            let at = SocketAddr::new(address, port);
            let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
            socket.set_reuse_address(true).expect("an option");
            socket.bind(&at.into()).expect("the port is free");
            UdpSocket::from(socket)
        })
    };
    // Servers that answer each client by a socket of its own do so on the port that another one waits on.
    let _waits = bound(&lab.host, HOST[0], 9000);
    let serves = bound(&lab.host, HOST[0], 9000);
    let clients = [7000, 4242].map(|port| bound(&lab.client, CLIENT[0], port));
    serves.connect(clients[0].local_addr().expect("it is bound")).expect("it has a route");
    let asks = bound(&lab.host, HOST[0], 0);
    asks.connect(clients[1].local_addr().expect("it is bound")).expect("it has a route");
    let mut heard = clients.map(Download::from);
    let mut hears = |server: &UdpSocket, which: usize| {
        (0..3).any(|_| {
            server.send(b"more").ok();
            heard[which].comes_within(SILENCE)
        })
    };
    assert!(hears(&serves, 0) && hears(&asks, 1));

    lab.write_policy("none.yaml", "version: 1\n");
    assert_eq!(ended(lab.palisade("none.yaml", &["apply"])), "ended 1 connection that lost its access\n");
    assert!(!hears(&serves, 0));
    assert!(hears(&asks, 1), "what this machine began");
    forget_ended(&lab);
    assert!(hears(&serves, 0), "nothing else holds it back");
}

/// Has the kernel know connections of a client with port 9000, which nobody has answered.
fn track_many(lab: &Lab, count: u16, client: Ipv4Addr) {
    let mut child = lab
        .host
        .command("conntrack")
        .args(["--load-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("conntrack is installed, see scripts/test");
    let mut input = child.stdin.take().expect("it was piped");
    for port in (1..=count).map(|port| port + 1024) {
        let ends = format!("-s {client} -d {} --sport {port} --dport 9000", HOST[0]);
        writeln!(input, "-I -p tcp {ends} --state SYN_RECV -t 600").expect("it reads");
    }
    drop(input);
    assert!(child.wait().expect("it was started").success());
}

/// Ends a download beside three times as many connections that lose their access, too.
fn assert_a_download_ends_beside(each: u16) {
    let lab = lab();
    let at = [host(0, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    // Beside those that it is told of first.
    for part in 1..=3 {
        track_many(&lab, each, Ipv4Addr::new(203, 0, 113, 100 + part));
    }
    let mut download = lab.client.download(ip(REMOVED[0]), at[0]);
    let everyone: Vec<String> = (1..=3).map(|part| format!("203.0.113.{}", 100 + part)).collect();
    let everyone: Vec<&str> = everyone.iter().map(String::as_str).chain([REMOVED[0]]).collect();
    lab.write_policy("feed.yaml", &policy(&everyone));
    lab.palisade("feed.yaml", &["apply"]).success();

    lab.write_policy("feed.yaml", &policy(&KEPT));
    let all = 3 * u32::from(each) + 1;
    let said = ended(lab.palisade("feed.yaml", &["apply"]));
    assert_eq!(said, format!("ended {all} connections that lost their access\n"));
    assert_eq!(download.stops_within(LIMIT), Ok(()));
    forget_ended(&lab);
    assert!(comes_back(&mut download));
}

#[test]
fn a_download_ends_beside_more_connections_than_are_remembered_at_once() {
    assert_a_download_ends_beside(1_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_download_ends_beside_more_connections_than_a_dynamic_set_holds() {
    assert_a_download_ends_beside(22_000);
}

/// Datagrams between fixed ports of both sides, as WireGuard exchanges them.
struct Exchange {
    host: UdpSocket,
    client: UdpSocket,
}

impl Exchange {
    fn new(lab: &Lab, port: u16) -> Self {
        let bound = |inside: &Namespace, from: IpAddr, to: IpAddr| {
            inside.run(|| {
                let socket = UdpSocket::bind(SocketAddr::new(from, port)).expect("the port is free");
                socket.connect(SocketAddr::new(to, port)).expect("it has a route");
                socket.set_read_timeout(Some(SILENCE)).expect("an option");
                socket
            })
        };
        Self { host: bound(&lab.host, HOST[0], CLIENT[0]), client: bound(&lab.client, CLIENT[0], HOST[0]) }
    }

    /// Whether the one hears the other.
    fn is_heard(from: &UdpSocket, by: &UdpSocket) -> bool {
        from.send(b"hello").ok();
        by.recv(&mut [0; 16]).is_ok()
    }
}

#[test]
fn datagrams_that_this_machine_sends_are_held_back_for_two_minutes_and_its_own_exchange_works_after_that() {
    let lab = Lab::new();
    let tunnel = |from: &str| format!("version: 1\nservices:\n  tunnel: {{ ports: 51820/udp, from: {from} }}\n");
    lab.write_policy("tunnel.yaml", &tunnel("203.0.113.9"));
    lab.palisade("tunnel.yaml", &["apply"]).success();
    let exchange = Exchange::new(&lab, 51_820);
    assert!(Exchange::is_heard(&exchange.client, &exchange.host));
    assert!(Exchange::is_heard(&exchange.host, &exchange.client));

    lab.write_policy("tunnel.yaml", &tunnel("203.0.113.10"));
    assert_eq!(ended(lab.palisade("tunnel.yaml", &["apply"])), "ended 1 connection that lost its access\n");
    let flow = "203.0.113.1 . 203.0.113.9 . udp . 51820 . 51820";
    let [(found, left)] = remembered(&lab, "policy.revoked-udp-v4").try_into().expect("one flow is remembered");
    assert_eq!((found.as_str(), left <= 120), (flow, true), "{left} seconds");
    assert_eq!(remembered(&lab, "policy.revoked-v4"), []);
    assert!(!Exchange::is_heard(&exchange.host, &exchange.client));

    // With two seconds instead of two minutes, whatever this machine tries meanwhile.
    let element = format!("{{ {flow} }}");
    let short = format!("{{ {flow} timeout 2s }}");
    let set = "inet palisade policy.revoked-udp-v4";
    lab.host.nft_load(&format!("delete element {set} {element}; add element {set} {short}"));
    let tries = (0..100).position(|_| Exchange::is_heard(&exchange.host, &exchange.client));
    assert!(tries.is_some_and(|tries| tries > 0), "held back, and let out while it went on trying: {tries:?}");
    assert!(Exchange::is_heard(&exchange.client, &exchange.host), "what it began itself is answered");
    assert_eq!(lab.palisade("tunnel.yaml", &["diff"]).status, Some(0));
}

#[test]
fn a_flow_that_loses_its_access_once_more_is_held_back_for_the_whole_time() {
    let lab = Lab::new();
    let tunnel = |from: &str| format!("version: 1\nservices:\n  tunnel: {{ ports: 51820/udp, from: {from} }}\n");
    let apply = |from| {
        lab.write_policy("tunnel.yaml", &tunnel(from));
        lab.palisade("tunnel.yaml", &["apply"]).success();
    };
    apply("203.0.113.9");
    let exchange = Exchange::new(&lab, 51_820);
    let flow = "203.0.113.1 . 203.0.113.9 . udp . 51820 . 51820";
    let set = "inet palisade policy.revoked-udp-v4";
    lab.host.nft_load(&format!("add element {set} {{ {flow} timeout 1h }}"));
    assert!(Exchange::is_heard(&exchange.client, &exchange.host));

    apply("203.0.113.10");
    let [(_, left)] = remembered(&lab, "policy.revoked-udp-v4").try_into().expect("one flow is remembered");
    assert!((100..=120).contains(&left), "{left} seconds");
}

#[test]
fn what_this_machine_begins_over_tcp_is_never_held_back_and_what_it_goes_on_with_is_for_five_days() {
    let lab = lab();
    let at = [host(0, 9000)];
    let _server = lab.host.offer_downloads(&at, &[]);
    let mut download = lab.client.download(ip(REMOVED[0]), at[0]);
    lab.write_policy("feed.yaml", &policy(&KEPT));
    lab.palisade("feed.yaml", &["apply"]).success();
    assert_eq!(download.stops_within(LIMIT), Ok(()));
    let [(_, left)] = remembered(&lab, "policy.revoked-v4").try_into().expect("one flow is remembered");
    assert!((4 * 86_400..=5 * 86_400).contains(&left), "{left} seconds");

    // As if a connection between these ports had lost its access.
    let _far = lab.client.listen(&[SocketAddr::new(CLIENT[0], 7001)], &[]);
    lab.host
        .nft_load("add element inet palisade policy.revoked-v4 { 203.0.113.1 . 203.0.113.9 . tcp . 7000 . 7001 }");
    let own = lab.host.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.bind(&SocketAddr::new(HOST[0], 7000).into()).expect("the port is free");
        socket.connect_timeout(&SocketAddr::new(CLIENT[0], 7001).into(), PATIENCE).map(|()| TcpStream::from(socket))
    });
    let mut own = own.expect("a handshake is let out");
    assert!(talks(&mut own, PATIENCE));
    // But what has no beginning is no connection of its own.
    output(lab.host.command("conntrack").args(["--delete", "--proto", "tcp", "--sport", "7000"])).success();
    assert!(!talks(&mut own, SILENCE));
}
