//! Whom `block` keeps out, and what it leaves alone. Needs root.

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use support::attack::craft::{Speech, discovery, host_sends, message, send};
use support::attack::who::{C1, C3, DOCKER0, FAR, HOST, HOST_UPLINK, LAN, Place, ROUTER, STRANGER, TRUSTED, Who};
use support::attack::{Case, ENGINE, Stage};
use support::frame::Shape;
use support::frames::{Body, Written};
use support::lab::{CLIENT, Lab};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const SERVICES: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  app: { ports: 9010/tcp, from: any }
";
/// As lists of bogons have them, with one stranger.
const BOGONS: &str = "block: [127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3, 203.0.113.66,
  \"::1\", \"fe80::/10\", \"fc00::/7\", \"2001:db8::66\"]\n";

fn parse(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn version(six: bool) -> &'static str {
    if six { "IPv6" } else { "IPv4" }
}

/// Who opens a connection to whom, and is answered.
fn answered(
    from: Who,
    source: (IpAddr, u16),
    as_sent: (IpAddr, u16),
    by: Who,
    reached: (IpAddr, u16),
    back: (IpAddr, u16),
) -> Vec<support::attack::Step> {
    let first = Speech::Udp.first(source, as_sent);
    let answer = Speech::Udp.answer(&Speech::Udp.first(back, reached));
    let first =
        if from.place == Place::Outside && from.mac == HOST.mac { host_sends(first) } else { send(from, first) };
    vec![first, send(by, answer)]
}

/// What passes under the list of bogons as it does without: containers, the loopback, and what the network needs.
fn spared() -> Vec<Case> {
    let mut cases = Vec::new();
    for six in [false, true] {
        let of = version(six);
        let mut case = |name: &str, at, steps: Vec<_>| cases.push(Case::new(format!("{name}, {of}"), at, steps));
        let published = Speech::Tcp.first((TRUSTED.address(six), 4001), (C1.address(six), 80));
        let asked = Speech::Tcp.first((TRUSTED.address(six), 4001), (HOST.address(six), 9010));
        case(
            "a container answers at the port that it publishes",
            Place::Outside,
            vec![send(TRUSTED, asked), send(C1, Speech::Tcp.answer(&published))],
        );
        let out = Speech::Udp.first((C1.address(six), 4002), (FAR.address(six), 443));
        case("a container's way out", Place::Outside, vec![send(C1, out)]);
        let masqueraded = if six { C1.address(six) } else { HOST.address(six) };
        case(
            "the answer to a container",
            Place::C1,
            answered(
                C1,
                (C1.address(six), 4003),
                (FAR.address(six), 444),
                FAR,
                (FAR.address(six), 444),
                (masqueraded, 4003),
            ),
        );
        let names = Speech::Udp.first((C1.address(six), 4004), (DOCKER0.address(six), 53));
        case("a container asks its engine for names", Place::Host, vec![send(C1, names)]);
        let published = Speech::Tcp.first((C3.address(six), 4005), (HOST.address(six), 22));
        case("a container opens what is open to anyone", Place::Host, vec![send(C3, published)]);
        let proxy = Speech::Tcp.first((DOCKER0.address(six), 4006), (C1.address(six), 80));
        case(
            "a container answers this machine",
            Place::Host,
            vec![host_sends(proxy.clone()), send(C1, Speech::Tcp.answer(&proxy))],
        );
        let own = if six { "::1" } else { "127.0.0.1" };
        case(
            "this machine to itself",
            Place::Host,
            vec![host_sends(Speech::Udp.first((parse(own), 4007), (parse(own), 53)))],
        );
        let far = Speech::Tcp.first((FAR.address(six), 4008), (HOST.address(six), 22));
        case("who is not in the list", Place::Host, vec![send(FAR, far)]);
    }
    cases.extend(from_the_network());
    cases
}

