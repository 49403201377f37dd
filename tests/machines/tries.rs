//! Connections on a machine: what is said of each by all live tables, and what becomes of it.

use super::drawn::{Built, CLUSTER, Drawn, Who, address};
use crate::support::dice::Dice;
use crate::support::lab::{HOST, HOST_ON_LAN};
use crate::support::probe::{Outcome, PATIENCE, SILENCE, Target, probe_from};
use palisade::netlink::routing::Routing;
use palisade::netlink::{Live, LiveSets, Socket};
use palisade::ruleset::TableId;
use palisade::simulate::{Connection, Packet, Stage, Transport, Verdict, Way, follow_connection};
use std::net::{IpAddr, SocketAddr};
use std::thread;

/// One connection.
#[derive(Clone, Debug)]
pub struct Try {
    /// The index of who opens it.
    pub who: usize,
    pub from: SocketAddr,
    pub to: IpAddr,
    pub target: Target,
    pub packet: Packet,
}

/// What is said of a connection.
#[derive(Clone, Debug)]
pub struct Said {
    pub verdict: Verdict,
    pub stage: Stage,
    pub doubt: Option<String>,
    /// Whether it is translated to another address.
    pub translated: bool,
    /// The interface that it leaves by, if it is for another machine.
    pub leaves_by: Option<String>,
    /// Whether it is the rules of others that deny it.
    pub denied_by_others: bool,
}

impl std::fmt::Display for Try {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {} by {:?} to {}", self.target, self.from, self.packet.incoming, self.to)
    }
}

const TARGETS: [Target; 13] = [
    Target::Tcp(22),
    Target::Tcp(80),
    Target::Tcp(443),
    Target::Tcp(5432),
    Target::Tcp(8080),
    Target::Tcp(8080),
    Target::Tcp(8443),
    Target::Tcp(80),
    Target::Udp(53),
    Target::Udp(4242),
    Target::Udp(9000),
    Target::Udp(9000),
    Target::Ping,
];
/// The first of the ports that connections come from, and how many there are.
const FIRST: u16 = 33_000;
const COUNT: u16 = 27_000;

/// A machine with what tells of its rules and routes.
pub struct Observer<'m> {
    pub built: &'m Built,
    pub socket: Socket,
    pub routing: Routing,
    ports: u16,
}

impl<'m> Observer<'m> {
    pub fn new(built: &'m Built) -> Self {
        let (socket, routing) = built.lab.host.run(|| (Socket::open(), Routing::open()));
        Self { built, socket: socket.expect("a socket"), routing: routing.expect("a socket"), ports: 0 }
    }

    /// So many random connections.
    pub fn draw(&mut self, dice: &mut Dice, machine: &Drawn, count: usize) -> Vec<Try> {
        let mut tries = Vec::new();
        while tries.len() < count {
            tries.extend(self.one(dice, machine));
        }
        tries
    }

    fn one(&mut self, dice: &mut Dice, machine: &Drawn) -> Option<Try> {
        let family = dice.below(2);
        let index = dice.below(self.built.who.len());
        let who = &self.built.who[index];
        let to = self.destination(dice, machine, who, family);
        let target = dice.pick(&TARGETS);
        let from = match who.by {
            Some(_) => dice.pick(&who.addresses)[family],
            None => self.routing.source_towards(to).ok().flatten()?,
        };
        // Nobody but the machine sends to itself here.
        if who.by.is_some() && from == to {
            return None;
        }
        self.ports = (self.ports + 1) % COUNT;
        let from = SocketAddr::new(from, FIRST + self.ports);
        Some(Try { who: index, from, to, target, packet: packet(who.by, from, to, target) })
    }

    fn destination(&self, dice: &mut Dice, machine: &Drawn, who: &Who, family: usize) -> IpAddr {
        let host = self.built.who.last().expect("the host is there");
        match dice.below(10) {
            0..=2 => HOST[family],
            3 => HOST_ON_LAN[family],
            4 => dice.pick(&host.addresses)[family],
            5..=6 => dice.pick(&machine.nets).other[family],
            7 if dice.chance(50) => address(dice.pick(&CLUSTER)[family]),
            _ => {
                let others: Vec<&Who> = self.built.who.iter().filter(|other| other.by != who.by).collect();
                dice.pick(&dice_addresses(&others))[family]
            }
        }
    }

