//! Which port the services are asked for, where it is not the one that the sender wrote; and what a machine that may open
//! nothing itself still sends. Needs root.

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use support::attack::craft::{Speech, host_sends, send};
use support::attack::who::{C1, C2, C3, DOCKER0, HOST, HOST_UPLINK, LAN, Place, ROUTER, STRANGER, TRUSTED, Who};
use support::attack::{Case, ENGINE, Stage};
use support::frames::{Body, Written};

/// The services of a cluster as kube-proxy translates them, a transparent proxy, and a port of this machine that leads to
/// another of its own.
const CLUSTER: &str = r#"
table inet kube {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr 10.43.0.1 tcp dport 443 dnat ip to 203.0.113.1:6443
        ip6 daddr fd43::1 tcp dport 443 dnat ip6 to [2001:db8::1]:6443
        ip daddr 10.43.0.10 udp dport 53 dnat ip to 172.18.0.2:5353
        ip6 daddr fd43::10 udp dport 53 dnat ip6 to [fd00:18::2]:5353
        ip daddr 10.43.0.11 tcp dport 80 dnat ip to 203.0.113.9:8080
        ip6 daddr fd43::11 tcp dport 80 dnat ip6 to [2001:db8::9]:8080
        ip daddr 198.51.100.0/24 tcp dport 80 dnat ip to 172.17.0.1:3128
        ip6 daddr 2001:db9::/64 tcp dport 80 dnat ip6 to [fd00:17::1]:3128
        fib daddr type local tcp dport 8443 redirect to :6443
    }
}
"#;

fn of_cluster(last: u16, six: bool) -> IpAddr {
    let text = if six { format!("fd43::{last}") } else { format!("10.43.0.{last}") };
    text.parse().expect("an address")
}

/// A call: its name, who makes it, to which address and port, where it arrives without a firewall.
fn call(name: &str, speech: Speech, who: Who, to: (IpAddr, u16), at: Place) -> Case {
    let six = to.0.is_ipv6();
    let first = speech.first((who.address(six), 4000), to);
    let of = if six { "IPv6" } else { "IPv4" };
    Case::new(format!("{name}, {of}"), at, [send(who, first)])
}

fn calls() -> Vec<Case> {
    use Speech::{Tcp, Udp};
    let far = ["198.51.100.7", "2001:db9::7"].map(|address| address.parse::<IpAddr>().expect("an address"));
    [false, true]
        .into_iter()
        .flat_map(|six| {
            [
                call("api", Tcp, C1, (of_cluster(1, six), 443), Place::Host),
                call("api of another", Tcp, C3, (of_cluster(1, six), 443), Place::Host),
                call("names", Udp, C1, (of_cluster(10, six), 53), Place::C3),
                call("names of another", Udp, C2, (of_cluster(10, six), 53), Place::C3),
                call("elsewhere", Tcp, C1, (of_cluster(11, six), 80), Place::Outside),
                call("proxy", Tcp, C1, (far[usize::from(six)], 80), Place::Host),
                call("published", Tcp, C1, (HOST.address(six), 9500), Place::C3),
                call("published, by the bridge", Tcp, C1, (DOCKER0.address(six), 9500), Place::C3),
                call("own", Tcp, C1, (HOST.address(six), 6443), Place::Host),
                call("redirected", Tcp, C1, (HOST.address(six), 8443), Place::Host),
                call("api from outside", Tcp, TRUSTED, (of_cluster(1, six), 443), Place::Host),
                call("names from outside", Udp, TRUSTED, (of_cluster(10, six), 53), Place::C3),
            ]
        })
        .collect()
}

/// With both IP versions.
fn both(names: &[&str]) -> BTreeSet<String> {
    names.iter().flat_map(|name| ["IPv4", "IPv6"].map(|version| format!("{name}, {version}"))).collect()
}

fn arrivals(stage: &Stage, cases: &[Case]) -> BTreeSet<String> {
    stage.arrivals(cases).into_iter().map(str::to_owned).collect()
}

const CLUSTER_ALWAYS: [&str; 2] = ["names", "names of another"];