/// Of the network itself, by sources that are blocked.
fn from_the_network() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, at, step| cases.push(Case::new(name, at, [step]));
    let target = |address: IpAddr| match address {
        IpAddr::V6(address) => address.octets().to_vec(),
        IpAddr::V4(_) => panic!("IPv6 alone has such targets"),
    };
    for (kind, name) in [(133, "solicits routers"), (135, "solicits"), (136, "advertises")] {
        let aim = if kind == 136 { ROUTER.link_local() } else { HOST.address(true) };
        let rest = if kind == 133 { vec![0; 4] } else { [vec![0; 4], target(aim)].concat() };
        let said = discovery(ROUTER.link_local(), HOST.address(true), kind, rest);
        case(&format!("the gateway {name}"), Place::Host, send(ROUTER, said));
    }
    let said = discovery(ROUTER.link_local(), parse("ff02::1"), 134, vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    case("the gateway advertises itself", Place::Host, send(ROUTER, said));
    for kind in [130, 131, 143] {
        let said = Written { hop_limit: 1, ..message(ROUTER.link_local(), parse("ff02::1"), kind, 0, vec![0; 20]) };
        case(
            &format!("multicast listeners' {kind}"),
            Place::Host,
            send(ROUTER, said).shaped(Shape::Options(vec![0])),
        );
    }
    let query = Written { hop_limit: 1, ..Written::new(LAN.address(false), parse("224.0.0.1"), Body::Other(2)) };
    case("an IGMP query", Place::Host, send(LAN, query).shaped(Shape::Options(vec![0x94, 4, 0, 0])));
    for to in [parse("255.255.255.255"), HOST_UPLINK.address(false)] {
        let answer = Speech::Udp.first((LAN.address(false), 67), (to, 68));
        case(&format!("a DHCP answer to {to}"), Place::Host, send(LAN, answer));
    }
    for source in [(LAN.address(true), 547), (LAN.link_local(), 1547)] {
        let answer = Speech::Udp.first(source, (HOST_UPLINK.link_local(), 546));
        case(&format!("a DHCPv6 answer from port {}", source.1), Place::Host, send(LAN, answer));
    }
    cases
}

/// What is kept out, although a service is open to anyone or the packet is an answer.
fn kept_out() -> Vec<Case> {
    let mut cases = Vec::new();
    for six in [false, true] {
        let of = version(six);
        let mut case = |name: &str, at, steps: Vec<_>| cases.push(Case::new(format!("{name}, {of}"), at, steps));
        for (who, to, port) in [(STRANGER, HOST, 22), (LAN, HOST_UPLINK, 22)] {
            let first = Speech::Tcp.first((who.address(six), 4010), (to.address(six), port));
            case(&format!("{} opens {port}", who.name), Place::Host, vec![send(who, first)]);
        }
        let first = Speech::Tcp.first((STRANGER.address(six), 4011), (HOST.address(six), 9010));
        case("a stranger opens a published port", Place::C1, vec![send(STRANGER, first)]);
        let asked = Speech::Udp.first((HOST_UPLINK.address(six), 4012), (LAN.address(six), 53));
        case(
            "the answer of a resolver in the list",
            Place::Host,
            vec![host_sends(asked.clone()), send(LAN, Speech::Udp.answer(&asked))],
        );
        let ping = Speech::Ping.first((STRANGER.address(six), 4013), (HOST.address(six), 0));
        case("a stranger's ping", Place::Host, vec![send(STRANGER, ping)]);
    }
    let ping = Speech::Ping.first((ROUTER.link_local(), 4014), (HOST.link_local(), 0));
    cases.push(Case::new("the gateway's ping from the link", Place::Host, [send(ROUTER, ping)]));
    let unicast =
        Written { hop_limit: 1, ..Written::new(LAN.address(false), HOST_UPLINK.address(false), Body::Other(2)) };
    cases.push(Case::new("IGMP to one host", Place::Host, [send(LAN, unicast)]));
    let answer = Speech::Udp.first((LAN.address(true), 547), (HOST_UPLINK.address(true), 546));
    cases.push(Case::new("a DHCPv6 answer past the link", Place::Host, [send(LAN, answer)]));
    cases
}

