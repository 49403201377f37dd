//! Three machines that answer everything, and connections between them that are held against what the simulator says of
//! them.
#![allow(unreachable_pub)]

use crate::support::echo::Echo;
use crate::support::lab::{ANY, CLIENT, HOST, HOST_ON_LAN, LAN, LOOPBACK, Lab};
use crate::support::namespace::{Namespace, output};
use crate::support::policies::config_of;
use crate::support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_from, questions_from};
use crate::support::tap::{mac_of, mac_text};
use palisade::net::protocol;
use palisade::netlink::routing::Routing;
use palisade::netlink::{LiveSets, Socket};
use palisade::simulate::{Packet, Stage, Transport, Verdict, follow_connection};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;

/// What everybody answers.
const TCP: [u16; 4] = [22, 80, 4242, 8080];
const UDP: [u16; 3] = [53, 4242, 9000];

/// The first of the ports that connections come from, of those that the kernel gives, and how many there are. None is used
/// again soon: what is left of an earlier connection from it would count as its continuation.
const FIRST_PORT: u16 = 33_000;
const PORTS: u16 = 27_000;

/// How many verdicts there were of each kind, by the packet that decides.
#[derive(Debug, Default)]
pub struct Sum {
    pub verdicts: BTreeMap<(String, Verdict), usize>,
    pub doubts: BTreeMap<String, usize>,
    /// How many are answered once, and perhaps no second time.
    pub ends: usize,
}

/// One connection.
struct Try<'n> {
    inside: &'n Namespace,
    target: Target,
    from: SocketAddr,
    to: IpAddr,
    packet: Packet,
}

/// Three machines that answer everything.
struct Range {
    lab: Lab,
    _echoes: [Echo; 3],
    socket: Socket,
    routing: Routing,
    /// Whether the local network is behind a bridge, and all look for each other anew.
    bridged: bool,
    /// How many connections there have been.
    ports: Cell<u16>,
}

impl Range {
    /// With the local network behind a bridge, all look for each other anew beside each ruleset; else they know each
    /// other, so that no rule is asked about neighbour discovery.
    fn new(bridged: bool) -> Self {
        let lab = Lab::new();
        lab.forward();
        if bridged {
            bridge(&lab.host);
        } else {
            know_each_other(&lab);
        }
        let echo = |inside: &Namespace, own: &[[IpAddr; 2]]| {
            let at = |ports: &[u16], addresses: &[[IpAddr; 2]]| -> Vec<SocketAddr> {
                let all = addresses.iter().flatten();
                all.flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port))).collect()
            };
            // A datagram's answer comes from the address that it was sent to.
            inside.listen(&at(&TCP, &[ANY]), &at(&UDP, own))
        };
        let echoes =
            [echo(&lab.host, &[HOST, HOST_ON_LAN, LOOPBACK]), echo(&lab.client, &[CLIENT]), echo(&lab.lan, &[LAN])];
        let (socket, routing) = lab.host.run(|| (Socket::open(), Routing::open()));
        Self {
            _echoes: echoes,
            socket: socket.expect("a socket"),
            routing: routing.expect("a socket"),
            lab,
            bridged,
            ports: Cell::new(0),
        }
    }

    fn tries(&self) -> Vec<Try<'_>> {
        let Lab { host, client, lan, .. } = &self.lab;
        let mut tries = Vec::new();
        let by = if self.bridged { "br1" } else { "eth1" };
        for family in 0..2 {
            let [c, h, i, l, o] = [CLIENT, HOST, HOST_ON_LAN, LAN, LOOPBACK].map(|of| of[family]);
            let mut add = |inside, from: IpAddr, to: IpAddr, by: Option<&str>, targets: &[Target]| {
                for target in targets {
                    self.ports.set((self.ports.get() + 1) % PORTS);
                    let own = FIRST_PORT + self.ports.get();
                    let of = |protocol, destination| Transport::Ports { protocol, source: Some(own), destination };
                    let transport = match target {
                        Target::Tcp(port) => of(protocol::TCP, *port),
                        Target::Udp(port) => of(protocol::UDP, *port),
                        Target::Ping => Transport::echo_request(to),
                    };
                    let packet = match by {
                        Some(name) => Packet::to_machine(from, to, transport).coming_in_by(name),
                        None => Packet::from_machine(from, to, transport),
                    };
                    tries.push(Try { inside, target: *target, from: SocketAddr::new(from, own), to, packet });
                }
            };
            let some = [Target::Tcp(80), Target::Udp(53), Target::Ping];
            let published = [Target::Tcp(8080), Target::Udp(9000)];
            add(client, c, h, Some("eth0"), &some);
            add(client, c, h, Some("eth0"), &published);
            add(client, c, l, Some("eth0"), &some);
            add(lan, l, i, Some(by), &some);
            add(lan, l, c, Some(by), &some);
            add(host, h, c, None, &[Target::Tcp(4242), Target::Udp(4242), Target::Ping, Target::Tcp(8080)]);
            add(host, i, l, None, &some);
            add(host, h, h, None, &[Target::Tcp(22), Target::Udp(53), Target::Ping, Target::Tcp(8080)]);
            add(host, o, o, None, &[Target::Tcp(22), Target::Ping]);
        }
        tries
    }

    /// Sentences about the connections that come to another end than is said, beside the rules that are loaded.
    fn differences(&self, sum: &mut Sum) -> Result<Vec<String>, TestCaseError> {
        output(self.lab.host.command("conntrack").arg("-F")).success();
        let live = self.socket.live().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sets = LiveSets::new(&self.socket, &live, None);
        let mut asked = Vec::new();
        for one in self.tries() {
            let said = follow_connection(&live.ruleset.tables, &sets, &self.routing, &one.packet);
            // Those who know each other for good forget nobody. What ends after the answer is tried further on.
            let allows = said.verdict() == Verdict::Allow;
            let fades = said.first.fades.as_ref().filter(|_| self.bridged && allows);
            let ends = allows && said.ends.is_some();
            if let Some(doubt) = fades.or(said.doubt()) {
                *sum.doubts.entry(doubt.to_string()).or_default() += 1;
            }
            sum.ends += usize::from(ends);
            let stage = said.decisive().0;
            let verdict = if fades.is_some() { Verdict::Unknown } else { said.verdict() };
            *sum.verdicts.entry((stage.name().to_owned(), verdict)).or_default() += 1;
            if verdict != Verdict::Unknown {
                asked.push((one, stage, verdict, ends));
            }
        }
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let running: Vec<_> = asked
                .iter()
                .map(|(one, _, verdict, ends)| {
                    let wait = if *verdict == Verdict::Deny { SILENCE } else { PATIENCE };
                    scope.spawn(move || {
                        one.inside.enter();
                        match one.target {
                            // What may end after the first answer is asked for no second.
                            Target::Udp(port) if !ends => {
                                questions_from(one.from, SocketAddr::new(one.to, port), &[wait; 3])
                            }
                            _ => probe_from(one.inside, one.target, one.from, one.to, wait),
                        }
                    })
                })
                .collect();
            running.into_iter().map(|one| one.join().expect("a probe ends")).collect()
        });
        let wrong = asked
            .iter()
            .zip(outcomes)
            .filter(|((one, stage, verdict, _), outcome)| !agrees(one, *stage, *verdict, *outcome));
        let words = |((one, stage, verdict, _), outcome): (&(Try<'_>, Stage, Verdict, bool), Outcome)| {
            format!("{} from {} to {}: {verdict:?} ({}), but {outcome:?}", one.target, one.from, one.to, stage.name())
        };
        Ok(wrong.map(words).collect())
    }
}

