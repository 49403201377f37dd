//! What this machine and its containers open to elsewhere, and what passes through it, with real packets.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use support::echo::Echo;
use support::lab::{ANY, CLIENT, HOST, HOST_ON_LAN, LAN, LOOPBACK, Lab};
use support::namespace::Namespace;
use support::probe::{Outcome, SILENCE, Target, probe_here, seen_from};

/// Another address of the client, which denials name.
const SHUT: [&str; 2] = ["203.0.113.70", "2001:db8::70"];
/// Another address of the client, from which services deny.
const BAD: [&str; 2] = ["203.0.113.66", "2001:db8::66"];
/// A container, and one behind another bridge.
const APP: [&str; 2] = ["172.30.1.2", "fd30:1::2"];
const TWO: [&str; 2] = ["172.30.2.2", "fd30:2::2"];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A lab that forwards, with a container behind each of two bridges. Everybody listens on each of the ports.
struct Routed {
    lab: Lab,
    app: Namespace,
    two: Namespace,
    _echo: Vec<Echo>,
}

impl Routed {
    fn new(ports: &[u16]) -> Self {
        let lab = Lab::new();
        lab.forward();
        lab.add_addresses(SHUT.iter().chain(&BAD).map(|text| address(text)));
        let (app, two) = (Namespace::new(), Namespace::new());
        for (name, number, inside) in [("br-app", 1, &app), ("br-two", 2, &two)] {
            let host = &lab.host;
            host.ip(&format!("link add {name} type bridge"));
            host.ip(&format!("link add port{number} type veth peer name eth0 netns {}", inside.path()));
            host.ip(&format!("link set port{number} master {name} up"));
            host.ip(&format!("address add 172.30.{number}.1/24 dev {name}"));
            host.ip(&format!("address add fd30:{number}::1/64 dev {name} nodad"));
            host.ip(&format!("link set {name} up"));
            inside.ip(&format!("address add 172.30.{number}.2/24 dev eth0"));
            inside.ip(&format!("address add fd30:{number}::2/64 dev eth0 nodad"));
            inside.ip("link set eth0 up");
            inside.ip(&format!("-4 route add default via 172.30.{number}.1"));
            inside.ip(&format!("-6 route add default via fd30:{number}::1"));
        }
        let listening: Vec<SocketAddr> =
            ports.iter().flat_map(|port| ANY.map(|any| SocketAddr::new(any, *port))).collect();
        // A datagram's answer comes from the address that it was sent to.
        let own = [
            (&lab.host, HOST.to_vec()),
            (&lab.client, CLIENT.into_iter().chain(SHUT.map(address)).collect()),
            (&lab.lan, LAN.to_vec()),
            (&app, APP.map(address).to_vec()),
            (&two, TWO.map(address).to_vec()),
        ];
        let echo = own.map(|(inside, addresses)| {
            let datagrams = ports.iter().flat_map(|port| addresses.iter().map(|own| SocketAddr::new(*own, *port)));
            inside.listen(&listening, &datagrams.collect::<Vec<_>>())
        });
        Self { lab, app, two, _echo: echo.into() }
    }

    fn apply(&self, policy: &str) {
        self.lab.write_policy("policy.yaml", policy);
        self.lab.palisade("policy.yaml", &["apply"]).success();
        let diff = self.lab.palisade("policy.yaml", &["diff"]);
        assert_eq!((diff.status, diff.stdout.as_str()), (Some(0), ""), "{}", diff.stderr);
    }

    /// A place by name, and its addresses.
    fn place(&self, name: &str) -> (&Namespace, [IpAddr; 2]) {
        match name {
            "client" => (&self.lab.client, CLIENT),
            "shut" => (&self.lab.client, SHUT.map(address)),
            "bad" => (&self.lab.client, BAD.map(address)),
            "host" => (&self.lab.host, HOST),
            "lan" => (&self.lab.lan, LAN),
            "app" => (&self.app, APP.map(address)),
            "two" => (&self.two, TWO.map(address)),
            other => panic!("there is no place {other}"),
        }
    }