#[test]
fn calls_of_containers_to_a_cluster_are_asked_for_what_they_reach() {
    let (stage, calls) = (Stage::new(), calls());
    stage.lab.host.nft_load(ENGINE);
    stage.lab.host.nft_load(CLUSTER);
    let all: BTreeSet<String> = calls.iter().map(|case| case.name.clone()).collect();
    assert_eq!(arrivals(&stage, &calls), all);

    let under = |rest: &str| {
        stage.apply(&format!("version: 1\n{rest}"));
        arrivals(&stage, &calls)
    };
    // By the port that the sender wrote, only where that is a port of this machine.
    assert_eq!(
        under("services: { web: { ports: [443/tcp, 80/tcp, 53/udp], from: any } }\n"),
        both(&[&CLUSTER_ALWAYS[..], &["elsewhere", "api from outside", "names from outside"]].concat())
    );
    assert_eq!(under("services: {}\n"), both(&CLUSTER_ALWAYS));
    assert_eq!(
        under(
            "services: { api: { ports: 6443/tcp, from: containers }, proxy: { ports: 3128/tcp, from: containers } }\n"
        ),
        both(&[&CLUSTER_ALWAYS[..], &["api", "api of another", "own", "proxy"]].concat())
    );
    assert_eq!(
        under("services: { app: { ports: 9500/tcp, from: containers }, other: { ports: 8443/tcp, from: any } }\n"),
        both(&[&CLUSTER_ALWAYS[..], &["published", "published, by the bridge", "redirected"]].concat())
    );
    // Containers that may send nothing out reach each other all the same.
    assert_eq!(under("containers: { outgoing: deny }\n"), both(&CLUSTER_ALWAYS));
    let containers =
        ["api", "api of another", "elsewhere", "proxy", "published", "published, by the bridge", "own", "redirected"];
    assert_eq!(under("containers: { host: allow }\n"), both(&[&CLUSTER_ALWAYS[..], &containers].concat()));
    // What a service denies to containers that reach every port stays denied, by the port that the call reaches.
    let denying = |more: &str| {
        let ports = "[6443/tcp, 9500/tcp]";
        under(&format!(
            "containers: {{ host: allow{more} }}\nservices: {{ shut: {{ ports: {ports}, from: containers, action: deny }} }}\n"
        ))
    };
    assert_eq!(denying(""), both(&[&CLUSTER_ALWAYS[..], &["elsewhere", "proxy", "redirected"]].concat()));
    assert_eq!(denying(", outgoing: deny"), both(&[&CLUSTER_ALWAYS[..], &["proxy", "redirected"]].concat()));
}

/// The kernel runs no `nat` chain behind one that has translated the packet.
#[test]
fn calls_that_the_first_of_all_nat_chains_translates_are_asked_for_what_they_reach() {
    let (stage, calls) = (Stage::new(), calls());
    stage.lab.host.nft_load(ENGINE);
    stage.lab.host.nft_load(&CLUSTER.replace("priority dstnat;", "priority -150;"));

    stage.apply("version: 1\nservices: { web: { ports: [443/tcp, 80/tcp, 53/udp], from: any } }\n");
    assert_eq!(
        arrivals(&stage, &calls),
        both(&[&CLUSTER_ALWAYS[..], &["elsewhere", "api from outside", "names from outside"]].concat())
    );
    stage.apply("version: 1\nservices: { api: { ports: 6443/tcp, from: containers } }\n");
    assert_eq!(arrivals(&stage, &calls), both(&[&CLUSTER_ALWAYS[..], &["api", "api of another", "own"]].concat()));
}

#[test]
fn while_no_more_destinations_can_be_remembered_containers_are_asked_for_the_original_port() {
    let (stage, calls) = (Stage::new(), calls());
    stage.lab.host.nft_load(ENGINE);
    stage.lab.host.nft_load(CLUSTER);
    stage.apply("version: 1\n");
    assert_eq!(arrivals(&stage, &calls), both(&CLUSTER_ALWAYS));
    // As if it were full: nothing is added.
    let listing = stage.lab.host.nft_list();
    assert!(listing.contains("chain filter-calls"), "{listing}");
    stage.lab.host.nft_load("flush chain inet palisade filter-calls\nflush set inet palisade containers.elsewhere-v4\nflush set inet palisade containers.elsewhere-v6\n");
    assert_eq!(arrivals(&stage, &calls), BTreeSet::new());
}

/// What guides for name servers say, for a port of its own.
const UNTRACKED: &str = "
table inet untracked-names {
    chain prerouting { type filter hook prerouting priority raw; th dport { 53, 9800 } notrack; }
    chain output { type filter hook output priority raw; th sport { 53, 9800, 9801 } notrack; }
}
";