    /// What is said of a connection beside these tables.
    pub fn follow<'a>(&self, live: &'a Live, sets: &LiveSets<'a>, packet: &Packet) -> Connection<'a> {
        follow_connection(&live.ruleset.tables, sets, &self.routing, packet)
    }

    /// What becomes of connections, all at once; of one that is denied, silence is enough, and of a ping that is refused.
    pub fn outcomes(&self, tries: &[(&Try, Verdict)]) -> Vec<Outcome> {
        thread::scope(|scope| {
            let running: Vec<_> = tries
                .iter()
                .map(|(one, verdict)| {
                    let answered = match verdict {
                        Verdict::Allow => true,
                        Verdict::Reject => one.target != Target::Ping,
                        Verdict::Deny | Verdict::Unknown => false,
                    };
                    let wait = if answered { PATIENCE } else { SILENCE };
                    let inside = &self.built.who[one.who].inside;
                    scope.spawn(move || {
                        inside.enter();
                        probe_from(inside, one.target, one.from, one.to, wait)
                    })
                })
                .collect();
            running.into_iter().map(|one| one.join().expect("a probe ends")).collect()
        })
    }
}

fn dice_addresses(others: &[&Who]) -> Vec<[IpAddr; 2]> {
    others.iter().flat_map(|who| who.addresses.clone()).collect()
}

/// The first packet of a connection.
pub fn packet(by: Option<&str>, from: SocketAddr, to: IpAddr, target: Target) -> Packet {
    use palisade::net::protocol::{TCP, UDP};
    let of = |protocol, destination| Transport::Ports { protocol, source: Some(from.port()), destination };
    let transport = match target {
        Target::Tcp(port) => of(TCP, port),
        Target::Udp(port) => of(UDP, port),
        Target::Ping => Transport::echo_request(to),
    };
    match by {
        Some(name) => Packet::to_machine(from.ip(), to, transport).coming_in_by(name),
        // The tests run as root.
        None => Packet::from_machine(from.ip(), to, transport).sent_by(0),
    }
}

impl Said {
    pub fn of(connection: &Connection<'_>) -> Self {
        let verdict = connection.verdict();
        let fades = connection.fades().filter(|_| verdict == Verdict::Allow);
        Self {
            verdict: if fades.is_some() { Verdict::Unknown } else { verdict },
            stage: connection.decisive().0,
            doubt: fades.or(connection.doubt()).map(|doubt| {
                let mut steps = connection.decisive().1.trace.steps.iter();
                let rule =
                    steps.find(|step| step.doubt.is_some()).map(|step| format!(": {} `{}`", step.chain, step.text()));
                format!("{doubt}{}", rule.unwrap_or_default())
            }),
            translated: connection.first.translated.is_some(),
            denied_by_others: {
                let by = connection.decisive().1.trace.denied_by();
                by.is_some_and(|step| *step.table != TableId::palisade())
            },
            leaves_by: match connection.first.end() {
                Some(Way::Out(name)) => Some(name.clone()),
                _ => None,
            },
        }
    }

    /// Whether a connection may end so after that was said.
    pub fn agrees(&self, target: Target, outcome: Outcome) -> bool {
        use Outcome::{Connected, NotPermitted, Refused, TimedOut, Unreachable};
        match self.verdict {
            Verdict::Allow => outcome == Connected,
            // It may be reset.
            Verdict::Deny if matches!(self.stage, Stage::Third | Stage::Sent | Stage::Returned) => {
                outcome != Connected
            }
            Verdict::Deny => matches!(outcome, TimedOut | NotPermitted),
            // Nobody tells an echo request that it is refused, and ping says nothing of errors.
            Verdict::Reject if target == Target::Ping => outcome != Connected,
            Verdict::Reject => matches!(outcome, Refused | Unreachable | NotPermitted),
            Verdict::Unknown => true,
        }
    }
}
