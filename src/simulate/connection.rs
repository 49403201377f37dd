//! A connection's packets: it is open if all of them arrive.
//!
//! ```text
//! first      the sender's packet
//! answer     of whoever it reached: this machine, a container that it was translated to, a host that it was routed to
//! third      the sender's next packet, which ends the opening of a connection of TCP or SCTP
//! sent       what the sender sends then \ if rules stop it: see `later`
//! returned   what comes back then       /
//! ```
//!
//! The state that conntrack gives each of them depends on those before it. An answer to a tracked packet is a reply,
//! and its translations are undone (`nf_nat_inet_fn` in net/netfilter/nf_nat_core.c); `nat` chains don't see it. If a
//! rule leaves the first packet untracked, conntrack treats the answer as a first packet, and so on.
//!
//! Where there is no third packet, as over UDP, a connection is open if its answer arrives; it may still end there.
//!
//! The receiver is assumed to answer, from the address and the port that the first packet was sent to. The answer of
//! another host is assumed to come in by the interface that the first packet left by.

use super::fib::is_link_local;
use super::later::follow_on;
use super::packet::{Interface, Packet, Part, Path, State, Transport, Undone};
use super::packet_run::{Hooks, PacketRun};
use super::routes::{Routes, Way};
use super::sets::Sets;
use super::simulate_table;
use super::trace::{Effect, Outcomes, Stage, Trace, Verdict};
use super::traversal::{Traversal, traverse};
use super::truth::Doubt;
use crate::net::protocol;
use crate::render;
use crate::ruleset::{AddressType, Expr, Foreign, Rule, Table, TableId};

/// `NF_NAT_RANGE_PROTO_RANDOM` and `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
const NAT_RANDOM: u32 = 0x4 | 0x10;

