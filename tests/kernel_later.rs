//! What a packet leaves behind, and a later packet of its connection meets: marks and keys of sets, in both directions,
//! with real packets. Each attack has its control, a port that the rules leave alone.
#![allow(missing_docs)]

mod support;

use palisade::net::protocol;
use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Socket};
use palisade::simulate::{Packet, Stage, Transport, Verdict, follow_connection};
use std::cell::Cell;
use std::io::{Seek, Write};
use std::net::{IpAddr, SocketAddr};
use support::echo::Echo;
use support::lab::{CLIENT, HOST, LAN, Lab};
use support::namespace::output;
use support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_from, questions_from};

/// What palisade says of which packet, and what came of a connection over which data went both ways several times.
type Met = (Stage, Verdict, Outcome);
const OPEN: Met = (Stage::First, Verdict::Allow, Outcome::Connected);

const fn shut(stage: Stage) -> Met {
    (stage, Verdict::Deny, Outcome::TimedOut)
}

/// Everybody answers at ports 80 and 81.
struct Road {
    lab: Lab,
    _echoes: [Echo; 2],
    port: Cell<u16>,
}

impl Road {
    fn new() -> Self {
        let lab = Lab::new();
        lab.forward();
        let at = |own: [IpAddr; 2]| -> Vec<SocketAddr> {
            own.iter().flat_map(|address| [80, 81].map(|port| SocketAddr::new(*address, port))).collect()
        };
        let echoes = [lab.host.listen(&at(HOST), &at(HOST)), lab.lan.listen(&at(LAN), &at(LAN))];
        Self { lab, _echoes: echoes, port: Cell::new(40_000) }
    }

    fn load(&self, rules: &str) {
        self.lab.host.nft_load(&format!("flush ruleset\n{rules}"));
    }

    /// A port that no connection has come from.
    fn own_port(&self) -> u16 {
        self.port.set(self.port.get() + 1);
        self.port.get()
    }

    /// What is said of a connection, by which packet, and why it may not last.
    fn said(&self, from: SocketAddr, to: IpAddr, target: Target) -> (Stage, Verdict, Option<String>) {
        self.lab.host.run(|| {
            let (socket, routing) = (Socket::open().expect("a socket"), Routing::open().expect("a socket"));
            let live = socket.live().expect("the rules can be read");
            let sets = LiveSets::new(&socket, &live, None);
            let of = |protocol, destination| Transport::Ports { protocol, source: Some(from.port()), destination };
            let transport = match target {
                Target::Tcp(port) => of(protocol::TCP, port),
                Target::Udp(port) => of(protocol::UDP, port),
                Target::Ping => Transport::echo_request(to),
            };
            let packet = Packet::to_machine(from.ip(), to, transport).coming_in_by("eth0");
            let connection = follow_connection(&live.ruleset.tables, &sets, &routing, &packet);
            let doubt = connection.doubt().or(connection.fades()).map(ToString::to_string);
            (connection.decisive().0, connection.verdict(), doubt)
        })
    }

    fn probe(&self, from: SocketAddr, to: IpAddr, target: Target, verdict: Verdict) -> Outcome {
        let wait = if verdict == Verdict::Allow { PATIENCE } else { SILENCE };
        let client = &self.lab.client;
        client.run(|| probe_from(client, target, from, to, wait))
    }

    /// Asks about a TCP connection from the client, and tries it.
    fn meets(&self, to: IpAddr, port: u16) -> Met {
        let from = SocketAddr::new(CLIENT[usize::from(to.is_ipv6())], self.own_port());
        let (stage, verdict, why) = self.said(from, to, Target::Tcp(port));
        eprintln!("{port} of {to}: {verdict:?} {why:?}");
        (stage, verdict, self.probe(from, to, Target::Tcp(port), verdict))
    }
}

/// Rules that mark what comes in, or is answered, at the end of its way, and drop by that at its begin.
fn marks(sent: &str, returned: &str) -> String {
    format!(
        "table inet t {{
            set seen {{ type inet_service; size 16; flags dynamic; }}
            map following {{ type mark : mark; elements = {{ 0 : 1, 1 : 2, 2 : 3, 3 : 4, 4 : 5 }}; }}
            chain again {{ type filter hook prerouting priority -150; ct mark 5 drop; tcp sport @seen drop; }}
            chain in {{ type filter hook input priority 0; {sent}; }}
            chain through {{ type filter hook forward priority 0; {sent}; {returned}; }}
            chain out {{ type filter hook output priority 0; {returned}; }}
        }}"
    )
}

