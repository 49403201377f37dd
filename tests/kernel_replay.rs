//! The rules that real engines loaded, with namespaces in the place of their containers: what is open without palisade,
//! and what with it.

mod support;

use std::net::{IpAddr, SocketAddr};
use support::lab::{HOST, foreign};
use support::probe::{PATIENCE, talks};
use support::replay::{Replay, column};

/// 22 for everyone, 9000 for one source.
const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"] }
";

/// Each cell is what comes of the probe without palisade, then with it: `+` an answer, `-` silence, `x` a refusal.
const VERDICTS: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft
    # What the policy allows.
    trusted  -> host    22/tcp 9000/tcp                         | ++    ++   ++   ++   ++
    trusted6 -> host6   22/tcp 9000/tcp                         | ++    ++   ++   ++   ++
    out      -> host    22/tcp                                  | ++    ++   ++   ++   ++
    out6     -> host6   22/tcp                                  | ++    ++   ++   ++   ++
    # What it does not, published by DNAT or by docker-proxy, or listening on the host itself.
    out      -> host    9000/tcp 9010/tcp 9100/tcp              | +-    +-   +-   +-   +-
    out      -> host    9301/tcp 9302/tcp 9303/tcp              | +-    +-   +-   +-   +-
    out      -> host    9500/tcp 9600/tcp 9700/tcp 32768/tcp    | +-    +-   +-   +-   +-
    out      -> host    9400/udp                                | ..    +-   +-   +-   +-
    out      -> host    9200/tcp                                | x-    x-   x-   x-   x-
    out      -> host    80/tcp 9900/tcp                         | +-    +-   +-   +-   +-
    out6     -> host6   9000/tcp 9010/tcp 9100/tcp              | +-    +-   +-   +-   +-
    out6     -> host6   9301/tcp 9302/tcp 9303/tcp              | +-    +-   +-   +-   +-
    out6     -> host6   9500/tcp 9600/tcp 32768/tcp             | +-    +-   +-   +-   +-
    out6     -> host6   9400/udp                                | ..    +-   +-   +-   +-
    out6     -> host6   9200/tcp 9700/tcp                       | x-    x-   x-   x-   x-
    out6     -> host6   80/tcp 9900/tcp                         | +-    +-   +-   +-   +-
    trusted  -> host    9010/tcp 9100/tcp 9302/tcp 9500/tcp     | +-    +-   +-   +-   +-
    trusted6 -> host6   9010/tcp 9100/tcp 9302/tcp 9600/tcp     | +-    +-   +-   +-   +-
    lan      -> host    9000/tcp 9010/tcp 9500/tcp              | +-    +-   +-   +-   +-
    lan6     -> host6   9000/tcp 9010/tcp 9600/tcp              | +-    +-   +-   +-   +-
    # A neighbour sends to 127.0.0.1 over the wire.
    out      -> lo      9000/tcp 9010/tcp                       | +-    +-   +-   +-   +-
    out      -> lo      9200/tcp                                | +-    +-   --   --   --
    trusted  -> lo      9200/tcp                                | +-    +-   --   --   --
    # Routed straight to a container's address.
    out      -> w1      9000/tcp                                | +-    +-   --   --   --
    trusted  -> w1      9000/tcp                                | +-    +-   --   --   --
    out      -> map     80/tcp                                  | +-    +-   --   --   --
    out      -> u2      9000/tcp                                | +-    --   --   --   --
    out      -> w1      ping                                    | +-    --   --   --   --
    lan      -> w1      9000/tcp                                | +-    +-   --   --   --
    out      -> six     9000/tcp                                | +-    +-   --   --   --
    out6     -> six6    9000/tcp                                | +-    +-   --   --   --
    out6     -> seven6  9000/tcp ping                           | +-    +-   --   --   --
    lan6     -> six6    9000/tcp                                | +-    +-   --   --   --
    out      -> int     9000/tcp                                | --    --   --   --   --
    # The host asks for what it publishes.
    host     -> host    9000/tcp 9010/tcp 9302/tcp 9500/tcp     | ++    ++   ++   ++   ++
    host     -> host    9600/tcp 9700/tcp 22/tcp 80/tcp 9900/tcp | ++    ++   ++   ++   ++
    host     -> host    9400/udp                                | ..    ++   ++   ++   ++
    host     -> host    9200/tcp                                | xx    xx   xx   xx   xx
    host6    -> host6   9000/tcp 9010/tcp 9302/tcp 9600/tcp     | ++    ++   ++   ++   ++
    lo       -> lo      9000/tcp 9010/tcp 9200/tcp 9500/tcp     | ++    ++   ++   ++   ++
    lo       -> lo      9400/udp                                | ..    ++   ++   ++   ++
    lo6      -> lo6     9000/tcp 9010/tcp 9600/tcp 22/tcp       | ++    ++   ++   ++   ++
    docker0  -> w1      9000/tcp ping                           | ++    ++   ++   ++   ++
    # Containers reach out.
    w1       -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++
    u2       -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++
    six      -> trusted 4242/tcp                                | ++    ++   ++   ++   ++
    six6     -> trusted6 4242/tcp 4242/udp ping                 | ++    ++   ++   ++   ++
    int      -> trusted 4242/tcp                                | --    --   --   --   --
    # Containers reach each other in their network, and not in another.
    w1       -> map     80/tcp ping                             | ++    ++   ++   ++   ++
    u2       -> u1      9000/tcp ping                           | ++    ++   ++   ++   ++
    u1       -> u2      9000/tcp                                | ++    ++   ++   ++   ++
    seven    -> six     9000/tcp                                | ++    ++   ++   ++   ++
    seven6   -> six6    9000/tcp ping                           | ++    ++   ++   ++   ++
    w1       -> u1      9000/tcp                                | --    --   --   --   --
    u2       -> w1      9000/tcp                                | --    --   --   --   --
    int      -> w1      9000/tcp                                | --    --   --   --   --
    # A container asks the host, like any source: by docker-proxy or by DNAT, as the engine has it.
    w1       -> host    22/tcp ping                             | ++    ++   ++   ++   ++
    w1       -> docker0 22/tcp ping                             | ++    ++   ++   ++   ++
    six6     -> host6   22/tcp ping                             | ++    ++   ++   ++   ++
    w1       -> host    80/tcp 9900/tcp                         | +-    +-   +-   +-   +-
    w1       -> docker0 80/tcp 9900/tcp                         | +-    +-   +-   +-   +-
    w1       -> host    9000/tcp 9010/tcp 9500/tcp 9600/tcp     | +-    +-   +-   +-   +-
    w1       -> docker0 9000/tcp 9010/tcp 9500/tcp              | +-    +-   +-   +-   +-
    w1       -> host    9400/udp                                | ..    +-   +-   +-   +-
    u1       -> host    9000/tcp 9010/tcp 9500/tcp 9600/tcp     | +-    +-   +-   +-   +-
    u1       -> host    9400/udp                                | ..    +-   +-   +-   +-
    six6     -> host6   9000/tcp 9010/tcp 9600/tcp 9900/tcp     | +-    +-   +-   +-   +-
