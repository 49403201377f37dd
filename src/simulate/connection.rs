//! A connection's first three packets: it is open if all of them arrive.
//!
//! ```text
//! first    the sender's packet
//! answer   of whoever it reached: this machine, a container that it was translated to, a host that it was routed to
//! third    the sender's next packet, which ends the opening of a connection of TCP or SCTP
//! fourth   data that comes back over TCP, if rules stop it that let the answer pass
//! ```
//!
//! The state that conntrack gives each of them depends on those before it. An answer to a tracked packet is a reply,
//! and its translations are undone (`nf_nat_inet_fn` in net/netfilter/nf_nat_core.c); `nat` chains don't see it. If a
//! rule leaves the first packet untracked, conntrack treats the answer as a first packet, and so on.
//!
//! The receiver is assumed to answer, from the address and the port that the first packet was sent to. The answer of
//! another host is assumed to come in by the interface that the first packet left by.

use super::fib::is_link_local;
use super::packet::{Interface, Packet, Part, Path, State, Transport, Undone};
use super::packet_run::PacketRun;
use super::routes::{Routes, Way};
use super::sets::Sets;
use super::simulate_table;
use super::trace::{Effect, Outcomes, Trace, Verdict};
use super::traversal::{Traversal, traverse};
use super::truth::Doubt;
use crate::net::protocol;
use crate::ruleset::{AddressType, Expr, Foreign, Rule, Table, TableId};

/// `NF_NAT_RANGE_PROTO_RANDOM` and `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
const NAT_RANDOM: u32 = 0x4 | 0x10;

/// The packets that open a connection, up to the first that does not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The first.
    pub first: Traversal<'a>,
    /// The answer, and where it goes; `None` if the first did not get there, or if it asks for no answer.
    pub answer: Option<(Packet, Traversal<'a>)>,
    /// The third, of a protocol that has one.
    pub third: Option<Traversal<'a>>,
    /// The fourth, if it does not pass: if it does, it goes the way of the answer.
    pub fourth: Option<Traversal<'a>>,
}

/// One of the packets that open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first.
    First,
    /// The answer.
    Answer,
    /// The third.
    Third,
    /// The fourth.
    Fourth,
}

impl Stage {
    /// Its name in the output of `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Answer => "answer",
            Self::Third => "third",
            Self::Fourth => "fourth",
        }
    }
}

impl<'a> Connection<'a> {
    /// The packets that were followed, in order.
    pub fn traversals(&self) -> impl Iterator<Item = (Stage, &Traversal<'a>)> {
        let answer = self.answer.as_ref().map(|(_, answer)| (Stage::Answer, answer));
        let third = self.third.as_ref().map(|third| (Stage::Third, third));
        let fourth = self.fourth.as_ref().map(|fourth| (Stage::Fourth, fourth));
        std::iter::once((Stage::First, &self.first)).chain(answer).chain(third).chain(fourth)
    }

    /// The packet that decides the verdict: the first one that does not pass or, if all do, the first.
    #[must_use]
    pub fn decisive(&self) -> (Stage, &Traversal<'a>) {
        let mut all = self.traversals();
        all.find(|(_, traversal)| traversal.trace.verdict != Verdict::Allow).unwrap_or((Stage::First, &self.first))
    }

    /// The possible outcomes.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        let (stage, traversal) = self.decisive();
        let outcomes = traversal.trace.outcomes;
        // The refusal of an answer goes to the answerer, and the client hears nothing. After the answer, the client
        // takes an error for a passing one, and waits.
        if stage != Stage::First && outcomes.contain(Outcomes::REJECT) {
            return outcomes.without(Outcomes::REJECT).or(Outcomes::DENY);
        }
        outcomes
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.outcomes().verdict()
    }

    /// Why the verdict is unknown; `None` if it is known.
    #[must_use]
    pub fn doubt(&self) -> Option<&Doubt> {
        self.decisive().1.doubt()
    }
}

/// Follows a connection through these tables, beginning with its first packet; see [`follow`](super::follow).
pub fn follow_connection<'a>(
    tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
    sets: &dyn Sets,
    routes: &dyn Routes,
    packet: &Packet,
) -> Connection<'a> {
    let packet = Packet { translated: None, part: Part::First, ..packet.clone() };
    let (first, run) = traverse(PacketRun::new(tables, sets, Some(routes)), routes, packet.clone());
    let opening = Opening { routes, packet, tracked: !run.effects.borrow().untracked };
    let mut connection = Connection { first, answer: None, third: None, fourth: None };
    if connection.first.trace.verdict != Verdict::Allow {
        return connection;
    }
    let source_is_translated = run.effects.borrow().source;
    let Some(answer) = opening.answer(&connection.first, source_is_translated) else { return connection };
    let (mut back, run) = traverse(run.next(), routes, answer.clone());
    opening.check_answer(&answer, &mut back, &run);
    let gets_back = back.trace.verdict == Verdict::Allow;
    let (fourth, translated) = (answer.fourth(), opening.needs_undoing(&answer));
    connection.answer = Some((answer, back));
    if !gets_back {
        return connection;
    }
    let Some((third, run)) = opening.third(&connection.first, &run, (source_is_translated, translated)) else {
        return connection;
    };
    let goes_on = third.trace.verdict == Verdict::Allow;
    connection.third = Some(third);
    if let Some(fourth) = fourth.filter(|_| goes_on) {
        let back = opening.fourth(&fourth, &run);
        connection.fourth = Some(back).filter(|back| back.trace.verdict != Verdict::Allow);
    }
    connection
}

