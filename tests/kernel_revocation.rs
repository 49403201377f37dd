//! Revocation bites: whoever loses access loses the connections that were open, and nobody else does.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::lab::{HOST, Lab};
use support::namespace::output;
use support::probe::{PATIENCE, talks};
use support::recording::Recording;
use support::replay::Replay;

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

/// The tracked connections of the host to and from that address, by the kernel's ids.
fn tracked(lab: &Lab, address: &str) -> Vec<String> {
    let family = if address.contains(':') { "ipv6" } else { "ipv4" };
    let mut conntrack = lab.host.command("conntrack");
    conntrack.args(["--dump", "--family", family, "--output", "id,extended"]);
    let listing = output(&mut conntrack).success();
    let lines = listing.lines().filter(|line| line.split([' ', '=']).any(|word| word == address));
    let mut ids: Vec<_> =
        lines.filter_map(|line| line.rsplit_once("id=").map(|(_, id)| id.trim().to_owned())).collect();
    ids.sort();
    ids
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
        let policy = |sources| policy(sources).replace("9000/udp", "9010/tcp");
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
