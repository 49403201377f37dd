//! One packet from end to end: rules and routes decide which hooks it passes and where it goes.

use super::fib::is_link_local;
use super::packet::{EPHEMERAL, Interface, Packet, Part, Path, State, Translation, Transport};
use super::packet_run::PacketRun;
use super::routes::{Asked, Routes, Way};
use super::sets::Sets;
use super::trace::{Outcomes, Trace, Verdict};
use super::truth::Doubt;
use crate::ruleset::{AddressType, Hook, Table, TableId};
use std::net::IpAddr;

/// The verdict on a packet, and where it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traversal<'a> {
    /// The rules that it met, at all hooks.
    pub trace: Trace<'a>,
    /// Where the routing sent it, in order.
    pub routed: Vec<RoutingDecision>,
    /// Where its destination was translated to, if it was.
    pub translated: Option<Translation>,
    /// Why the verdict does not last, if it is [`Verdict::Allow`]: rules that keep this machine and its neighbour from
    /// finding each other on the link. It holds as long as they remember each other.
    pub fades: Option<Doubt>,
    /// Why the verdict is unknown, if that is not because of a rule.
    pub(super) doubt: Option<Doubt>,
    /// Why nobody accepts it, though no rule and no route denies it.
    pub(super) astray: Option<Doubt>,
}

/// What the routing did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingDecision {
    /// How many of the trace's steps come before it.
    pub after: usize,
    /// Where it went.
    pub way: Way,
}

impl Traversal<'_> {
    /// Why the verdict is unknown; `None` if it is known.
    #[must_use]
    pub fn doubt(&self) -> Option<&Doubt> {
        (self.trace.verdict == Verdict::Unknown).then(|| self.trace.doubt().or(self.doubt.as_ref())).flatten()
    }

    /// Nobody takes it, for that reason.
    pub(super) fn goes_astray(&mut self, why: Doubt) {
        if self.trace.outcomes.contain(Outcomes::ALLOW) {
            self.outcomes_are(self.trace.outcomes.without(Outcomes::ALLOW).or(Outcomes::DENY));
            self.astray = Some(why);
        }
    }

    /// Whether it is taken can't be told, for that reason.
    pub(super) fn may_go_astray(&mut self, why: Doubt) {
        if self.trace.outcomes.contain(Outcomes::ALLOW) {
            self.outcomes_are(self.trace.outcomes.or(Outcomes::ANYTHING));
            self.doubt.get_or_insert(why);
        }
    }

    /// It may also come to these outcomes, for that reason.
    pub(super) fn may_be(&mut self, others: Outcomes, why: Doubt) {
        self.outcomes_are(self.trace.outcomes.or(others));
        self.doubt.get_or_insert(why);
    }

    fn outcomes_are(&mut self, outcomes: Outcomes) {
        self.trace.outcomes = outcomes;
        self.trace.verdict = outcomes.verdict();
    }

    /// Why nobody takes it, though no rule and no route denies it: conntrack does not translate it back, for one.
    /// `None` if that is not why it is denied.
    #[must_use]
    pub fn astray(&self) -> Option<&Doubt> {
        self.astray.as_ref().filter(|_| self.trace.verdict == Verdict::Deny)
    }

    /// Where it was sent at last, if it got that far.
    #[must_use]
    pub fn end(&self) -> Option<&Way> {
        self.routed.last().map(|decision| &decision.way)
    }
}

/// Follows one packet through these tables: prerouting, then where the routing sends it, with the destination that
/// `nat` chains give it. A packet that this machine sends is followed from output on. See
/// [`follow_connection`](super::follow_connection) for the packets after it.
///
/// Only these properties of the packet are used: its source, destination, transport and state, the interface that it
/// comes in by, and whether this machine sends it ([`Path::FromMachine`]).
pub fn follow<'a>(
    tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
    sets: &dyn Sets,
    routes: &dyn Routes,
    packet: &Packet,
) -> Traversal<'a> {
    traverse(PacketRun::new(tables, sets, Some(routes)), routes, Packet { translated: None, ..packet.clone() }).0
}