";

/// Whoever lists the port that is published opens it, and not the container's port of that number.
const LISTS_9010: &str = "version: 1
services:
  map: { ports: 9010/tcp, from: any }
  user: { ports: 9500/tcp, from: any }
";
const VERDICTS_9010: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft
    out      -> host    9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++
    out6     -> host6   9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++
    out      -> host    80/tcp 9000/tcp                         | +-    +-   +-   +-   +-
    out6     -> host6   80/tcp 9000/tcp                         | +-    +-   +-   +-   +-
    out      -> map     80/tcp                                  | +-    +-   --   --   --
    w1       -> host    9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++
    u1       -> host    9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++
    six6     -> host6   9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++
    w1       -> host    80/tcp 9000/tcp                         | +-    +-   +-   +-   +-
    u1       -> host    80/tcp 9000/tcp                         | +-    +-   +-   +-   +-
";

/// The container's port, and the one network of containers.
const LISTS_80: &str = "version: 1
services:
  web: { ports: 80/tcp, from: any }
  user: { ports: [9000/tcp, 9500/tcp], from: 172.17.0.0/16 }
";
const VERDICTS_80: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft
    out      -> host    80/tcp                                  | ++    ++   ++   ++   ++
    out6     -> host6   80/tcp                                  | ++    ++   ++   ++   ++
    out      -> host    9010/tcp 9000/tcp 9500/tcp              | +-    +-   +-   +-   +-
    out6     -> host6   9010/tcp 9000/tcp 9500/tcp              | +-    +-   +-   +-   +-
    out      -> map     80/tcp                                  | +-    +-   --   --   --
    w1       -> host    80/tcp 9000/tcp 9500/tcp                | ++    ++   ++   ++   ++
    w1       -> host    9010/tcp                                | +-    +-   +-   +-   +-
    u1       -> host    9000/tcp 9010/tcp 9500/tcp              | +-    +-   +-   +-   +-
";

