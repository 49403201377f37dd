//! The rules that real engines loaded, with namespaces in the place of their containers: what is open without palisade,
//! and what with it.

mod support;

use std::net::IpAddr;
use support::lab::foreign;
use support::probe::{PATIENCE, talks};
use support::recording::Recording;
use support::replay::{Replay, column};

/// 22 for everyone, 9000 for one source.
const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"] }
";

/// Each cell is what comes of the probe without palisade, then with it: `+` an answer, `-` silence, `x` a refusal.
const VERDICTS: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    # What the policy allows.
    trusted  -> host    22/tcp 9000/tcp                         | ++    ++   ++   ++   ++       ++
    trusted6 -> host6   22/tcp 9000/tcp                         | ++    ++   ++   ++   ++       ++
    out      -> host    22/tcp                                  | ++    ++   ++   ++   ++       ++
    out6     -> host6   22/tcp                                  | ++    ++   ++   ++   ++       ++
    # What it does not, published by DNAT or by docker-proxy, or listening on the host itself.
    out      -> host    9000/tcp 9010/tcp 9100/tcp              | +-    +-   +-   +-   +-       +-
    out      -> host    9301/tcp 9302/tcp 9303/tcp              | +-    +-   +-   +-   +-       +-
    out      -> host    9500/tcp 9600/tcp 9700/tcp 32768/tcp    | +-    +-   +-   +-   +-       +-
    out      -> host    9400/udp                                | ..    +-   +-   +-   +-       +-
    out      -> host    9200/tcp                                | x-    x-   x-   x-   x-       x-
    out      -> host    80/tcp 9900/tcp                         | +-    +-   +-   +-   +-       +-
    out6     -> host6   9000/tcp 9010/tcp 9100/tcp              | +-    +-   +-   +-   +-       +-
    out6     -> host6   9301/tcp 9302/tcp 9303/tcp              | +-    +-   +-   +-   +-       +-
    out6     -> host6   9500/tcp 9600/tcp 32768/tcp             | +-    +-   +-   +-   +-       +-
    out6     -> host6   9400/udp                                | ..    +-   +-   +-   +-       +-
    out6     -> host6   9200/tcp 9700/tcp                       | x-    x-   x-   x-   x-       x-
    out6     -> host6   80/tcp 9900/tcp                         | +-    +-   +-   +-   +-       +-
    trusted  -> host    9010/tcp 9100/tcp 9302/tcp 9500/tcp     | +-    +-   +-   +-   +-       +-
    trusted6 -> host6   9010/tcp 9100/tcp 9302/tcp 9600/tcp     | +-    +-   +-   +-   +-       +-
    lan      -> host    9000/tcp 9010/tcp 9500/tcp              | +-    +-   +-   +-   +-       +-
    lan6     -> host6   9000/tcp 9010/tcp 9600/tcp              | +-    +-   +-   +-   +-       +-
    # A neighbour sends to 127.0.0.1 over the wire.
    out      -> lo      9000/tcp 9010/tcp                       | +-    +-   +-   +-   +-       --
    out      -> lo      9200/tcp                                | +-    +-   --   --   --       --
    trusted  -> lo      9200/tcp                                | +-    +-   --   --   --       --
    # Routed straight to a container's address.
    out      -> w1      9000/tcp                                | +-    +-   --   --   --       +-
    trusted  -> w1      9000/tcp                                | +-    +-   --   --   --       +-
    out      -> map     80/tcp                                  | +-    +-   --   --   --       +-
    out      -> u2      9000/tcp                                | +-    --   --   --   --       +-
    out      -> w1      ping                                    | +-    --   --   --   --       +-
    lan      -> w1      9000/tcp                                | +-    +-   --   --   --       +-
    out      -> six     9000/tcp                                | +-    +-   --   --   --       +-
    out6     -> six6    9000/tcp                                | +-    +-   --   --   --       +-
    out6     -> seven6  9000/tcp ping                           | +-    +-   --   --   --       +-
    lan6     -> six6    9000/tcp                                | +-    +-   --   --   --       +-
    out      -> int     9000/tcp                                | --    --   --   --   --       +-
    # The host asks for what it publishes.
    host     -> host    9000/tcp 9010/tcp 9302/tcp 9500/tcp     | ++    ++   ++   ++   ++       ++
    host     -> host    9600/tcp 9700/tcp 22/tcp 80/tcp 9900/tcp | ++    ++   ++   ++   ++       ++
    host     -> host    9400/udp                                | ..    ++   ++   ++   ++       ++
    host     -> host    9200/tcp                                | xx    xx   xx   xx   xx       xx
    host6    -> host6   9000/tcp 9010/tcp 9302/tcp 9600/tcp     | ++    ++   ++   ++   ++       ++
    lo       -> lo      9000/tcp 9010/tcp 9200/tcp 9500/tcp     | ++    ++   ++   ++   ++       ++
    lo       -> lo      9400/udp                                | ..    ++   ++   ++   ++       ++
    lo6      -> lo6     9000/tcp 9010/tcp 9600/tcp 22/tcp       | ++    ++   ++   ++   ++       ++
    docker0  -> w1      9000/tcp ping                           | ++    ++   ++   ++   ++       ++
    # Containers reach out.
    w1       -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++       ++
    u2       -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++       ++
    six      -> trusted 4242/tcp                                | ++    ++   ++   ++   ++       ++
    six6     -> trusted6 4242/tcp 4242/udp ping                 | ++    ++   ++   ++   ++       ++
    int      -> trusted 4242/tcp                                | --    --   --   --   --       ++
    # Containers reach each other in their network, and not in another.
    w1       -> map     80/tcp ping                             | ++    ++   ++   ++   ++       ++
    u2       -> u1      9000/tcp ping                           | ++    ++   ++   ++   ++       ++
    u1       -> u2      9000/tcp                                | ++    ++   ++   ++   ++       ++
    seven    -> six     9000/tcp                                | ++    ++   ++   ++   ++       ++
    seven6   -> six6    9000/tcp ping                           | ++    ++   ++   ++   ++       ++
    w1       -> u1      9000/tcp                                | --    --   --   --   --       ++
    u2       -> w1      9000/tcp                                | --    --   --   --   --       ++
    int      -> w1      9000/tcp                                | --    --   --   --   --       ++
    # A container asks the host, like any source: by docker-proxy or by DNAT, as the engine has it.
    w1       -> host    22/tcp ping                             | ++    ++   ++   ++   ++       ++
    w1       -> docker0 22/tcp ping                             | ++    ++   ++   ++   ++       ++
    six6     -> host6   22/tcp ping                             | ++    ++   ++   ++   ++       ++
    w1       -> host    80/tcp 9900/tcp                         | +-    +-   +-   +-   +-       +-
    w1       -> docker0 80/tcp 9900/tcp                         | +-    +-   +-   +-   +-       +-
    w1       -> host    9000/tcp 9010/tcp 9500/tcp 9600/tcp     | +-    +-   +-   +-   +-       +-
    w1       -> docker0 9000/tcp 9010/tcp 9500/tcp              | +-    +-   +-   +-   +-       +-
    w1       -> host    9400/udp                                | ..    +-   +-   +-   +-       +-
    u1       -> host    9000/tcp 9010/tcp 9500/tcp 9600/tcp     | +-    +-   +-   +-   +-       +-
    u1       -> host    9400/udp                                | ..    +-   +-   +-   +-       +-
    six6     -> host6   9000/tcp 9010/tcp 9600/tcp 9900/tcp     | +-    +-   +-   +-   +-       +-