    /// The rows `OPENER TO PORT: ...` with what comes of them over IPv4 and IPv6.
    fn outcomes(&self, rows: &str) -> String {
        let mut outcomes = String::new();
        for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (asked, _) = row.split_once(':').expect("a colon");
            let words: Vec<&str> = asked.split_whitespace().collect();
            let [opener, to, target] = words[..] else { panic!("three words: {row}") };
            let ((inside, from), (_, to)) = (self.place(opener), self.place(to));
            let target = match target.split_once('/') {
                Some((port, "tcp")) => Target::Tcp(port.parse().expect("a port")),
                Some((port, "udp")) => Target::Udp(port.parse().expect("a port")),
                _ => Target::Ping,
            };
            self.lab.forget_datagrams();
            let of = |family: usize| {
                // What is sent from an address of one's own to another of one's own goes by the loopback.
                let short = inside.probe(target, source(opener, &words, family, &from), to[family], SILENCE);
                format!("{short:?}")
            };
            let _ = writeln!(outcomes, "{asked}: {} {}", of(0), of(1));
        }
        outcomes
    }

    /// What `explain` says of the rows, in the words of probes.
    fn explained(&self, rows: &str) -> String {
        let mut explained = String::new();
        for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (asked, _) = row.split_once(':').expect("a colon");
            let words: Vec<&str> = asked.split_whitespace().collect();
            let ((_, from), (_, to)) = (self.place(words[0]), self.place(words[1]));
            let of = |family: usize| {
                let from = source(words[0], &words, family, &from).to_string();
                let to = to[family].to_string();
                let from = if words[0] == "host" { "host" } else { &from };
                let user: &[&str] = if from == "host" { &["--user", "root"] } else { &[] };
                let mut arguments = vec!["explain", words[2], "--from", from, "--to", &to];
                arguments.extend(user);
                let said = self.lab.palisade("policy.yaml", &arguments);
                match said.stdout.split(':').next() {
                    Some("allowed") => "Connected",
                    Some("denied") => "TimedOut",
                    Some("rejected") => "Refused",
                    _ => panic!("{asked}: {}{}", said.stdout, said.stderr),
                }
            };
            let _ = writeln!(explained, "{asked}: {} {}", of(0), of(1));
        }
        explained
    }

    /// Fails unless each row comes out as written, and did when there was no policy as long as it could.
    #[track_caller]
    fn assert_rows(&self, policy: &str, rows: &str) {
        let expected: String =
            rows.lines().map(str::trim).filter(|row| !row.is_empty()).map(|row| format!("{row}\n")).collect();
        let open: String = expected
            .lines()
            .map(|row| {
                let (asked, _) = row.split_once(':').expect("a colon");
                format!("{asked}: Connected Connected\n")
            })
            .collect();
        assert_eq!(self.outcomes(rows), open, "without a policy");
        self.apply(policy);
        assert_eq!(self.outcomes(rows), expected);
        assert_eq!(self.explained(rows), expected, "as explained");
        self.lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    }
}

/// The address that an opener's probe is sent from: the host uses the one on the way.
fn source(opener: &str, words: &[&str], family: usize, own: &[IpAddr; 2]) -> IpAddr {
    match (opener, words[1]) {
        ("host", "app") => address(["172.30.1.1", "fd30:1::1"][family]),
        ("host", "lan") => HOST_ON_LAN[family],
        _ => own[family],
    }
}