/// Takes a packet from hook to hook. Also returns its run at the end, which holds the state of its connection.
pub(super) fn traverse<'a, 'v>(
    run: PacketRun<'a, 'v>,
    routes: &'v dyn Routes,
    packet: Packet,
) -> (Traversal<'a>, PacketRun<'a, 'v>) {
    let mut routed_run = RoutedRun { run, routes, routed: Vec::new(), doubt: None };
    let from = packet.clone();
    if packet.part == Part::Later || packet.part == Part::First && packet.state != State::New {
        // The packets before may have given the connection any mark.
        routed_run.run.effects.borrow_mut().forget_ct_mark();
    }
    match packet.path {
        Path::FromMachine => routed_run.sent(packet),
        Path::ToMachine | Path::Through => routed_run.received(packet),
    }
    let RoutedRun { mut run, routed, doubt, .. } = routed_run;
    let doubt = doubt.or_else(|| run.doubt.clone());
    let translated = run.effects.borrow().destination;
    let opens = from.part == Part::First && run.outcomes == Outcomes::ALLOW;
    let as_sent = Packet { translated, ..from };
    let end = routed.last().map(|decision| &decision.way);
    let fades = opens.then(|| run.keeps_neighbours_apart(routes, &as_sent, end)).flatten();
    let steps = std::mem::take(&mut run.steps);
    let trace = Trace { verdict: run.outcomes.verdict(), outcomes: run.outcomes, steps };
    (Traversal { trace, routed, translated, fades, doubt, astray: None }, run)
}

const fn is_on_its_way(way: &Way) -> bool {
    matches!(way, Way::Local | Way::Out(_))
}

/// A packet's run, and what the routing decides on the way.
struct RoutedRun<'a, 'v> {
    run: PacketRun<'a, 'v>,
    routes: &'v dyn Routes,
    routed: Vec<RoutingDecision>,
    doubt: Option<Doubt>,
}

impl RoutedRun<'_, '_> {
    fn received(&mut self, packet: Packet) {
        let packet = Packet { path: Path::ToMachine, outgoing: Interface::Absent, ..packet };
        // `ip6_rcv_core` in net/ipv6/ip6_input.c
        let is_loopback = |address: IpAddr| address.is_ipv6() && address.is_loopback();
        if !packet.incoming.is_loopback() && [packet.source, packet.destination].into_iter().any(is_loopback) {
            self.go(Way::Lost("::1 does not come in from another machine".into()));
            return;
        }
        self.run.come_in(&packet);
        match self.route(&packet) {
            Some(Way::Local) => self.run.pass(Hook::Input, &packet),
            Some(Way::Out(interface)) => {
                let packet = Packet { path: Path::Through, ..packet.clone() }.leaving_by(interface);
                self.run.pass(Hook::Forward, &packet);
                self.run.pass(Hook::Postrouting, &packet);
                self.run.leave(&packet);
                self.may_be_bridged(&packet);
            }
            _ => {}
        }
        self.may_be_refused(&packet);
    }

    /// This machine sends the refusal, which passes the rules for packets from this machine.
    fn refused(&mut self, packet: &Packet) {
        if let Some(why) = self.run.keeps_neighbours_apart(self.routes, packet, None) {
            self.doubt.get_or_insert(why);
            self.run.outcomes = Outcomes::REJECT.or(Outcomes::DENY);
            return;
        }
        let (resets, errors) = (self.run.effects.borrow().resets, self.run.effects.borrow().errors);
        let error = if packet.source.is_ipv4() { (3, 3) } else { (1, 4) };
        let error = Transport::Icmp { kind: error.0, code: error.1 };
        let reset = match packet.transport {
            Transport::Ports { protocol, source, destination } => {
                let (source, destination) = (Some(destination), source.unwrap_or(EPHEMERAL));
                Transport::Ports { protocol, source, destination }
            }
            other => other,
        };
        // A reset comes from the address that the packet was sent to, an error from this machine.
        let by = match self.routes.address_type(packet.destination) {
            _ if packet.path == Path::FromMachine => Ok(packet.source),
            Ok(AddressType::Local) => Ok(packet.destination),
            Ok(_) => self.routes.source_towards(packet.source),
            Err(why) => Err(why),
        };
        let ways = [(resets, reset, Ok(packet.destination)), (errors, error, by)];
        let ways = ways.into_iter().filter(|(sent, ..)| *sent);
        let outcomes = ways.map(|(_, transport, by)| match by {
            Ok(by) => self.answered(packet, transport, by),
            Err(_) => Outcomes::ANYTHING,
        });
        let outcomes = outcomes.chain(self.resets_past_the_rules(packet)).reduce(Outcomes::or);
        let outcomes = outcomes.unwrap_or(Outcomes::ANYTHING);
        // Which of this machine's addresses the refusal comes from is not known.
        if outcomes.never_pass() && packet.path != Path::FromMachine {
            self.run.outcomes = Outcomes::DENY;
        } else if outcomes != Outcomes::ALLOW {
            self.doubt.get_or_insert("it is refused, and whether its sender is told so is not known".into());
            self.run.outcomes = Outcomes::REJECT.or(Outcomes::DENY);
        }
    }