/// A network made after palisade applied its policy, whose bridge it has never seen.
const VERDICTS_LATER: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft
    out      -> host    9950/tcp                                | +-    +-   +-   +-   +-
    trusted  -> host    9950/tcp                                | +-    +-   +-   +-   +-
    out6     -> host6   9950/tcp                                | +-    +-   +-   +-   +-
    out      -> new     9000/tcp                                | +-    +-   --   --   --
    out      -> new2    9000/tcp                                | +-    --   --   --   --
    host     -> host    9950/tcp                                | ++    ++   ++   ++   ++
    lo       -> lo      9950/tcp                                | ++    ++   ++   ++   ++
    new      -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++
    new2     -> new     9000/tcp ping                           | ++    ++   ++   ++   ++
    new      -> host    22/tcp                                  | ++    ++   ++   ++   ++
    new      -> host    9000/tcp 9900/tcp 9950/tcp              | +-    +-   +-   +-   +-
    w1       -> host    9950/tcp                                | +-    +-   +-   +-   +-
";

/// Runs the rows of a table before palisade, when `with` is false, or with it, and fails naming those that differ.
#[track_caller]
fn assert_column(replay: &Replay, table: &str, engine: &str, with: bool) {
    let rows = column(table, engine);
    let differences = replay.differences(&rows, if with { |cell| cell.with } else { |cell| cell.before });
    let when = if with { "with palisade" } else { "without palisade" };
    assert!(differences.is_empty(), "{engine}, {when}, {} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What the outside takes containers for.
fn seen_outside(replay: &Replay) -> [IpAddr; 4] {
    [("w1", "trusted"), ("u2", "trusted"), ("six", "trusted"), ("six6", "trusted6")]
        .map(|(container, outside)| replay.seen_as(container, outside))
}

#[track_caller]
fn apply(replay: &Replay, policy: &str) {
    replay.lab.write_policy("policy.yaml", policy);
    replay.lab.palisade("policy.yaml", &["apply"]).success();
}

/// Plays a recording through: without palisade, with each policy, with its containers and networks changed, and without
/// palisade again. The rules of the engine stay as they are, whatever palisade does.
#[track_caller]
fn assert_verdicts_hold(recording: &str, engine: &str) {
    let mut replay = Replay::new(recording);
    let theirs = replay.lab.host.nft_list();
    for table in [VERDICTS, VERDICTS_9010, VERDICTS_80] {
        assert_column(&replay, table, engine, false);
    }
    let seen = seen_outside(&replay);
    assert_eq!(seen[..3], [HOST[0]; 3]);
    let connect = |(from, to, port)| {
        let ((inside, source), (_, address)) = (replay.place(from), replay.place(to));
        inside.connect(source, SocketAddr::new(address, port), PATIENCE).expect("it is open without palisade")
    };
    let pairs = [
        ("trusted", "host", 9000),
        ("trusted6", "host6", 9000),
        ("w1", "trusted", 4242),
        ("six6", "trusted6", 4242),
        ("w1", "map", 80),
        ("host", "host", 9010),
        ("lo", "lo", 9200),
        ("w1", "host", 22),
    ];
    let mut connections = pairs.map(connect);

    apply(&replay, POLICY);

    for (stream, pair) in connections.iter_mut().zip(pairs) {
        assert!(talks(stream, PATIENCE), "{pair:?} does not go on");
    }
    assert_column(&replay, VERDICTS, engine, true);
    assert_eq!(seen_outside(&replay), seen);
    assert_eq!(foreign(&replay.lab.host.nft_list()), theirs);
    for (policy, table) in [(LISTS_9010, VERDICTS_9010), (LISTS_80, VERDICTS_80)] {
        apply(&replay, policy);
        assert_column(&replay, table, engine, true);
        assert_eq!(foreign(&replay.lab.host.nft_list()), theirs);
    }

    apply(&replay, POLICY);
    for (container, address) in [("w1", [172, 17, 0, 33]), ("map", [172, 17, 0, 2]), ("u1", [172, 18, 0, 33])] {
        replay.recreate(container, address.into());
    }
    assert_column(&replay, VERDICTS, engine, true);
    replay.add_network("br-abcdef012345");
    assert_column(&replay, VERDICTS_LATER, engine, true);
    assert_column(&replay, VERDICTS, engine, true);
    assert_eq!(replay.lab.palisade("policy.yaml", &["diff"]).status, Some(0));

    replay.lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_column(&replay, VERDICTS_LATER, engine, false);
    assert_column(&replay, VERDICTS, engine, false);
}

#[test]
fn docker_20_10_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold("docker-20.10-iptables", "20.10");
}

#[test]
fn docker_26_1_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold("docker-26.1-iptables", "26.1");
}

#[test]
fn docker_28_5_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold("docker-28.5-iptables", "28.5");
}

#[test]
fn docker_29_7_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold("docker-29.7-iptables", "29.7");
}

#[test]
fn docker_29_7_with_nftables_publishes_what_the_policy_allows() {
    assert_verdicts_hold("docker-29.7-nftables", "29.7-nft");
}
