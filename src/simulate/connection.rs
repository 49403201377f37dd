//! A connection's first three packets: it is open if all of them arrive.
//!
//! ```text
//! first    the sender's packet
//! answer   of whoever it reached: this machine, a container that it was translated to, a host that it was routed to
//! third    the sender's next packet, which ends the opening of a connection of TCP or SCTP
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
use crate::ruleset::{AddressType, Expr, Foreign, Table, TableId};

/// The packets that open a connection, up to the first that does not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The first.
    pub first: Traversal<'a>,
    /// The answer, and where it goes; `None` if the first did not get there, or if it asks for no answer.
    pub answer: Option<(Packet, Traversal<'a>)>,
    /// The third, of a protocol that has one.
    pub third: Option<Traversal<'a>>,
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
}

impl Stage {
    /// Its name in the output of `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Answer => "answer",
            Self::Third => "third",
        }
    }
}

impl<'a> Connection<'a> {
    /// The packets that were followed, in order.
    pub fn traversals(&self) -> impl Iterator<Item = (Stage, &Traversal<'a>)> {
        let answer = self.answer.as_ref().map(|(_, answer)| (Stage::Answer, answer));
        let third = self.third.as_ref().map(|third| (Stage::Third, third));
        std::iter::once((Stage::First, &self.first)).chain(answer).chain(third)
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
    let mut connection = Connection { first, answer: None, third: None };
    if connection.first.trace.verdict != Verdict::Allow {
        return connection;
    }
    let source_is_translated = run.effects.borrow().source;
    let Some(answer) = opening.answer(&connection.first, source_is_translated) else { return connection };
    let (mut back, run) = traverse(run.next(), routes, answer.clone());
    opening.check_answer(&answer, &mut back, &run);
    let gets_back = back.trace.verdict == Verdict::Allow;
    connection.answer = Some((answer, back));
    if gets_back {
        connection.third = opening.third(&connection.first, &run, source_is_translated);
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
                Part::Answer(Undone { source: source_is_translated, masqueraded, ..undone })
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
        let Part::Answer(Undone { destination, source, masqueraded }) = answer.part else { return false };
        destination.is_some() || (source && masqueraded != Some(self.packet.source))
    }

    /// The third packet. If conntrack did not track the answer, the state of this packet depends on the protocol and
    /// on settings.
    fn third<'a>(
        &self,
        first: &Traversal<'a>,
        run: &PacketRun<'a, '_>,
        source_is_translated: bool,
    ) -> Option<Traversal<'a>> {
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
            let translated = first.translated.is_some() || source_is_translated;
            if run.effects.borrow().untracked && translated {
                traversal.goes_astray(NOT_TRANSLATED.into());
            } else if traversal.end() != first.end() {
                traversal.may_go_astray("what follows the answer goes another way than the first packet".into());
            }
            traversal
        });
        let mut third = traversals.next()?;
        for other in traversals {
            if other.trace.verdict != third.trace.verdict {
                third.may_be(
                    other.trace.outcomes,
                    "what conntrack takes the packet after the answer for is a setting".into(),
                );
            }
        }
        Some(third)
    }
}

/// Whether the rule that translated the packet's source masquerades.
fn is_masqueraded(first: &Traversal<'_>) -> bool {
    let mut translations = first.trace.steps.iter().filter(|step| step.effect == Effect::TranslateSource);
    let masquerades = |expr: &Expr| match expr {
        Expr::Foreign(Foreign::Masquerade { .. }) => true,
        Expr::Foreign(Foreign::Target(extension)) => extension.name == "MASQUERADE",
        _ => false,
    };
    translations.next_back().and_then(|step| step.rule).is_some_and(|(_, rule)| rule.exprs.iter().any(masquerades))
}

const NOT_PUT_BACK: &str = "a rule leaves the answer untracked, so that its translation is not undone";
const NOT_TRANSLATED: &str = "a rule leaves what follows the answer untracked, so that it is not translated";
