//! What containers open to elsewhere, and ports that are forwarded, beside real engines: what a policy says nothing of
//! stays as the engine made it.
#![allow(missing_docs)]

mod support;

use std::net::{IpAddr, SocketAddr};
use support::engine::setting::Setting;
use support::engine::{Container, Engine};
use support::lab::{ANY, CLIENT, HOST, LAN, Lab};
use support::namespace::Namespace;
use support::probe::{Outcome, SILENCE, Target, seen_from};

/// One network may open a single port of a single address, the others everything.
const OUTGOING: &str = "version: 1
containers: { outgoing: deny }
services: { web: { ports: 8080/tcp, from: any } }
outgoing:
  app: { ports: 443/tcp, from: { interface: br-app }, to: 203.0.113.9 }
  apart: { action: deny, ports: any, from: { interface: br-app }, to: containers }
  others: { ports: any, from: containers, except: { interface: br-app }, to: any }
";

/// The port that a container publishes is forwarded to another machine.
const FORWARDED: &str = "version: 1
services: { web: { ports: 8080/tcp, from: any, forward_to: 10.77.0.2:8443 } }
";

struct Beside {
    _engine: Engine,
    lab: Lab,
    /// Of the network `app`.
    bridge: &'static str,
    /// One of the network `app`, one of another network, and one that publishes 8080.
    containers: Vec<Container>,
}

impl Beside {
    fn new(setting: Setting) -> Self {
        let lab = Lab::new();
        lab.forward();
        let engine = Engine::start(&lab, setting);
        // Podman gives its bridges numbers.
        let named = if setting.podman { "" } else { "-o com.docker.network.bridge.name=br-app" };
        let bridge = if setting.podman { "podman1" } else { "br-app" };
        engine.docker(&format!("network create {named} app"));
        engine.run_container("app", "--network app", "9000");
        engine.run_container("other", "", "9000");
        engine.run_container("web", "-p 8080:9000", "9000");
        let containers = engine.containers(&["app", "other", "web"]);
        Self { _engine: engine, lab, bridge, containers }
    }

    fn apply(&self, policy: &str) {
        self.lab.write_policy("policy.yaml", &policy.replace("br-app", self.bridge));
        self.lab.palisade("policy.yaml", &["apply"]).success();
        let diff = self.lab.palisade("policy.yaml", &["diff"]);
        assert_eq!((diff.status, diff.stdout.as_str()), (Some(0), ""), "{}", diff.stderr);
    }

    fn address(&self, container: usize) -> IpAddr {
        self.containers[container].addresses[0]
    }

    /// What comes of each: who opens, where to, which port.
    fn outcomes(&self) -> Vec<String> {
        let [app, other] = [0, 1].map(|number| (&self.containers[number].inside, self.address(number)));
        let rows = [
            ("app to the client", app, CLIENT[0], 443),
            ("app to another port", app, CLIENT[0], 444),
            ("app to the lan", app, LAN[0], 443),
            ("app to another network", app, self.address(1), 9000),
            ("other to the client", other, CLIENT[0], 443),
            ("other to another port", other, CLIENT[0], 444),
            ("other to the lan", other, LAN[0], 443),
            ("the client to the published port", (&self.lab.client, CLIENT[0]), HOST[0], 8080),
        ];
        type Row<'a> = (&'a str, (&'a Namespace, IpAddr), IpAddr, u16);
        let outcome = |(what, (inside, from), to, port): Row<'_>| {
            let outcome = inside.probe(Target::Tcp(port), from, to, SILENCE);
            let word = match outcome {
                Outcome::Connected => "open",
                _ => "shut",
            };
            format!("{what}: {word}")
        };
        rows.map(outcome).into()
    }

    /// Whom the client sees when a container opens a connection to it.
    fn seen(&self, container: usize) -> Option<IpAddr> {
        let to = SocketAddr::new(CLIENT[0], 443);
        seen_from((&self.containers[container].inside, self.address(container)), to, (&self.lab.client, to))
    }
}

/// The engine goes on translating for its containers, and publishing; one network is held to one address.
fn one_network_is_restricted_and_all_else_goes_on(setting: Setting) {
    let beside = Beside::new(setting);
    assert_eq!([0, 1].map(|container| beside.seen(container)), [Some(HOST[0]); 2], "as the engine made it");
    let on = |port| ANY.map(|any| SocketAddr::new(any, port));
    let client = beside.lab.client.listen(&[on(443), on(444)].concat(), &[]);
    let lan = beside.lab.lan.listen(&on(443), &[]);
    let without = beside.outcomes();
    // Whether it keeps its networks apart is the engine's business.
    let others: Vec<&String> = without.iter().filter(|row| !row.starts_with("app to another network")).collect();
    assert!(others.iter().all(|row| row.ends_with("open")), "without palisade: {without:#?}");

    beside.apply(OUTGOING);
    assert_eq!(
        beside.outcomes(),
        [
            "app to the client: open",
            "app to another port: shut",
            "app to the lan: shut",
            "app to another network: shut",
            "other to the client: open",
            "other to another port: open",
            "other to the lan: open",
            "the client to the published port: open",
        ]
    );
    drop((client, lan));
    assert_eq!([0, 1].map(|container| beside.seen(container)), [Some(HOST[0]); 2], "beside palisade");
}

/// A port forward goes before what the engine publishes at the same port, and ends with the policy.
fn a_port_forward_comes_before_what_the_engine_publishes(setting: Setting) {
    let beside = Beside::new(setting);
    let seen = || {
        let server = (&beside.lab.lan, SocketAddr::new(LAN[0], 8443));
        seen_from((&beside.lab.client, CLIENT[0]), SocketAddr::new(HOST[0], 8080), server)
    };
    let answered = || beside.lab.client.probe(Target::Tcp(8080), CLIENT[0], HOST[0], SILENCE);
    assert_eq!((seen(), answered()), (None, Outcome::Connected), "the container answers");
    beside.apply(FORWARDED);
    assert_eq!(seen(), Some(CLIENT[0]), "the target answers");
    beside.apply("version: 1\nservices: { web: { ports: 8080/tcp, from: any } }\n");
    assert_eq!((seen(), answered()), (None, Outcome::Connected), "the container answers again");
}

fn both(setting: Setting) {
    one_network_is_restricted_and_all_else_goes_on(setting);
    a_port_forward_comes_before_what_the_engine_publishes(setting);
}

#[test]
#[ignore = "long"]
fn beside_docker_20_10() {
    both(Setting::docker("bookworm", true));
}

#[test]
#[ignore = "long"]
fn beside_docker_26_1() {
    both(Setting::docker("trixie", false));
}

#[test]
fn beside_docker_28_5() {
    both(Setting::docker("sid", true));
}

#[test]
fn beside_podman_4_3() {
    both(Setting::podman());
}