";

/// Whoever lists the port that is published opens it, and not the container's port of that number.
const LISTS_9010: &str = "version: 1
services:
  map: { ports: 9010/tcp, from: any }
  user: { ports: 9500/tcp, from: any }
";
const VERDICTS_9010: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    out      -> host    9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    out6     -> host6   9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    out      -> host    80/tcp 9000/tcp                         | +-    +-   +-   +-   +-       +-
    out6     -> host6   80/tcp 9000/tcp                         | +-    +-   +-   +-   +-       +-
    out      -> map     80/tcp                                  | +-    +-   --   --   --       +-
    w1       -> host    9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    u1       -> host    9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    six6     -> host6   9010/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    w1       -> host    80/tcp 9000/tcp                         | +-    +-   +-   +-   +-       +-
    u1       -> host    80/tcp 9000/tcp                         | +-    +-   +-   +-   +-       +-
";

/// A port that is published to 127.0.0.1 stays the host's own, although a service names its number.
const LISTS_9200: &str = "version: 1
services:
  own: { ports: 9200/tcp, from: any }
";
const VERDICTS_9200: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    out      -> lo      9200/tcp                                | +-    +-   --   --   --       --
    out      -> host    9200/tcp                                | xx    xx   xx   xx   xx       xx
    lo       -> lo      9200/tcp                                | ++    ++   ++   ++   ++       ++
";