    /// What comes of a reset to somebody behind a bridge. Where br_netfilter shows the frames of bridges to the rules of
    /// IP, the kernel puts it on the bridge's port itself: no rule sees it, and no translation is undone, so that the
    /// sender does not take it for an answer (`nf_send_reset` in net/ipv4/netfilter/nf_reject_ipv4.c). Whether it does
    /// is a setting.
    fn resets_past_the_rules(&self, packet: &Packet) -> Option<Outcomes> {
        let Interface::Named(name) = &packet.incoming else { return None };
        let (resets, errors) = (self.run.effects.borrow().resets, self.run.effects.borrow().errors);
        let is_bridge = self.routes.properties(name).is_ok_and(|of| of.kind.as_deref() == Some("bridge"));
        if packet.path == Path::FromMachine || !is_bridge {
            return None;
        }
        // Errors about what is sent back to its own bridge, translated, were seen to get lost, too.
        if self.run.as_translated(packet).goes_elsewhere() && (resets || errors) {
            return Some(Outcomes::DENY);
        }
        resets.then_some(Outcomes::ALLOW)
    }

    /// The outcomes of a refusal.
    fn answered(&self, packet: &Packet, transport: Transport, by: IpAddr) -> Outcomes {
        // A refusal of a packet without a connection has none either.
        let state = match packet.state {
            State::Untracked | State::Invalid => State::Invalid,
            _ => State::Related,
        };
        let refusal = Packet::from_machine(by, packet.source, transport).in_state(state);
        let to_itself = packet.path == Path::FromMachine;
        let outgoing = match self.routes.leads(packet.source) {
            _ if to_itself => Interface::Named("lo".to_owned()),
            // A link-local source is on the link that its packet came in by.
            _ if is_link_local(packet.source) || packet.incoming == Interface::Named("lo".to_owned()) => {
                packet.incoming.clone()
            }
            Ok(Some(interface)) => Interface::Named(interface),
            // The source is an address of this machine, and the refusal goes over the loopback; or no route leads to
            // it.
            Ok(None) => return Outcomes::ANYTHING,
            Err(_) => Interface::Unknown,
        };
        let refusal = Packet { outgoing, ..refusal };
        let mut run = self.run.another();
        run.pass(Hook::Output, &refusal);
        run.pass(Hook::Postrouting, &refusal);
        run.leave(&refusal);
        if to_itself {
            let refusal = Packet { path: Path::ToMachine, outgoing: Interface::Absent, ..refusal }.coming_in_by("lo");
            run.pass(Hook::Prerouting, &refusal);
            run.pass(Hook::Input, &refusal);
        }
        run.outcomes
    }

    fn sent(&mut self, packet: Packet) {
        let packet = Packet { path: Path::FromMachine, incoming: Interface::Absent, ..packet };
        // The first look-up is for the destination that the sender wrote, whatever the connection's is translated to.
        let Some(way) = self.route(&Packet { translated: None, ..packet.clone() }) else { return };
        let leaving = |way: &Way| match way {
            Way::Out(interface) => interface.clone(),
            _ => "lo".to_owned(),
        };
        self.run.pass(Hook::Output, &packet.clone().leaving_by(leaving(&way)));
        // A translated packet is routed once more.
        let translated = self.run.as_translated(&packet).translated.is_some();
        let way = if translated && self.run.goes_on() { self.route(&packet) } else { Some(way) };
        let Some(way) = way else { return self.may_be_refused(&packet) };
        let leaves = packet.clone().leaving_by(leaving(&way));
        self.run.pass(Hook::Postrouting, &leaves);
        self.run.leave(&leaves);
        if way == Way::Local && self.run.goes_on() {
            let packet =
                Packet { path: Path::ToMachine, outgoing: Interface::Absent, ..packet.clone() }.coming_in_by("lo");
            self.run.come_in(&packet);
            self.run.pass(Hook::Input, &packet);
        }
        self.may_be_refused(&packet);
    }