fn names(cases: &[Case]) -> BTreeSet<&str> {
    cases.iter().map(|case| case.name.as_str()).collect()
}

#[test]
fn a_list_of_bogons_keeps_out_whom_it_names_and_neither_containers_nor_the_network() {
    let (spared, kept_out) = (spared(), kept_out());
    let stage = Stage::new();
    stage.lab.host.nft_load(ENGINE);
    assert_eq!(stage.arrivals(&spared), names(&spared));
    assert_eq!(stage.arrivals(&kept_out), names(&kept_out));

    stage.apply(&format!("{SERVICES}{BOGONS}"));
    assert_eq!(stage.arrivals(&spared), names(&spared));
    assert_eq!(stage.arrivals(&kept_out), BTreeSet::new());

    // The same where everything may come in, so that nothing but the list keeps anyone out.
    stage.apply(&format!("{SERVICES}defaults: {{ incoming: allow }}\n"));
    assert_eq!(stage.arrivals(&kept_out), names(&kept_out));
    stage.apply(&format!("{SERVICES}defaults: {{ incoming: allow }}\n{BOGONS}"));
    assert_eq!(stage.arrivals(&kept_out), BTreeSet::new());
    assert_eq!(stage.arrivals(&spared), names(&spared));
}

#[test]
fn an_interface_of_containers_that_block_names_is_blocked() {
    let stage = Stage::new();
    stage.lab.host.nft_load(ENGINE);
    let calls = [C1, C3].map(|who| {
        let first = Speech::Tcp.first((who.address(false), 4020), (HOST.address(false), 22));
        Case::new(who.name, Place::Host, [send(who, first)])
    });
    stage.apply(SERVICES);
    assert_eq!(stage.arrivals(&calls), BTreeSet::from(["c1", "c3"]));
    stage.apply(&format!("{SERVICES}block: {{ interface: docker0 }}\n"));
    assert_eq!(stage.arrivals(&calls), BTreeSet::from(["c3"]));
    stage.apply(&format!("{SERVICES}block: containers\n"));
    assert_eq!(stage.arrivals(&calls), BTreeSet::new());
}

#[test]
fn a_gateway_of_the_link_is_found_again_although_its_addresses_are_blocked() {
    let lab = Lab::new();
    let far = parse("2001:db9::7");
    lab.add_addresses([far]);
    let listing = lab.client.ip("-6 -o address show dev eth0 scope link");
    let gateway = listing.split_whitespace().skip_while(|word| *word != "inet6").nth(1).expect("it has one");
    let gateway = gateway.split('/').next().expect("it is there");
    lab.host.ip("-6 route delete default");
    lab.host.ip(&format!("-6 route add default via {gateway} dev eth0"));
    let listening = [(far, 4242).into()];
    let _echo = lab.client.listen(&listening, &[]);
    let reaches = |wait| {
        lab.forget_neighbours();
        let own = support::lab::HOST[1];
        let from_outside = lab.client.probe(Target::Ping, CLIENT[1], own, wait);
        lab.forget_neighbours();
        [lab.host.probe(Target::Tcp(4242), own, far, wait), from_outside]
    };
    assert_eq!(reaches(PATIENCE), [Outcome::Connected; 2]);
    // What a drop of all of it would do.
    lab.host.nft_load("table inet bogons {\n chain prerouting {\n type filter hook prerouting priority raw;\n ip6 saddr fe80::/10 drop\n }\n}\n");
    assert_ne!(reaches(SILENCE)[0], Outcome::Connected);
    lab.host.nft_load("delete table inet bogons\n");

    lab.write_policy("policy.yaml", "version: 1\nblock: \"fe80::/10\"\n");
    lab.palisade("policy.yaml", &["apply"]).success();
    assert_eq!(reaches(PATIENCE), [Outcome::Connected; 2]);
}
