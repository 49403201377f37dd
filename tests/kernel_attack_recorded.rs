//! The same attacks beside the rules that real engines loaded. Needs root.

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use support::attack::craft::Speech;
use support::attack::real::{connects, datagram, frame, hold_back_answers};
use support::attack::repairs::{PUBLISHED, REPAIRS, take_away};
use support::frames::Written;
use support::lab::{CLIENT, HOST, OUT};
use support::namespace::{Namespace, output};
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_here};
use support::recording::Recording;
use support::replay::Replay;
use support::tap::{Mac, Tap, mac_of};

/// The stand-ins of containers: who forges, and who is on the same bridge.
const PAIRS: [(&str, &str); 2] = [("w1", "w0"), ("six6", "seven6")];

/// An attack: what it is, the policy that must hold it off, and whether it gets in over a version of IP.
struct Attack {
    name: &'static str,
    policy: &'static str,
    taken_away: &'static [&'static str],
    gets_in: fn(&Replay, bool, Duration) -> bool,
}

const ATTACKS: [Attack; 4] = [
    Attack {
        name: "a container forges the host's address, and the outside answers to a port that is shut",
        policy: "version: 1\n",
        taken_away: REPAIRS,
        gets_in: answers_a_forgery,
    },
    Attack {
        name: "a container that may open nothing to the outside sends itself what it then answers",
        policy: "version: 1\ncontainers: { outgoing: deny }\n",
        taken_away: REPAIRS,
        gets_in: answers_itself,
    },
    Attack {
        name: "a port is published behind a bridge that the policy does not name, and routing is allowed",
        policy: "version: 1\ndefaults: { forward: allow }\ncontainers: { interfaces: elsewhere0 }\n",
        taken_away: PUBLISHED,
        gets_in: asks_for_a_published_port,
    },
    Attack {
        name: "somebody on the wire sends as a container, to a service for private networks",
        policy: "version: 1\nservices: { inner: { ports: 7000/udp, from: private } }\n",
        taken_away: REPAIRS,
        gets_in: claims_to_be_a_container,
    },
];

/// The link address of the bridge that a container is a port of.
fn gateway(replay: &Replay, container: &str) -> Mac {
    let name = container.trim_end_matches('6');
    let line = replay.lab.host.ip(&format!("-o link show dev v-{name}"));
    let bridge =
        line.split_whitespace().skip_while(|word| *word != "master").nth(1).expect("it is a port of a bridge");
    mac_of(&replay.lab.host, bridge)
}

/// A container's frame.
fn send(from: &Namespace, to: Mac, packet: Written) {
    Tap::new(from, "eth0", true).send(&frame(mac_of(from, "eth0"), to, packet));
}

fn answers_a_forgery(replay: &Replay, six: bool, wait: Duration) -> bool {
    let (from, beside) = PAIRS[usize::from(six)];
    let (inside, _) = replay.place(from);
    let (neighbour, _) = replay.place(beside);
    let (host, out) = (HOST[usize::from(six)], OUT[usize::from(six)]);
    let ways = [Some(mac_of(neighbour, "eth0")), six.then(|| gateway(replay, from))];
    let mut outcomes = ways.into_iter().flatten().zip(7100..).flat_map(|(to, port)| {
        Speech::PORTS.map(|speech| {
            let (own, their) = (SocketAddr::new(host, port), SocketAddr::new(out, 4444));
            send(inside, to, speech.first((host, port), (out, 4444)));
            match speech {
                Speech::Tcp => connects((&replay.lab.client, their), (&replay.lab.host, own), wait),
                _ => datagram((&replay.lab.client, their), (&replay.lab.host, own), wait),
            }
        })
    });
    let first = outcomes.next().expect("there is a way");
    assert!(outcomes.all(|outcome| outcome == first), "it gets in by one way and not by another");
    first
}

fn answers_itself(replay: &Replay, six: bool, wait: Duration) -> bool {
    let (container, _) = PAIRS[usize::from(six)];
    let (inside, address) = replay.place(container);
    let (own, outside) = (SocketAddr::new(address, 7200), SocketAddr::new(CLIENT[usize::from(six)], 443));
    send(inside, gateway(replay, container), Speech::Udp.first((outside.ip(), 443), (address, 7200)));
    datagram((inside, own), (&replay.lab.client, outside), wait)
}

fn asks_for_a_published_port(replay: &Replay, six: bool, wait: Duration) -> bool {
    let family = usize::from(six);
    let port = if six { 9600 } else { 9010 };
    replay.lab.client.run(|| probe_here(&replay.lab.client, Target::Tcp(port), OUT[family], HOST[family], wait))
        == Outcome::Connected
}

fn claims_to_be_a_container(replay: &Replay, six: bool, wait: Duration) -> bool {
    let family = usize::from(six);
    let own: IpAddr = replay.place(PAIRS[family].0).1;
    let receiver = replay.lab.host.run(|| UdpSocket::bind(SocketAddr::new(HOST[family], 7000)).expect("a free port"));
    receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("a time");
    let to = mac_of(&replay.lab.host, "eth0");
    let begun = Instant::now();
    while begun.elapsed() < wait {
        send(&replay.lab.client, to, Speech::Udp.first((own, 7300), (HOST[family], 7000)));
        if receiver.recv(&mut [0; 64]).is_ok() {
            return true;
        }
    }
    false
}

/// Beside the engine's rules alone, with palisade but for the rules that keep it out, and with all of palisade.
fn every_attack_is_shut_out(recording: &str) {
    let replay = Replay::new(Recording::read(recording));
    hold_back_answers(&replay.lab.client);
    let tried = |attack: &Attack, waits: [Duration; 2]| {
        [false, true].map(|six| {
            output(replay.lab.host.command("conntrack").arg("-F")).success();
            (attack.gets_in)(&replay, six, waits[usize::from(six)])
        })
    };
    // Older engines leave IPv6 to docker-proxy, which listens on the host itself.
    let translated = replay.recording.published().iter().any(|one| one.to.is_ipv6());
    let opened = |attack: &Attack| [true, translated || !attack.name.starts_with("a port is published")];
    let alone = ATTACKS.map(|attack| (attack.name, tried(&attack, [PATIENCE; 2])));
    let with = ATTACKS.map(|attack| {
        replay.lab.write_policy("policy.yaml", attack.policy);
        replay.lab.palisade("policy.yaml", support::verdicts::apply(attack.policy)).success();
        let with = tried(&attack, [SILENCE; 2]);
        take_away(&replay.lab.host, attack.taken_away);
        (attack.name, tried(&attack, opened(&attack).map(|open| if open { PATIENCE } else { SILENCE })), with)
    });
    assert_eq!(alone, ATTACKS.map(|attack| (attack.name, [true; 2])));
    assert_eq!(with, ATTACKS.map(|attack| (attack.name, opened(&attack), [false; 2])));
}

#[test]
fn beside_docker_20_10() {
    every_attack_is_shut_out("docker-20.10-iptables");
}

#[test]
fn beside_docker_26_1() {
    every_attack_is_shut_out("docker-26.1-iptables");
}

#[test]
fn beside_docker_28_5() {
    every_attack_is_shut_out("docker-28.5-iptables");
}

#[test]
fn beside_docker_29_7_with_iptables() {
    every_attack_is_shut_out("docker-29.7-iptables");
}

#[test]
fn beside_docker_29_7_with_nftables() {
    every_attack_is_shut_out("docker-29.7-nftables");
}