/// Whether a connection may end so after that was said.
fn agrees(one: &Try<'_>, stage: Stage, verdict: Verdict, outcome: Outcome) -> bool {
    use Outcome::{Connected, NotPermitted, Refused, TimedOut, Unreachable};
    match verdict {
        Verdict::Allow => outcome == Connected,
        // It may be reset.
        Verdict::Deny if matches!(stage, Stage::Third | Stage::Sent | Stage::Returned) => outcome != Connected,
        Verdict::Deny => matches!(outcome, TimedOut | NotPermitted),
        // Nobody tells an echo request that it is refused, and ping says nothing of errors.
        Verdict::Reject if one.target == Target::Ping => outcome != Connected,
        Verdict::Reject => matches!(outcome, Refused | Unreachable | NotPermitted),
        Verdict::Unknown => true,
    }
}

/// Puts the local network behind a bridge.
fn bridge(host: &Namespace) {
    host.ip("link add br1 type bridge");
    host.ip("address flush dev eth1");
    host.ip("link set eth1 master br1");
    host.ip(&format!("address add {}/24 dev br1", HOST_ON_LAN[0]));
    host.ip(&format!("address add {}/64 dev br1 nodad", HOST_ON_LAN[1]));
    host.ip("link set br1 up");
}

/// Has all know the link addresses of the others, so that no rule is asked about neighbour discovery.
fn know_each_other(lab: &Lab) {
    let sides = [(&lab.client, CLIENT, "eth0", HOST), (&lab.lan, LAN, "eth1", HOST_ON_LAN)];
    for (inside, addresses, device, host) in sides {
        let (theirs, ours) = (mac_of(inside, "eth0"), mac_of(&lab.host, device));
        for (address, here) in addresses.iter().zip(host) {
            lab.host
                .ip(&format!("neighbour replace {address} lladdr {} dev {device} nud permanent", mac_text(theirs)));
            inside.ip(&format!("neighbour replace {here} lladdr {} dev eth0 nud permanent", mac_text(ours)));
        }
    }
}

/// Compares what becomes of every connection beside so many rulesets. Those that nft does not take are passed over.
pub fn compare(cases: u32, rules: impl Strategy<Value = String>, bridged: bool) -> Sum {
    let range = Range::new(bridged);
    let sum: RefCell<Sum> = RefCell::default();
    let config = Config { cases, max_shrink_iters: 40, ..config_of(cases) };
    let outcome = TestRunner::new(config).run(&rules, |text| {
        range.lab.host.nft_load(&format!("flush ruleset\n{text}"));
        if bridged {
            range.lab.forget_neighbours();
        }
        let found = range.differences(&mut sum.borrow_mut())?;
        prop_assert!(found.is_empty(), "{} differ:\n{}\nbeside\n{text}", found.len(), found.join("\n"));
        Ok(())
    });
    let sum = sum.into_inner();
    eprintln!("{sum:#?}");
    match outcome {
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(error) => panic!("{error}"),
        Ok(()) => sum,
    }
}