/// The container's port; and containers by their name, which an address of theirs is not.
const LISTS_80: &str = "version: 1
services:
  web: { ports: 80/tcp, from: any }
  user: { ports: 9500/tcp, from: containers }
  address: { ports: 9000/tcp, from: [172.17.0.0/16, private] }
";
const VERDICTS_80: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    out      -> host    80/tcp                                  | ++    ++   ++   ++   ++       ++
    out6     -> host6   80/tcp                                  | ++    ++   ++   ++   ++       ++
    out      -> host    9010/tcp 9000/tcp 9500/tcp              | +-    +-   +-   +-   +-       +-
    out6     -> host6   9010/tcp 9000/tcp 9500/tcp              | +-    +-   +-   +-   +-       +-
    out      -> map     80/tcp                                  | +-    +-   --   --   --       +-
    w1       -> host    80/tcp 9500/tcp                         | ++    ++   ++   ++   ++       ++
    w1       -> host    9000/tcp 9010/tcp                       | +-    +-   +-   +-   +-       +-
    u1       -> host    80/tcp 9500/tcp                         | ++    ++   ++   ++   ++       ++
    u1       -> host    9000/tcp 9010/tcp                       | +-    +-   +-   +-   +-       +-
";

/// Containers reach every port of the host, whichever way their engine takes them there, and the outside does not.
const HOST_ALLOWED: &str = "version: 1
containers: { host: allow }
services:
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"] }
";
const VERDICTS_HOST_ALLOWED: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    w1       -> host    22/tcp 80/tcp 9900/tcp ping             | ++    ++   ++   ++   ++       ++
    w1       -> host    9000/tcp 9010/tcp 9500/tcp 9600/tcp     | ++    ++   ++   ++   ++       ++
    u1       -> host    9000/tcp 9010/tcp 9500/tcp 9900/tcp     | ++    ++   ++   ++   ++       ++
    six6     -> host6   9000/tcp 9600/tcp 9900/tcp              | ++    ++   ++   ++   ++       ++
    trusted  -> host    9000/tcp                                | ++    ++   ++   ++   ++       ++
    out      -> host    9000/tcp 9010/tcp 9500/tcp 9900/tcp     | +-    +-   +-   +-   +-       +-
    out6     -> host6   9000/tcp 9600/tcp 9900/tcp              | +-    +-   +-   +-   +-       +-
    w1       -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++       ++
";

/// Containers open nothing to the outside, and still answer it, each other and the host.
const OUTGOING_DENIED: &str = "version: 1
containers: { outgoing: deny }
services:
  dashboard: { ports: [9000/tcp, 9500/tcp], from: any }
";
const VERDICTS_OUTGOING_DENIED: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    w1       -> trusted 4242/tcp 4242/udp ping                  | +-    +-   +-   +-   +-       +-
    u2       -> trusted 4242/tcp 4242/udp ping                  | +-    +-   +-   +-   +-       +-
    six6     -> trusted6 4242/tcp 4242/udp ping                 | +-    +-   +-   +-   +-       +-
    trusted  -> host    9000/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    trusted6 -> host6   9000/tcp 9500/tcp                       | ++    ++   ++   ++   ++       ++
    w1       -> map     80/tcp ping                             | ++    ++   ++   ++   ++       ++
    u2       -> u1      9000/tcp ping                           | ++    ++   ++   ++   ++       ++
    w1       -> host    9000/tcp 9500/tcp ping                  | ++    ++   ++   ++   ++       ++
    w1       -> host    9010/tcp 9900/tcp                       | +-    +-   +-   +-   +-       +-
    host     -> host    9000/tcp 9010/tcp                       | ++    ++   ++   ++   ++       ++
";

/// Whom the default refuses, is told; where the destination was translated too.
const REJECTS: &str = "version: 1
defaults: { incoming: reject, forward: reject }
services:
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"] }
";
const VERDICTS_REJECT: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    trusted  -> host    9000/tcp                                | ++    ++   ++   ++   ++       ++
    trusted6 -> host6   9000/tcp                                | ++    ++   ++   ++   ++       ++
    out      -> host    9000/tcp 9010/tcp 9500/tcp 9700/tcp     | +x    +x   +x   +x   +x       +x
    out6     -> host6   9000/tcp 9010/tcp 9500/tcp 9600/tcp     | +x    +x   +x   +x   +x       +x
    out      -> host    9400/udp                                | ..    +x   +x   +x   +x       +x
    out      -> map     80/tcp                                  | +x    +x   --   --   --       +x
    w1       -> host    9010/tcp 9900/tcp                       | +x    +x   +x   +x   +x       +x
    u1       -> host    9500/tcp 9900/tcp                       | +x    +x   +x   +x   +x       +x
    # The kernel sends the reset of a frame that came over a bridge straight back to the bridge's port, past the
    # translation of its source: the container does not take it for an answer. With bridge-nf-call-iptables=0 it does.
    w1       -> host    9500/tcp                                | +x    +x   +x   +-   +-       +x
    u1       -> host    9000/tcp 9010/tcp                       | +x    +x   +x   +-   +-       +x
    w1       -> map     80/tcp ping                             | ++    ++   ++   ++   ++       ++
    w1       -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++       ++