    /// Follows the refusal, except of an answer: nobody is told of that.
    fn may_be_refused(&mut self, packet: &Packet) {
        let on_its_way = self.routed.iter().all(|decision| is_on_its_way(&decision.way));
        if self.run.outcomes == Outcomes::REJECT && on_its_way && !matches!(packet.part, Part::Answer(_)) {
            // Rules may have left it untracked.
            let state = self.run.as_translated(packet).state;
            self.refused(&Packet { state, ..packet.clone() });
        }
    }

    /// Asks where the packet goes; `None` if it goes no further, or if that is unknown.
    fn route(&mut self, packet: &Packet) -> Option<Way> {
        if !self.run.goes_on() {
            return None;
        }
        let packet = self.run.as_translated(packet);
        if let (Part::Answer(_), Path::FromMachine, Interface::Named(link)) =
            (packet.part, packet.path, &packet.outgoing)
        {
            // A neighbour is answered by the link.
            let way = Way::Out(link.clone());
            self.routed.push(RoutingDecision { after: self.run.steps.len(), way: way.clone() });
            return Some(way);
        }
        let incoming = match &packet.incoming {
            Interface::Named(name) => Some(name.as_str()),
            Interface::Absent => None,
            Interface::Unknown => return self.lost("the incoming interface is not known".into()),
        };
        let mark = self.run.effects.borrow().mark.bytes().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let Some(mark) = mark else {
            return self.lost("the packet's mark, which may choose its route, is not known".into());
        };
        let destination = packet.translated.map_or(packet.destination, |to| to.address);
        let asked = Asked { source: packet.source, destination, incoming, mark: u32::from_ne_bytes(mark) };
        let way = match self.routes.way(&asked) {
            Ok(way) => way,
            Err(why) => return self.lost(why),
        };
        self.go(way)
    }

    /// Records where the packet goes; `None` if it goes no further.
    fn go(&mut self, way: Way) -> Option<Way> {
        self.routed.push(RoutingDecision { after: self.run.steps.len(), way: way.clone() });
        let end = match way {
            Way::Local | Way::Out(_) => return Some(way),
            Way::Lost(_) => Outcomes::DENY,
            Way::Refused(_) => Outcomes::REJECT,
        };
        self.run.outcomes = self.run.outcomes.without(Outcomes::ALLOW).or(end);
        None
    }

    fn lost(&mut self, why: Doubt) -> Option<Way> {
        self.doubt.get_or_insert(why);
        self.run.outcomes = self.run.outcomes.without(Outcomes::ALLOW).or(Outcomes::ANYTHING);
        None
    }

    fn may_be_bridge(&self, packet: &Packet) -> bool {
        let Interface::Named(name) = &packet.incoming else { return true };
        self.routes.properties(name).map_or(true, |of| of.kind.as_deref() == Some("bridge"))
    }

    /// Packets between two guests of one bridge pass these hooks, or only the bridge.
    fn may_be_bridged(&mut self, packet: &Packet) {
        let (translated, source) =
            (self.run.effects.borrow().destination.is_some(), self.run.effects.borrow().source);
        // The guest that it reaches answers its neighbour directly, without undoing the translation.
        if packet.incoming == packet.outgoing && translated && !source && self.run.goes_on() {
            self.lost("it is sent back to where it came from, and the answer may go around this machine".into());
        }
        if packet.incoming == packet.outgoing && !translated && !self.run.goes_on() && self.may_be_bridge(packet) {
            self.doubt.get_or_insert("frames between guests of one bridge may pass it alone".into());
            self.run.outcomes = self.run.outcomes.or(Outcomes::ALLOW);
        }
    }
}