/// What one table does with the packets that open a connection, up to the first that does not pass. The path, the
/// interfaces and the translation of all of them follow from those of the first.
#[must_use]
pub fn open_through_table<'a>(id: &'a TableId, table: &'a Table, packet: &Packet) -> Vec<(Packet, Trace<'a>)> {
    let mut opened = Vec::new();
    for packet in [Some(packet.clone()), packet.answer(), packet.third()].into_iter().flatten() {
        let trace = simulate_table(id, table, &packet);
        let passes = trace.verdict == Verdict::Allow;
        opened.push((packet, trace));
        if !passes {
            break;
        }
    }
    opened
}

/// What is known of a connection after its first packet.
struct Opening<'v> {
    routes: &'v dyn Routes,
    packet: Packet,
    /// Whether conntrack has an entry for it.
    tracked: bool,
}

impl Opening<'_> {
    /// The answer; `None` if there is none, as to an error or to a multicast packet.
    fn answer(&self, first: &Traversal<'_>, source_is_translated: bool) -> Option<Packet> {
        let Packet { source: client, destination, .. } = self.packet;
        let kind = self.routes.address_type(destination);
        if destination.is_multicast() || matches!(kind, Ok(AddressType::Broadcast | AddressType::Multicast)) {
            return None;
        }
        let asked = Packet { translated: first.translated, ..self.packet.clone() };
        let answer = match first.end()? {
            Way::Local => {
                let answer = Packet { path: Path::ToMachine, ..asked }.answer()?;
                // The answer to a neighbour leaves by the link. For others the routing decides.
                let outgoing = if is_link_local(client) { answer.outgoing } else { Interface::Unknown };
                Packet { outgoing, ..answer }
            }
            Way::Out(interface) => Packet { path: Path::Through, ..asked }.leaving_by(interface).answer()?,
            Way::Lost(_) | Way::Refused(_) => return None,
        };
        let state = match (self.tracked, answer.transport) {
            (true, _) => State::Reply,
            // A packet without an entry begins a connection, unless its own header makes it an answer: `tcp_new` in
            // net/netfilter/nf_conntrack_proto_tcp.c, and those of ICMP.
            (false, Transport::Ports { protocol: protocol::TCP, .. } | Transport::Icmp { .. }) => State::Invalid,
            (false, _) => State::New,
        };
        let part = match answer.part {
            Part::Answer(undone) => {
                let to = first.translated.map_or(destination, |to| to.address);
                let own = || self.routes.source_towards(to).ok();
                let masqueraded = is_masqueraded(first).then(own).flatten();
                let keeps_port = keeps_port(first);
                Part::Answer(Undone { source: source_is_translated, masqueraded, keeps_port, ..undone })
            }
            part => part,
        };
        Some(Packet { state, part, ..answer })
    }

    /// Checks whether the client accepts the answer, which has passed all rules.
    fn check_answer(&self, answer: &Packet, back: &mut Traversal<'_>, run: &PacketRun<'_, '_>) {
        let effects = run.effects.borrow();
        if effects.untracked && self.tracked && self.needs_undoing(answer) {
            return back.goes_astray(NOT_PUT_BACK.into());
        }
        if effects.source || effects.destination.is_some() {
            back.may_go_astray("conntrack takes the answer for a connection of its own, and it is translated".into());
        }
        let to_itself = self.packet.path == Path::FromMachine || self.packet.incoming.is_loopback();
        match (back.end(), to_itself) {
            (Some(Way::Out(_)), true) => {
                let why = format!("the answer to {}, which asked, leaves this machine", answer.destination);
                back.goes_astray(why.into());
            }
            (Some(Way::Local), false) => {
                let why = format!("the answer stays here: {} is an address of this machine", answer.destination);
                back.goes_astray(why.into());
            }
            _ => {}
        }
    }

    /// Whether the answer reaches the client only if its translation is undone. A sender that was masqueraded as the
    /// address that it already had was not translated.
    fn needs_undoing(&self, answer: &Packet) -> bool {
        let Part::Answer(Undone { destination, source, masqueraded, .. }) = answer.part else { return false };
        destination.is_some() || (source && masqueraded != Some(self.packet.source))
    }

    /// The third packet; `translated` is whether it has to be. If conntrack did not track the answer, the state of this
    /// packet depends on the protocol and on settings.
    fn third<'a, 'v>(
        &'v self,
        first: &Traversal<'a>,
        run: &PacketRun<'a, 'v>,
        (source_is_translated, translated): (bool, bool),
    ) -> Option<(Traversal<'a>, PacketRun<'a, 'v>)> {
        let packet = Packet { translated: first.translated, ..self.packet.third()? };
        let of = packet.transport.protocol(packet.source);
        let answered = !run.effects.borrow().untracked;
        let states: &[State] = match (self.tracked, answered, of) {
            (true, true, _) => &[State::Established],
            // The entry still waits for an answer (`tcp_conntracks`: sSS with an ACK is sIV).
            (true, false, protocol::TCP) => &[State::Invalid],
            // Whether an ACK begins a connection is a setting: `nf_conntrack_tcp_loose`.
            (false, _, protocol::TCP) => &[State::New, State::Invalid],
            // The answer has become a connection of its own.
            (false, true, _) => &[State::Reply],
            (true, false, _) => &[State::Established, State::New, State::Invalid],
            (false, false, _) => &[State::New, State::Invalid],
        };
        let mut traversals = states.iter().map(|state| {
            let packet = Packet { state: *state, ..packet.clone() };
            let next = run.next();
            next.effects.borrow_mut().source = source_is_translated;
            let (mut traversal, run) = traverse(next, self.routes, packet);
            if run.effects.borrow().untracked && translated {
                traversal.goes_astray(NOT_TRANSLATED.into());
            } else if traversal.end() != first.end() {
                traversal.may_go_astray("what follows the answer goes another way than the first packet".into());
            }
            (traversal, run)
        });
        let (mut third, run) = traversals.next()?;
        for (other, _) in traversals {
            if other.trace.verdict != third.trace.verdict {
                third.may_be(
                    other.trace.outcomes,
                    "what conntrack takes the packet after the answer for is a setting".into(),
                );
            }
        }
        Some((third, run))
    }

    /// Data that comes back. If rules leave the connection untracked, conntrack may take this packet for the first of
    /// one (`nf_conntrack_tcp_loose`), and then `nat` chains see it.
    fn fourth<'a>(&self, packet: &Packet, run: &PacketRun<'a, '_>) -> Traversal<'a> {
        let as_state = |state| {
            let (mut back, run) = traverse(run.next(), self.routes, Packet { state, ..packet.clone() });
            self.check_answer(packet, &mut back, &run);
            back
        };
        if self.tracked {
            return as_state(packet.state);
        }
        let (mut back, other) = (as_state(State::Invalid), as_state(State::New));
        if other.trace.verdict != back.trace.verdict || back.trace.verdict != Verdict::Allow {
            let outcomes = other.trace.outcomes.or(Outcomes::ALLOW);
            back.may_be(
                outcomes,
                "what conntrack takes an untracked packet after the answer for is a setting".into(),
            );
        }
        back
    }
}