";

/// Further policies, each with its table.
const POLICIES: [(&str, &str); 6] = [
    (LISTS_9010, VERDICTS_9010),
    (LISTS_80, VERDICTS_80),
    (LISTS_9200, VERDICTS_9200),
    (HOST_ALLOWED, VERDICTS_HOST_ALLOWED),
    (OUTGOING_DENIED, VERDICTS_OUTGOING_DENIED),
    (REJECTS, VERDICTS_REJECT),
];

/// A network made after palisade applied its policy, whose bridge it has never seen.
const VERDICTS_LATER: &str = "
                                                                | 20.10 26.1 28.5 29.7 29.7-nft proxy
    out      -> host    9950/tcp                                | +-    +-   +-   +-   +-       +-
    trusted  -> host    9950/tcp                                | +-    +-   +-   +-   +-       +-
    out6     -> host6   9950/tcp                                | +-    +-   +-   +-   +-       +-
    out      -> new     9000/tcp                                | +-    +-   --   --   --       +-
    out      -> new2    9000/tcp                                | +-    --   --   --   --       +-
    host     -> host    9950/tcp                                | ++    ++   ++   ++   ++       ++
    lo       -> lo      9950/tcp                                | ++    ++   ++   ++   ++       ++
    new      -> trusted 4242/tcp 4242/udp ping                  | ++    ++   ++   ++   ++       ++
    new2     -> new     9000/tcp ping                           | ++    ++   ++   ++   ++       ++
    new      -> host    22/tcp                                  | ++    ++   ++   ++   ++       ++
    new      -> host    9000/tcp 9900/tcp 9950/tcp              | +-    +-   +-   +-   +-       +-
    w1       -> host    9950/tcp                                | +-    +-   +-   +-   +-       +-
";