fn untracked() -> Vec<Case> {
    let mut cases = Vec::new();
    for six in [false, true] {
        for speech in Speech::PORTS {
            let mut ask = |who: Who, to: Who| {
                let name = format!("{} of {} to {}", speech.name(), who.name, to.name);
                cases.push(call(&name, speech, who, (to.address(six), 53), Place::Host));
            };
            ask(TRUSTED, HOST);
            ask(STRANGER, HOST);
            ask(LAN, HOST_UPLINK);
            ask(C1, HOST);
        }
    }
    cases
}

#[test]
fn what_is_not_tracked_is_asked_for_by_its_own_port() {
    let (stage, cases) = (Stage::new(), untracked());
    stage.lab.host.nft_load(UNTRACKED.trim_start());
    let all: BTreeSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    assert_eq!(arrivals(&stage, &cases), all);

    let under = |names: &str| {
        stage.apply(&format!("version: 1\nservices: {{ names: {{ ports: [53/udp, 53/tcp], {names} }} }}\n"));
        arrivals(&stage, &cases)
    };
    // Containers ask their engine for names in any case.
    let mine = both(&["TCP of c1 to the host", "UDP of c1 to the host"]);
    assert_eq!(under("from: any"), all);
    let trusted = both(&["TCP of trusted to the host", "UDP of trusted to the host"]);
    assert_eq!(under("from: [203.0.113.9, \"2001:db8::9\"]"), &mine | &trusted);
    let uplink = both(&[
        "TCP of the neighbour at eth1 to the host at eth1",
        "UDP of the neighbour at eth1 to the host at eth1",
    ]);
    assert_eq!(under("from: any, to: [10.77.0.1, \"fd77::1\"]"), &mine | &uplink);
    assert_eq!(under("from: any, except: [203.0.113.66, \"2001:db8::66\"], on: eth0"), &mine | &trusted);
}

#[test]
fn a_machine_that_may_open_nothing_answers_untracked_queries_and_reaches_its_containers() {
    let stage = Stage::new();
    stage.lab.host.nft_load(UNTRACKED.trim_start());
    let mut cases = Vec::new();
    for six in [false, true] {
        let mut case = |name: &str, at, packet: Written| {
            cases.push(Case::new(format!("{name}, {}", if six { "IPv6" } else { "IPv4" }), at, [host_sends(packet)]));
        };
        let (host, trusted) = (HOST.address(six), TRUSTED.address(six));
        case("answer", Place::Outside, Speech::Udp.first((host, 9800), (trusted, 4001)));
        case("answer of no service", Place::Outside, Speech::Udp.first((host, 9801), (trusted, 4002)));
        case("call", Place::Outside, Speech::Udp.first((host, 4003), (trusted, 9800)));
        for (name, speech) in [("TCP", Speech::Tcp), ("UDP", Speech::Udp), ("ping", Speech::Ping)] {
            let packet = speech.first((DOCKER0.address(six), 4004), (C1.address(six), 80));
            case(&format!("{name} to a container"), Place::C1, packet);
        }
    }
    let group = |address: &str| address.parse::<IpAddr>().expect("a group");
    let report = Written { hop_limit: 1, ..Written::new(HOST.address(false), group("224.0.0.22"), Body::Other(2)) };
    cases.push(Case::new("IGMP report", Place::Outside, [host_sends(report)]));
    let request = Speech::Udp.first((HOST.link_local(), 1546), (ROUTER.link_local(), 547));
    cases.push(Case::new("DHCPv6 request", Place::Outside, [host_sends(request)]));
    let all: BTreeSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    assert_eq!(arrivals(&stage, &cases), all);

    stage.apply("version: 1\ndefaults: { outgoing: deny }\nservices: { names: { ports: [9800/udp, 9800-9800/tcp], from: any } }\n");
    let mut expected = both(&["answer", "TCP to a container", "UDP to a container", "ping to a container"]);
    expected.extend(["IGMP report", "DHCPv6 request"].map(str::to_owned));
    assert_eq!(arrivals(&stage, &cases), expected);
    stage.apply("version: 1\ndefaults: { outgoing: deny }\ncontainers: { interfaces: br-app }\n");
    assert_eq!(arrivals(&stage, &cases), BTreeSet::from(["IGMP report", "DHCPv6 request"].map(str::to_owned)));
}