/// Whether the rule that gave the packet another source leaves its port as it is.
fn keeps_port(first: &Traversal<'_>) -> bool {
    let keeps = |expr: &Expr| match expr {
        Expr::Foreign(Foreign::Masquerade { ports, flags }) => *ports == [None; 2] && flags & NAT_RANDOM == 0,
        Expr::Foreign(Foreign::Nat(nat)) => nat.ports == [None; 2] && nat.flags & NAT_RANDOM == 0,
        _ => false,
    };
    source_rule(first).is_some_and(|rule| rule.exprs.iter().any(keeps))
}

/// The rule that gave the packet another source.
fn source_rule<'a>(first: &Traversal<'a>) -> Option<&'a Rule> {
    let mut translations = first.trace.steps.iter().filter(|step| step.effect == Effect::TranslateSource);
    translations.next_back().and_then(|step| step.rule).map(|(_, rule)| rule)
}

/// Whether the rule that gave the packet another source masquerades.
fn is_masqueraded(first: &Traversal<'_>) -> bool {
    let masquerades = |expr: &Expr| match expr {
        Expr::Foreign(Foreign::Masquerade { .. }) => true,
        Expr::Foreign(Foreign::Target(extension)) => extension.name == "MASQUERADE",
        _ => false,
    };
    source_rule(first).is_some_and(|rule| rule.exprs.iter().any(masquerades))
}

const NOT_PUT_BACK: &str = "a rule leaves the answer untracked, so that its translation is not undone";
const NOT_TRANSLATED: &str = "a rule leaves what follows the answer untracked, so that it is not translated";