/// Runs the rows of a table before palisade, when `with` is false, or with it, and fails naming those that differ.
#[track_caller]
fn assert_column(replay: &Replay, table: &str, engine: &str, with: bool) {
    let rows = column(table, engine);
    let differences = replay.differences(&rows, if with { |cell| cell.with } else { |cell| cell.before });
    let when = if with { "with palisade" } else { "without palisade" };
    assert!(differences.is_empty(), "{engine}, {when}, {} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What the outside takes containers for: the host, where the engine masquerades.
fn seen_outside(replay: &Replay) -> [IpAddr; 4] {
    [("w1", "trusted"), ("u2", "trusted"), ("six", "trusted"), ("six6", "trusted6")]
        .map(|(container, outside)| replay.seen_as(container, outside))
}

/// Whether frames between ports of one bridge pass the hooks of the host.
fn call_for_bridged(replay: &Replay, value: &str) {
    for name in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
        replay.lab.host.sysctl(name, value);
    }
}

#[track_caller]
fn apply(replay: &Replay, policy: &str) {
    replay.lab.write_policy("policy.yaml", policy);
    replay.lab.palisade("policy.yaml", support::verdicts::apply(policy)).success();
    replay.lab.forget_datagrams();
}

/// One engine as it was recorded.
struct Engine {
    column: &'static str,
    recording: &'static str,
    /// Whether its rules are loaded; without them all that it publishes is docker-proxy's.
    rules: bool,
    /// What the outside takes w1, u2 and six for, and six over IPv6.
    seen_outside: [&'static str; 4],
    /// Whether the call of a container to a port that another network publishes is translated, and not docker-proxy's.
    translates_calls: bool,
}

/// Plays a recording through: without palisade, with each policy, with its containers and networks changed, and without
/// palisade again. The rules of the engine stay as they are, whatever palisade does.
#[track_caller]
fn assert_verdicts_hold(engine: &Engine) {
    let recording = Recording::read(engine.recording);
    let recording = if engine.rules { recording } else { recording.unloaded() };
    let mut replay = Replay::new(recording);
    call_for_bridged(&replay, "1");
    let theirs = replay.lab.host.nft_list();
    for table in [VERDICTS].into_iter().chain(POLICIES.map(|(_, table)| table)) {
        assert_column(&replay, table, engine.column, false);
    }
    let seen = engine.seen_outside.map(|address| address.parse::<IpAddr>().expect("an address"));
    assert_eq!(seen_outside(&replay), seen);
    assert_eq!(replay.is_translated("w1", "host", 9500), engine.translates_calls);
    assert_eq!(replay.is_translated("u1", "host", 9000), engine.translates_calls);
    assert!(!replay.is_translated("w1", "host", 9000), "its own network's ports are docker-proxy's");
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
    let mut connections = pairs.map(|(from, to, port)| replay.connect(from, to, port));

    apply(&replay, POLICY);

    for (stream, pair) in connections.iter_mut().zip(pairs) {
        assert!(talks(stream, PATIENCE), "{pair:?} does not go on");
    }
    // One of them would count as an SSH session, which a policy must not lock out.
    drop(connections);
    assert_column(&replay, VERDICTS, engine.column, true);
    assert_eq!(seen_outside(&replay), seen);
    assert_eq!(foreign(&replay.lab.host.nft_list()), theirs);
    for (policy, table) in POLICIES {
        apply(&replay, policy);
        assert_column(&replay, table, engine.column, true);
        assert_eq!(foreign(&replay.lab.host.nft_list()), theirs);
    }

    apply(&replay, POLICY);
    call_for_bridged(&replay, "0");
    assert_column(&replay, VERDICTS, engine.column, true);
    for (container, address) in [("w1", [172, 17, 0, 33]), ("map", [172, 17, 0, 2]), ("u1", [172, 18, 0, 33])] {
        replay.recreate(container, address.into());
    }
    assert_column(&replay, VERDICTS, engine.column, true);
    call_for_bridged(&replay, "1");
    replay.add_network("br-abcdef012345");
    assert_column(&replay, VERDICTS_LATER, engine.column, true);
    assert_column(&replay, VERDICTS, engine.column, true);
    let theirs = foreign(&replay.lab.host.nft_list());
    assert_eq!(replay.lab.palisade("policy.yaml", &["diff"]).status, Some(0));

    replay.lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    assert_eq!(replay.lab.host.nft_list(), theirs);
    assert_column(&replay, VERDICTS_LATER, engine.column, false);
    assert_column(&replay, VERDICTS, engine.column, false);
}

#[test]
fn docker_20_10_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold(&Engine {
        column: "20.10",
        recording: "docker-20.10-iptables",
        rules: true,
        seen_outside: ["203.0.113.1", "203.0.113.1", "203.0.113.1", "fd00:6::2"],
        translates_calls: false,
    });
}

#[test]
fn docker_26_1_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold(&Engine {
        column: "26.1",
        recording: "docker-26.1-iptables",
        rules: true,
        seen_outside: ["203.0.113.1", "203.0.113.1", "203.0.113.1", "fd00:6::2"],
        translates_calls: false,
    });
}

#[test]
fn docker_28_5_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold(&Engine {
        column: "28.5",
        recording: "docker-28.5-iptables",
        rules: true,
        seen_outside: ["203.0.113.1", "203.0.113.1", "203.0.113.1", "2001:db8::1"],
        translates_calls: false,
    });
}

#[test]
fn docker_29_7_with_iptables_publishes_what_the_policy_allows() {
    assert_verdicts_hold(&Engine {
        column: "29.7",
        recording: "docker-29.7-iptables",
        rules: true,
        seen_outside: ["203.0.113.1", "203.0.113.1", "203.0.113.1", "2001:db8::1"],
        translates_calls: true,
    });
}

#[test]
fn docker_29_7_with_nftables_publishes_what_the_policy_allows() {
    assert_verdicts_hold(&Engine {
        column: "29.7-nft",
        recording: "docker-29.7-nftables",
        rules: true,
        seen_outside: ["203.0.113.1", "203.0.113.1", "203.0.113.1", "2001:db8::1"],
        translates_calls: true,
    });
}

#[test]
fn docker_without_rules_of_its_own_publishes_what_the_policy_allows() {
    assert_verdicts_hold(&Engine {
        column: "proxy",
        recording: "docker-28.5-iptables",
        rules: false,
        seen_outside: ["172.17.0.2", "172.18.0.3", "172.19.0.2", "fd00:6::2"],
        translates_calls: false,
    });
}