#[test]
fn what_a_packet_leaves_behind_stops_the_next_one_in_either_direction() {
    let road = Road::new();
    let acknowledges = "tcp flags & (syn | ack) == ack";
    // What becomes of it where this machine answers, and where it is forwarded.
    let cases = [
        ("tcp dport 80 ct mark set 7", "tcp sport 80 ct mark set 6", [OPEN; 2]),
        (&format!("tcp dport 80 {acknowledges} ct mark set 5"), "counter", [shut(Stage::Sent); 2]),
        ("counter", "tcp sport 80 ct mark set 5", [shut(Stage::Third); 2]),
        ("counter", &format!("tcp sport 80 {acknowledges} ct mark set 5"), [shut(Stage::Sent); 2]),
        ("tcp dport 80 ct mark set ct mark map @following", "counter", [shut(Stage::Sent), shut(Stage::Returned)]),
        ("counter", "tcp sport 80 ct mark set ct mark map @following", [shut(Stage::Sent); 2]),
        (&format!("tcp dport 80 {acknowledges} add @seen {{ tcp sport }}"), "counter", [shut(Stage::Sent); 2]),
        ("counter", &format!("tcp sport 80 {acknowledges} add @seen {{ tcp dport }}"), [shut(Stage::Sent); 2]),
        (&format!("tcp dport 80 {acknowledges} add @seen {{ tcp dport }}"), "counter", [OPEN, shut(Stage::Returned)]),
    ];
    for (sent, returned, met) in cases {
        for version in 0..2 {
            for (to, met) in [HOST[version], LAN[version]].into_iter().zip(met) {
                road.load(&marks(sent, returned));
                assert_eq!([80, 81].map(|port| road.meets(to, port)), [met, OPEN], "{to}: {sent}; {returned}");
            }
        }
    }
}

#[test]
fn what_iptables_marks_the_connection_with_stops_the_next_packet() {
    let road = Road::new();
    let rules = "*mangle\n-A PREROUTING -m connmark --mark 5 -j DROP\n-A INPUT -p tcp --dport 80 -m conntrack --ctstate \
                 ESTABLISHED -j CONNMARK --set-mark 5\n-A POSTROUTING -p tcp --sport 81 -j CONNMARK --set-mark 6\nCOMMIT\n";
    for (program, to) in ["iptables-nft-restore", "ip6tables-nft-restore"].into_iter().zip(HOST) {
        road.load("");
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(rules.as_bytes()).and_then(|()| file.rewind()).expect("it is writable");
        output(road.lab.host.command(program).stdin(file)).success();

        assert_eq!([80, 81].map(|port| road.meets(to, port)), [shut(Stage::Sent), OPEN], "{to}");
    }
}

#[test]
fn of_datagrams_of_which_only_the_first_is_answered_that_is_said() {
    let road = Road::new();
    let why = "one question is answered, and what is sent after the answer does not arrive: chain again of table inet t stops it";
    for to in HOST {
        road.load(&marks("udp dport 80 ct state established ct mark set 7", "udp sport 80 ct mark set 5"));
        for (port, doubt, second) in [(80, Some(why), Outcome::TimedOut), (81, None, Outcome::Connected)] {
            let own = || SocketAddr::new(CLIENT[usize::from(to.is_ipv6())], road.own_port());
            let said = road.said(own(), to, Target::Udp(port));
            let long = if doubt.is_some() { SILENCE } else { PATIENCE };
            let tried = [&[PATIENCE][..], &[PATIENCE, long]].map(|waits| {
                let from = own();
                road.lab.client.run(|| questions_from(from, SocketAddr::new(to, port), waits))
            });

            assert_eq!(said, (Stage::First, Verdict::Allow, doubt.map(str::to_owned)), "{to}");
            assert_eq!(tried, [Outcome::Connected, second], "{to}");
        }
    }
}

#[test]
fn whoever_asks_is_told_which_later_packet_is_dropped_and_by_whom() {
    let road = Road::new();
    road.lab.write_policy("policy.yaml", "version: 1\nservices:\n  web: { ports: [80/tcp, 80/udp], from: any }\n");
    road.lab.palisade("policy.yaml", &["apply"]).success();
    let told = |port: &str, rules: &str| {
        road.lab.host.nft_load(&format!("table inet t\ndelete table inet t\n{rules}"));
        let arguments = ["explain", port, "--from", "203.0.113.9", "--to", "203.0.113.1"];
        let text = road.lab.palisade("policy.yaml", &arguments).stdout;
        text.lines().take(2).map(str::trim).collect::<Vec<_>>().join("; ")
    };
    let by_third = marks("tcp dport 80 tcp flags & (syn | ack) == ack ct mark set 5", "counter");
    let by_answer = marks("counter", "udp sport 80 ct mark set 5");
    let connection =
        |word: &str, port: &str| format!("{word}: {port} from 203.0.113.9 to 203.0.113.1, coming in by eth0; ");

    assert_eq!(told("80/tcp", ""), connection("allowed", "80/tcp") + "no table denies it");
    assert_eq!(
        told("80/tcp", &by_third),
        connection("denied", "80/tcp")
            + "the data that is sent then is dropped by chain again of table inet t, not by palisade: `ct mark 0x5 drop`"
    );
    assert_eq!(
        told("80/udp", &by_answer),
        connection("can't tell", "80/udp")
            + "one question is answered, and what is sent after the answer does not arrive: chain again of table inet t stops it"
    );
}