/// The packets of a connection, up to the first that does not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The first.
    pub first: Traversal<'a>,
    /// The answer, and where it goes; `None` if the first did not get there, or if it asks for no answer.
    pub answer: Option<(Packet, Traversal<'a>)>,
    /// The third, of a protocol that has one.
    pub third: Option<Traversal<'a>>,
    /// The packet after the third that may not pass, if there is one: all others go the ways of those before.
    pub later: Option<(Stage, Traversal<'a>)>,
    /// Why no more than one question may be answered, if there is no third packet.
    pub ends: Option<Doubt>,
}

impl<'a> Connection<'a> {
    /// The packets that were followed, in order.
    pub fn traversals(&self) -> impl Iterator<Item = (Stage, &Traversal<'a>)> {
        let answer = self.answer.as_ref().map(|(_, answer)| (Stage::Answer, answer));
        let third = self.third.as_ref().map(|third| (Stage::Third, third));
        let later = self.later.as_ref().map(|(stage, later)| (*stage, later));
        std::iter::once((Stage::First, &self.first)).chain(answer).chain(third).chain(later)
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
        if stage == Stage::First { traversal.trace.outcomes } else { traversal.trace.outcomes.unheard() }
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

    /// Why the verdict does not last, if it is [`Verdict::Allow`]: this machine and its neighbour forget each other, or
    /// rules stop whatever comes after the answer.
    #[must_use]
    pub fn fades(&self) -> Option<&Doubt> {
        self.first.fades.as_ref().or(self.ends.as_ref())
    }
}

/// Follows a connection through these tables, beginning with its first packet; see [`follow`](super::follow).
pub fn follow_connection<'a, 'v>(
    tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
    sets: &'v dyn Sets,
    routes: &'v dyn Routes,
    packet: &Packet,
) -> Connection<'a> {
    follow_connection_while(&Hooks::new(tables), sets, routes, packet, |_| true)
}

/// The same, for many connections through the same tables, each of them only as far as `is_received` says that somebody
/// receives its first packet.
pub fn follow_connection_while<'a, 'v>(
    hooks: &Hooks<'a>,
    sets: &'v dyn Sets,
    routes: &'v dyn Routes,
    packet: &Packet,
    is_received: impl FnOnce(&Traversal<'a>) -> bool,
) -> Connection<'a> {
    let packet = Packet { translated: None, part: Part::First, ..packet.clone() };
    let (first, run) = traverse(PacketRun::between(hooks.clone(), sets, Some(routes)), routes, packet.clone());
    let (untracked, source) = (run.effects.borrow().untracked, run.effects.borrow().source);
    // `inet_select_addr` in net/ipv4/devinet.c: the loopback has no address for others, so that the first interface that has
    // one gives its own. Which one is the first is not known here.
    let lends = source && packet.source.is_ipv4() && first.end() == Some(&Way::Local) && is_masqueraded(&first);
    let mut opening = Opening { routes, packet, tracked: !untracked, source, lends, undone: Some(false) };
    let mut connection = Connection { first, answer: None, third: None, later: None, ends: None };
    if connection.first.trace.verdict != Verdict::Allow || !is_received(&connection.first) {
        return connection;
    }
    let Some(answer) = opening.answer(&connection.first) else { return connection };
    let (mut back, answered) = traverse(run.next(), routes, answer.clone());
    opening.check_answer(&answer, &mut back, &answered);
    opening.undone = opening.needs_undoing(&answer);
    let gets_back = back.trace.verdict == Verdict::Allow;
    connection.answer = Some((answer.clone(), back));
    if !gets_back {
        return connection;
    }
    let first = &connection.first;
    let returned = answer.later();
    let send = |stage, run: &PacketRun<'a, 'v>| match stage {
        Stage::Returned => opening.returned(&returned, run),
        _ => opening.sent(first, run),
    };
    if !opening.packet.has_third() {
        let is_tracked = opening.tracked && !answered.effects.borrow().untracked;
        // Without an entry, what comes then is to the rules as what came before.
        let later = is_tracked.then(|| follow_on(&run, answered, Stage::Returned, send)).flatten();
        connection.ends = later.map(|(stage, later)| why_it_ends(stage, &later));
        return connection;
    }
    let (third, run) = opening.sent(first, &answered);
    let goes_on = third.trace.verdict == Verdict::Allow;
    connection.later = goes_on.then(|| follow_on(&answered, run, Stage::Sent, send)).flatten();
    connection.third = Some(third);
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

/// What is known of a connection after its first packets.
struct Opening<'v> {
    routes: &'v dyn Routes,
    packet: Packet,
    /// Whether conntrack has an entry for it.
    tracked: bool,
    /// Whether its source is translated.
    source: bool,
    /// Whether it is masqueraded as an address that is not known.
    lends: bool,
    /// Whether its answer reaches the client only if a translation is undone; `None` if that is not known.
    undone: Option<bool>,
}

impl<'v> Opening<'v> {
    /// The answer; `None` if there is none, as to an error or to a multicast packet.
    fn answer(&self, first: &Traversal<'_>) -> Option<Packet> {
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
                let masqueraded = (is_masqueraded(first) && !self.lends).then(own).flatten();
                let keeps_port = keeps_port(first);
                Part::Answer(Undone { source: self.source, masqueraded, keeps_port, ..undone })
            }
            part => part,
        };
        Some(Packet { state, part, ..answer })
    }

    /// Checks whether the client accepts the answer, which has passed all rules.
    fn check_answer(&self, answer: &Packet, back: &mut Traversal<'_>, run: &PacketRun<'_, '_>) {
        let effects = run.effects.borrow();
        let left_alone = effects.untracked && self.tracked;
        match self.needs_undoing(answer) {
            Some(true) if left_alone => return back.goes_astray(NOT_PUT_BACK.into()),
            None if left_alone => back.may_go_astray(LENT.into()),
            Some(_) | None => {}
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

    /// Whether the answer reaches the client only if its translation is undone; `None` if that is not known. A sender that
    /// was masqueraded as the address that it already had was not translated.
    fn needs_undoing(&self, answer: &Packet) -> Option<bool> {
        let Part::Answer(Undone { destination, source, masqueraded, .. }) = answer.part else { return Some(false) };
        match (destination.is_some(), source) {
            (true, _) => Some(true),
            (false, true) if self.lends => None,
            (false, true) => Some(masqueraded != Some(self.packet.source)),
            (false, false) => Some(false),
        }
    }

    /// What the client sends after the answer. If conntrack did not track the answer, the state of this packet depends
    /// on the protocol and on settings.
    fn sent<'a>(&self, first: &Traversal<'a>, run: &PacketRun<'a, 'v>) -> (Traversal<'a>, PacketRun<'a, 'v>) {
        let packet = Packet { translated: first.translated, ..self.packet.next() };
        let of = packet.transport.protocol(packet.source);
        let answered = !run.effects.borrow().untracked;
        let (state, others): (State, &[State]) = match (self.tracked, answered, of) {
            (true, true, _) => (State::Established, &[]),
            // The entry still waits for an answer (`tcp_conntracks`: sSS with an ACK is sIV).
            (true, false, protocol::TCP) => (State::Invalid, &[]),
            // Whether an ACK begins a connection is a setting: `nf_conntrack_tcp_loose`.
            (false, _, protocol::TCP) => (State::New, &[State::Invalid]),
            // The answer has become a connection of its own.
            (false, true, _) => (State::Reply, &[]),
            (true, false, _) => (State::Established, &[State::New, State::Invalid]),
            (false, false, _) => (State::New, &[State::Invalid]),
        };
        let as_state = |state| {
            let next = run.next();
            next.effects.borrow_mut().source = self.source;
            let (mut traversal, run) = traverse(next, self.routes, Packet { state, ..packet.clone() });
            let untracked = run.effects.borrow().untracked;
            if untracked && self.undone == Some(true) {
                traversal.goes_astray(NOT_TRANSLATED.into());
            } else if untracked && self.undone.is_none() {
                traversal.may_go_astray(LENT.into());
            } else if traversal.end() != first.end() {
                traversal.may_go_astray("what follows the answer goes another way than the first packet".into());
            }
            (traversal, run)
        };
        let (mut sent, run) = as_state(state);
        for state in others {
            let (other, other_run) = as_state(*state);
            run.leaves_what_either_leaves(&other_run);
            if other.trace.verdict != sent.trace.verdict {
                let why = "what conntrack takes the packet after the answer for is a setting";
                sent.may_be(other.trace.outcomes, why.into());
            }
        }
        (sent, run)
    }

    /// What comes back after the third packet. If rules leave the connection untracked, conntrack may take this packet
    /// for the first of one (`nf_conntrack_tcp_loose`), and then `nat` chains see it.
    fn returned<'a>(&self, packet: &Packet, run: &PacketRun<'a, 'v>) -> (Traversal<'a>, PacketRun<'a, 'v>) {
        let as_state = |state| {
            let packet = Packet { state, ..packet.clone() };
            let (mut back, run) = traverse(run.next(), self.routes, packet.clone());
            self.check_answer(&packet, &mut back, &run);
            (back, run)
        };
        if self.tracked {
            return as_state(packet.state);
        }
        let ((mut back, run), (other, other_run)) = (as_state(State::Invalid), as_state(State::New));
        run.leaves_what_either_leaves(&other_run);
        if other.trace.verdict != back.trace.verdict || back.trace.verdict != Verdict::Allow {
            let outcomes = other.trace.outcomes.or(Outcomes::ALLOW);
            back.may_be(
                outcomes,
                "what conntrack takes an untracked packet after the answer for is a setting".into(),
            );
        }
        (back, run)
    }
}

/// Why nothing may pass after an answer that no third packet follows.
fn why_it_ends(stage: Stage, later: &Traversal<'_>) -> Doubt {
    let what = match stage {
        Stage::Returned => "a second answer",
        _ => "what is sent after the answer",
    };
    let why = match (later.doubt().or(later.astray()), later.trace.denied_by()) {
        (Some(why), _) => why.to_string(),
        (None, Some(step)) => format!("chain {} of {} stops it", step.chain, render::table_title(step.table)),
        (None, None) => "the routing stops it".to_owned(),
    };
    let does = if later.trace.outcomes.never_pass() { "does not" } else { "may not" };
    format!("one question is answered, and {what} {does} arrive: {why}").into()
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

const LENT: &str = "a rule masquerades what this machine sends to itself, and leaves the rest untracked: which address that is \
                    depends on the order of its interfaces";
const NOT_PUT_BACK: &str = "a rule leaves the answer untracked, so that its translation is not undone";
const NOT_TRANSLATED: &str = "a rule leaves what follows the answer untracked, so that it is not translated";
