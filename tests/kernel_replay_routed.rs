//! What containers may open to elsewhere, and a port forward, beside the rules that Docker 29.7 loaded; `engine_routed` has
//! the engines that run here.

mod support;

use std::net::{IpAddr, SocketAddr};
use support::lab::{CLIENT, HOST, LAN};
use support::namespace::output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target, seen_from};
use support::recording::Recording;
use support::replay::{Replay, column};

/// The network of `u1` and `u2` may open a single port of a single address, the others everything.
const RESTRICTED: &str = "version: 1
containers: { outgoing: deny }
outgoing:
  app: { ports: [4242/tcp, ping], from: { interface: BRIDGE }, to: 203.0.113.9 }
  others: { ports: any, from: containers, except: { interface: BRIDGE }, to: any }
services:
  user: { ports: 9500/tcp, from: any }
";
const VERDICTS: &str = "
                                                    | 29.7 29.7-nft
    u2   -> trusted  4242/tcp ping                  | ++   ++
    u2   -> trusted  4242/udp                       | +-   +-
    u2   -> out      4242/tcp 4242/udp ping         | +-   +-
    u2   -> lan      ping                           | +-   +-
    u2   -> u1       9000/tcp ping                  | ++   ++
    u2   -> host     22/tcp                         | +-   +-
    u2   -> host     9500/tcp                       | ++   ++
    w1   -> trusted  4242/tcp 4242/udp ping         | ++   ++
    w1   -> out      4242/tcp 4242/udp ping         | ++   ++
    w1   -> map      80/tcp ping                    | ++   ++
    six6 -> trusted6 4242/tcp 4242/udp ping         | ++   ++
    out  -> host     9500/tcp                       | ++   ++
    out  -> host     9000/tcp 9010/tcp              | +-   +-
";

/// The port that a container publishes is forwarded to another machine.
const FORWARDED: &str = "version: 1
services: { user: { ports: 9500/tcp, from: any, forward_to: 10.77.0.2:8443 } }
";
const NOT_FORWARDED: &str = "version: 1
services: { user: { ports: 9500/tcp, from: any } }
";

#[track_caller]
fn apply(replay: &Replay, policy: &str) {
    replay.lab.write_policy("policy.yaml", policy);
    replay.lab.palisade("policy.yaml", support::verdicts::apply(policy)).success();
    replay.lab.forget_datagrams();
}

fn holds(engine: &str, recording: &str) {
    let replay = Replay::new(Recording::read(recording));
    let out = SocketAddr::new(replay.place("out").1, 4242);
    let _echo = replay.lab.client.listen(&[out], &[out]);
    let rows = column(VERDICTS, engine);
    let published = replay.recording.published();
    let bridge = &published.iter().find(|one| one.target == Target::Tcp(9500)).expect("each recording has it").bridge;
    let seen = || [("w1", "trusted"), ("u2", "trusted")].map(|(from, to)| replay.seen_as(from, to));
    let without = replay.differences(&rows, |cell| cell.before);
    assert_eq!(without, [""; 0], "{engine}, without palisade");
    apply(&replay, &RESTRICTED.replace("BRIDGE", bridge));
    assert_eq!(replay.differences(&rows, |cell| cell.with), [""; 0], "{engine}, with palisade");

    let forwarded = || -> Option<IpAddr> {
        let server = (&replay.lab.lan, SocketAddr::new(LAN[0], 8443));
        seen_from((&replay.lab.client, CLIENT[0]), SocketAddr::new(HOST[0], 9500), server)
    };
    let answered = || replay.lab.client.probe(Target::Tcp(9500), CLIENT[0], HOST[0], SILENCE);
    assert_eq!((forwarded(), answered()), (None, Outcome::Connected), "{engine}: the container answers");
    apply(&replay, FORWARDED);
    if replay.lab.host.nft_list().contains("hook forward priority filter; policy drop;") {
        // It switched forwarding on itself, and drops what it does not know: `engine-drops-forward`.
        assert_eq!(forwarded(), None, "{engine} drops it");
        output(replay.lab.host.command("iptables").args(["--policy", "FORWARD", "ACCEPT"])).success();
    }
    assert_eq!(forwarded(), Some(CLIENT[0]), "{engine}: the target answers");
    apply(&replay, NOT_FORWARDED);
    let again = replay.lab.client.probe(Target::Tcp(9500), CLIENT[0], HOST[0], PATIENCE);
    assert_eq!((forwarded(), again), (None, Outcome::Connected), "{engine}: the container answers again");
    assert_eq!(seen(), [HOST[0]; 2], "{engine}: it masquerades");
}

#[test]
fn beside_docker_29_7_with_iptables() {
    holds("29.7", "docker-29.7-iptables");
}

#[test]
fn beside_docker_29_7_with_nftables() {
    holds("29.7-nft", "docker-29.7-nftables");
}
