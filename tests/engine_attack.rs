//! What a container gets past palisade with the one capability that Docker leaves it: CAP_NET_RAW.
#![allow(missing_docs)]

mod support;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::attack::craft::Speech;
use support::attack::real::{ATTACKER, connects, datagram, frame, hold_back_answers};
use support::attack::repairs::{REPAIRS, take_away};
use support::engine::setting::Setting;
use support::engine::{Container, Engine};
use support::frames::Written;
use support::lab::{CLIENT, HOST, Lab, OUT};
use support::namespace::output;
use support::probe::{PATIENCE, SILENCE};
use support::tap::{Mac, mac_of};

/// Nobody may open a port of the host.
const SHUT: &str = "version: 1\n";
/// Nor may containers open anything to the outside.
const CLOSED: &str = "version: 1\ncontainers: { outgoing: deny }\n";

struct Beside {
    engine: Engine,
    lab: Lab,
    /// Two of the engine's first bridge, and one of a network with IPv6.
    containers: Vec<Container>,
}

impl Beside {
    fn new(setting: Setting) -> Self {
        let lab = Lab::new();
        lab.forward();
        lab.add_addresses(OUT);
        hold_back_answers(&lab.client);
        let engine = Engine::start(&lab, setting);
        engine.docker("network create --ipv6 --subnet fd00:6::/64 six-net");
        let names = ["forger", "neighbour", "six"];
        for name in names {
            let network = if name == "six" { "--network six-net" } else { "" };
            engine.run_container(name, &format!("--cap-drop ALL --cap-add NET_RAW {network}"), "9000");
        }
        let containers = engine.containers(&names);
        Self { engine, lab, containers }
    }

    /// Who forges packets of a version of IP, and the address that it has.
    fn forger(&self, six: bool) -> (&Container, IpAddr) {
        let container = &self.containers[if six { 2 } else { 0 }];
        let address = container.addresses.iter().find(|address| address.is_ipv6() == six);
        (container, *address.expect("it has one of each version of its network"))
    }

    /// The host's end of a container's bridge.
    fn gateway(&self, container: &Container) -> Mac {
        let line = self.lab.host.ip(&format!("-o address show to {}", container.gateways[0]));
        mac_of(&self.lab.host, line.split_whitespace().nth(1).expect("the host has the address"))
    }

    /// Has the program in the container send it.
    fn send(&self, from: &Container, to: Mac, packet: Written) {
        let mut digits = String::new();
        for byte in frame(mac_of(&from.inside, "eth0"), to, packet) {
            write!(digits, "{byte:02x}").expect("a string can be written to");
        }
        self.engine.docker(&format!("exec {} /server frame {digits}", from.name));
    }

    /// Whether a port of the host is open to who answers what a container sent as the host, over IPv4 and IPv6.
    fn answered(&self, speech: Speech, port: u16, wait: Duration) -> [bool; 2] {
        [false, true].map(|six| {
            let (forger, _) = self.forger(six);
            // Over IPv4 by a bridge, where the kernel does not ask whether a source is its own.
            let to = if six { self.gateway(forger) } else { mac_of(&self.containers[1].inside, "eth0") };
            let own = SocketAddr::new(HOST[usize::from(six)], port);
            let their = SocketAddr::new(OUT[usize::from(six)], ATTACKER);
            self.send(forger, to, speech.first((own.ip(), port), (their.ip(), ATTACKER)));
            let (from, to) = ((&self.lab.client, their), (&self.lab.host, own));
            if speech == Speech::Tcp { connects(from, to, wait) } else { datagram(from, to, wait) }
        })
    }

    /// Whether the outside hears from a container that sent itself what it then answers.
    fn heard(&self, wait: Duration) -> [bool; 2] {
        [false, true].map(|six| {
            let (forger, address) = self.forger(six);
            let outside = SocketAddr::new(CLIENT[usize::from(six)], 443);
            let forged = Speech::Udp.first((outside.ip(), 443), (address, 7200));
            self.send(forger, self.gateway(forger), forged);
            datagram((&forger.inside, SocketAddr::new(address, 7200)), (&self.lab.client, outside), wait)
        })
    }

    /// Which of the attacks get in over IPv4 and IPv6, where the policies hold as they are or without their rules against it.
    fn open(&self, as_they_are: bool) -> [[bool; 2]; 3] {
        let wait = if as_they_are { SILENCE } else { PATIENCE };
        let apply = |policy| {
            self.lab.write_policy("policy.yaml", policy);
            self.lab.palisade("policy.yaml", &["apply"]).success();
            if !as_they_are {
                take_away(&self.lab.host, REPAIRS);
            }
            output(self.lab.host.command("conntrack").arg("-F")).success();
        };
        apply(SHUT);
        let answered = [self.answered(Speech::Tcp, 9000, wait), self.answered(Speech::Udp, 9001, wait)];
        apply(CLOSED);
        [answered[0], answered[1], self.heard(wait)]
    }
}

/// Neither an answer to the host's own address nor one to itself.
fn forged_packets_open_nothing(setting: Setting) {
    let beside = Beside::new(setting);
    assert_eq!(beside.open(false), [[true; 2]; 3], "without the rules against it");
    assert_eq!(beside.open(true), [[false; 2]; 3]);
}

#[test]
fn a_container_with_raw_sockets_opens_nothing_beside_docker() {
    forged_packets_open_nothing(Setting::docker("sid", true));
}

#[test]
fn a_container_with_raw_sockets_opens_nothing_beside_podman() {
    forged_packets_open_nothing(Setting::podman());
}