/// Each row of "Which section speaks of a connection": a denial, an allowance and the default.
#[test]
fn each_connection_is_decided_by_the_section_that_speaks_of_it() {
    let routed = Routed::new(&[80, 81, 82, 443, 444]);
    routed.assert_rows(
        "version: 1
defaults: { outgoing: deny }
containers: { outgoing: deny }
services:
  web: { ports: [80/tcp, 80/udp], from: any }
  shut: { action: deny, ports: 80/tcp, from: [203.0.113.66, \"2001:db8::66\"] }
  ping: { action: deny, ports: ping, from: [203.0.113.66, \"2001:db8::66\"] }
outgoing:
  web: { ports: [443/tcp, 443/udp], from: [host, containers], except: { interface: br-two }, to: any }
  two: { ports: any, from: { interface: br-two }, to: { interface: eth1 } }
  shut: { action: deny, ports: 443/tcp, from: [host, containers], to: [203.0.113.70, \"2001:db8::70\"] }
  ping: { ports: ping, from: host, to: { interface: eth0 } }
forward:
  internet: { ports: [443/tcp, ping], from: { interface: eth1 }, to: { interface: eth0 } }
  app: { ports: [80/tcp, 82/tcp], from: { interface: eth1 }, to: containers }
  shut: { action: deny, ports: any, from: any, to: [203.0.113.70, \"2001:db8::70\"] }
  app-shut: { action: reject, ports: 82/tcp, from: [10.77.0.2, \"fd77::2\"], to: any }
",
        "
        client host 80/tcp: Connected Connected
        client host 80/udp: Connected Connected
        client host ping: Connected Connected
        bad host 80/tcp: TimedOut TimedOut
        bad host 80/udp: Connected Connected
        bad host ping: TimedOut TimedOut
        client host 81/tcp: TimedOut TimedOut
        host host 81/tcp: Connected Connected
        host app 81/tcp: Connected Connected
        host client 443/tcp: Connected Connected
        host client 443/udp: Connected Connected
        host client ping: Connected Connected
        host shut 443/tcp: TimedOut TimedOut
        host client 444/tcp: TimedOut TimedOut
        app two 444/tcp: Connected Connected
        app client 443/tcp: Connected Connected
        app shut 443/tcp: TimedOut TimedOut
        app client 444/tcp: TimedOut TimedOut
        two client 443/tcp: TimedOut TimedOut
        two lan 444/tcp: Connected Connected
        two lan ping: Connected Connected
        lan app 80/tcp: Connected Connected
        lan app 82/tcp: Refused Refused
        lan app 81/tcp: TimedOut TimedOut
        client app 80/tcp: TimedOut TimedOut
        lan client 443/tcp: Connected Connected
        lan client ping: Connected Connected
        lan shut 443/tcp: TimedOut TimedOut
        lan client 444/tcp: TimedOut TimedOut
        client lan 443/tcp: TimedOut TimedOut
        ",
    );
}

/// Denials alone: everything else stays open, neighbour discovery included.
#[test]
fn a_rule_that_denies_closes_one_thing_where_everything_else_is_open() {
    let routed = Routed::new(&[25, 80]);
    routed.assert_rows(
        "version: 1
defaults: { incoming: allow, forward: allow }
services: { shut: { action: reject, ports: 25/tcp, from: any } }
outgoing:
  smtp: { action: reject, ports: 25/tcp, from: [host, containers], to: any }
  metadata: { action: deny, ports: any, from: [host, containers], to: [203.0.113.70, \"2001:db8::70\"] }
  apart: { action: deny, ports: any, from: { interface: br-app }, to: containers }
forward: { smtp: { action: reject, ports: 25/tcp, from: any, to: any } }
",
        "
        client host 25/tcp: Refused Refused
        client host 80/tcp: Connected Connected
        host client 25/tcp: Refused Refused
        host client 80/tcp: Connected Connected
        host shut 80/tcp: TimedOut TimedOut
        app client 25/tcp: Refused Refused
        app client 80/udp: Connected Connected
        app shut 80/tcp: TimedOut TimedOut
        app two 80/tcp: TimedOut TimedOut
        app two ping: TimedOut TimedOut
        two app 80/tcp: Connected Connected
        lan client 25/tcp: Refused Refused
        lan client 80/tcp: Connected Connected
        lan app 25/tcp: Refused Refused
        lan app 80/tcp: Connected Connected
        ",
    );
}

#[test]
fn a_port_is_open_to_the_programs_of_a_user_alone() {
    let routed = Routed::new(&[25]);
    let outcomes = || -> BTreeMap<u32, [Outcome; 2]> {
        let probe = |user: u32| {
            let each = [0, 1].map(|family| {
                routed.lab.host.run(|| {
                    nix::unistd::setfsuid(user.into());
                    let outcome =
                        probe_here(&routed.lab.host, Target::Tcp(25), HOST[family], CLIENT[family], SILENCE);
                    nix::unistd::setfsuid(0.into());
                    outcome
                })
            });
            (user, each)
        };
        [0, 4001, 4002, 4003].map(probe).into()
    };
    assert!(outcomes().values().all(|outcome| *outcome == [Outcome::Connected; 2]));

    routed.apply(
        "version: 1
defaults: { outgoing: deny }
groups: { mailers: { user: 4002 } }
outgoing: { smtp: { ports: 25/tcp, from: [{ user: 4001 }, mailers], to: any } }
",
    );
    let (open, shut) = ([Outcome::Connected; 2], [Outcome::TimedOut; 2]);
    assert_eq!(outcomes(), BTreeMap::from([(0, shut), (4001, open), (4002, open), (4003, shut)]));

    routed.apply(
        "version: 1
outgoing: { smtp: { action: deny, ports: 25/tcp, from: host, except: { user: 4001 }, to: any } }
",
    );
    assert_eq!(outcomes(), BTreeMap::from([(0, shut), (4001, open), (4002, shut), (4003, shut)]));
}

#[test]
fn sources_are_rewritten_where_they_leave_and_this_machines_own_are_not() {
    let routed = Routed::new(&[]);
    let (lab, app) = (&routed.lab, &routed.app);
    lab.host.ip("address add 203.0.113.50/24 dev eth0");
    let seen = || {
        let of = |family: usize| {
            let seen = |opener: (&Namespace, IpAddr), (server, own): (&Namespace, IpAddr)| {
                let to = SocketAddr::new(own, 7000);
                seen_from(opener, to, (server, to)).expect("it is let through")
            };
            [
                seen((&lab.lan, LAN[family]), (&lab.client, CLIENT[family])),
                seen((app, address(APP[family])), (&lab.client, CLIENT[family])),
                seen((&lab.host, HOST_ON_LAN[family]), (&lab.client, CLIENT[family])),
                seen((app, address(APP[family])), (&lab.lan, LAN[family])),
            ]
            .map(|address| address.to_string())
        };
        [of(0), of(1)]
    };
    let own =
        [["10.77.0.2", "172.30.1.2", "10.77.0.1", "172.30.1.2"], ["fd77::2", "fd30:1::2", "fd77::1", "fd30:1::2"]];
    assert_eq!(seen(), own.map(|of| of.map(str::to_owned)));

    let policy = |nat: &str| {
        format!(
            "version: 1
groups: {{ wan: {{ interface: eth0 }}, lan: {{ interface: eth1 }} }}
forward: {{ internet: {{ ports: any, from: lan, to: wan }} }}
nat: {{ {nat} }}
"
        )
    };
    routed.apply(&policy("internet: { from: [lan, containers], to: wan }"));
    let masked = [["203.0.113.1", "203.0.113.1", "10.77.0.1", "172.30.1.2"], own[1]];
    assert_eq!(seen(), masked.map(|of| of.map(str::to_owned)));

    routed.apply(&policy(
        "lan: { from: [10.77.0.0/24, \"fd77::/64\"], to: wan }, app: { from: 172.30.1.0/24, to: wan, as: 203.0.113.50 }",
    ));
    let both = [
        ["203.0.113.1", "203.0.113.50", "10.77.0.1", "172.30.1.2"],
        ["2001:db8::1", "fd30:1::2", "fd77::1", "fd30:1::2"],
    ];
    assert_eq!(seen(), both.map(|of| of.map(str::to_owned)));
}

/// Rows of who tries to reach which address and port, and what comes of it.
fn tries(rows: &[(&str, &Namespace, IpAddr, IpAddr, u16)]) -> Vec<String> {
    let one = |(what, inside, from, to, port): &(&str, &Namespace, IpAddr, IpAddr, u16)| {
        format!("{what}: {:?}", inside.probe(Target::Tcp(*port), *from, *to, SILENCE))
    };
    rows.iter().map(one).collect()
}

#[test]
fn a_port_forward_is_answered_by_its_target_and_over_the_other_family_by_nobody() {
    let routed = Routed::new(&[]);
    let lab = &routed.lab;
    // The target's port, and local listeners on the forwarded one, over IPv6 and on the loopback.
    let on = |addresses: [IpAddr; 2], port| addresses.map(|address| SocketAddr::new(address, port));
    let _target = lab.lan.listen(&on(ANY, 8443), &[]);
    let _local = lab.host.listen(&[SocketAddr::new(HOST[1], 443), SocketAddr::new(LOOPBACK[0], 443)], &[]);
    let shut: [IpAddr; 2] = BAD.map(address);
    let rows = [
        ("the client", &lab.client, CLIENT[0], HOST[0], 443),
        ("by the address on the lan", &lab.client, CLIENT[0], HOST_ON_LAN[0], 443),
        ("a container", &routed.app, address(APP[0]), HOST[0], 443),
        ("the host itself", &lab.host, HOST[0], HOST[0], 443),
        ("the host's loopback", &lab.host, LOOPBACK[0], LOOPBACK[0], 443),
        ("whom from does not name", &lab.client, shut[0], HOST[0], 443),
        ("the client over IPv6", &lab.client, CLIENT[1], HOST[1], 443),
        ("past the forward", &lab.client, CLIENT[0], LAN[0], 8443),
        ("the target itself", &lab.lan, LAN[0], HOST[0], 443),
    ];
    assert_eq!(
        tries(&rows),
        [
            "the client: Refused",
            "by the address on the lan: Refused",
            "a container: Refused",
            "the host itself: Refused",
            "the host's loopback: Connected",
            "whom from does not name: Refused",
            "the client over IPv6: Connected",
            "past the forward: Connected",
            "the target itself: Refused",
        ]
    );

    let policy = |nat: &str| {
        format!(
            "version: 1
groups: {{ bad: [203.0.113.66, \"2001:db8::66\"] }}
services: {{ web: {{ ports: 443/tcp, from: any, except: bad, forward_to: 10.77.0.2:8443 }} }}
{nat}"
        )
    };
    routed.apply(&policy(""));
    let mut expected = [
        "the client: Connected",
        "by the address on the lan: Connected",
        "a container: Connected",
        "the host itself: Connected",
        "the host's loopback: Connected",
        "whom from does not name: TimedOut",
        "the client over IPv6: TimedOut",
        "past the forward: TimedOut",
        "the target itself: TimedOut",
    ];
    assert_eq!(tries(&rows), expected);

    // The answers of a client in the target's own network would not come by this machine.
    routed.apply(&policy("nat: { hairpin: { from: { interface: eth1 }, to: { interface: eth1 } } }\n"));
    expected[8] = "the target itself: Connected";
    assert_eq!(tries(&rows), expected);
}

#[test]
fn a_port_forward_reaches_both_families_and_keeps_the_port_without_one() {
    let routed = Routed::new(&[]);
    let lab = &routed.lab;
    let listening: Vec<SocketAddr> =
        [2201, 2209].into_iter().flat_map(|port| ANY.map(|any| SocketAddr::new(any, port))).collect();
    let _target = lab.lan.listen(&listening, &LAN.map(|own| SocketAddr::new(own, 2201)));
    let rows: Vec<_> = [2200, 2201, 2209, 2210]
        .into_iter()
        .flat_map(|port| [0, 1].map(|family| ("client", &lab.client, CLIENT[family], HOST[family], port)))
        .collect();
    assert!(tries(&rows).iter().all(|row| row == "client: Refused"));
    routed.apply(
        "version: 1
services: { ssh: { ports: [2201-2209/tcp, 2201/udp], from: any, forward_to: [10.77.0.2, \"fd77::2\"] } }
",
    );
    let outcomes = ["TimedOut", "Connected", "Connected", "TimedOut"];
    let expected: Vec<String> =
        outcomes.iter().flat_map(|outcome| [0, 1].map(|_| format!("client: {outcome}"))).collect();
    assert_eq!(tries(&rows), expected);
    let datagram = lab.client.probe(Target::Udp(2201), CLIENT[1], HOST[1], SILENCE);
    assert_eq!(datagram, Outcome::Connected);
}

/// A port forward is a port of this machine, wherever it is answered.
#[test]
fn containers_that_may_send_nothing_out_reach_a_port_forward_as_they_reach_this_machine() {
    let routed = Routed::new(&[]);
    let lab = &routed.lab;
    let on = |addresses: [IpAddr; 2], port| addresses.map(|address| SocketAddr::new(address, port));
    let _target = lab.lan.listen(&[on(ANY, 8443), on(ANY, 8444)].concat(), &[]);
    let _local = lab.host.listen(&on(ANY, 9100), &[]);
    let rows: Vec<_> = [("forwarded", HOST, 443), ("past the forward", LAN, 8443), ("own", HOST, 9100)]
        .into_iter()
        .flat_map(|(what, to, port)| [0, 1].map(|family| (what, &routed.app, address(APP[family]), to[family], port)))
        .collect();
    let outcomes = |containers: &str, services: &str| {
        routed.apply(&format!(
            "version: 1
containers: {{ outgoing: deny, {containers} }}
services: {{ web: {{ ports: 443/tcp, from: {services} }}
"
        ));
        tries(&rows).chunks(2).map(|both| both.join(", ").replace("TimedOut", "shut")).collect::<Vec<_>>()
    };
    let (forwarded, own) = ("forwarded: Connected, forwarded: Connected", "own: Connected, own: Connected");
    let (not_forwarded, not_own) = ("forwarded: shut, forwarded: shut", "own: shut, own: shut");
    let past = "past the forward: shut, past the forward: shut";
    let to = "forward_to: [\"10.77.0.2:8443\", \"[fd77::2]:8443\"] }";

    assert_eq!(outcomes("host: deny", &format!("any, {to}")), [forwarded, past, not_own]);
    assert_eq!(outcomes("host: deny", &format!("203.0.113.9, {to}")), [not_forwarded, past, not_own]);
    assert_eq!(outcomes("host: allow", &format!("any, {to}")), [forwarded, past, own]);
    assert_eq!(outcomes("host: allow", &format!("203.0.113.9, {to}")), [forwarded, past, own]);
    let denied = format!("203.0.113.9, {to}, shut: {{ ports: [443/tcp, 9100/tcp], from: containers, action: deny }}");
    assert_eq!(outcomes("host: allow", &denied), [not_forwarded, past, not_own]);
}
