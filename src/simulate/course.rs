//! A packet on its way through the base chains of a hook.

use super::chain::Walk;
use super::effects::Effects;
use super::machine::{Changed, Machine};
use super::packet::{Interface, Packet, Path, State, Transport};
use super::routes::Routes;
use super::sets::Sets;
use super::trace::{Outcomes, Step};
use super::view::{Hidden, View};
use crate::ruleset::{BaseChain, Chain, Family, Hook, Policy, Table, TableFlags, TableId};
use std::cell::RefCell;

/// `NF_IP_PRI_NAT_DST` and `NF_IP_PRI_NAT_SRC`: the kernel runs all `nat` chains at these priorities, whatever their
/// own are.
const NAT_DST: i32 = -100;
const NAT_SRC: i32 = 100;

/// The state of a packet on its way.
pub(super) struct Course<'a, 'v> {
    tables: Vec<(&'a TableId, &'a Table)>,
    sets: &'v dyn Sets,
    routes: Option<&'v dyn Routes>,
    changed: Changed<'a>,
    pub(super) effects: RefCell<Effects>,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) outcomes: Outcomes,
}

impl<'a, 'v> Course<'a, 'v> {
    /// The beginning of the way.
    pub(super) fn new(
        tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
        sets: &'v dyn Sets,
        routes: Option<&'v dyn Routes>,
    ) -> Self {
        Self {
            tables: tables.into_iter().filter(|(_, table)| !table.flags.contains(TableFlags::DORMANT)).collect(),
            sets,
            routes,
            changed: RefCell::default(),
            effects: RefCell::new(if routes.is_some() { Effects::none() } else { Effects::unknown() }),
            steps: Vec::new(),
            outcomes: Outcomes::ALLOW,
        }
    }

    /// The beginning of the way of another packet.
    pub(super) fn another(&self) -> Self {
        let course = Self::new(self.tables.iter().copied(), self.sets, self.routes);
        course.effects.borrow_mut().forget_ct_mark();
        course
    }

    /// Whether the packet may still go on.
    pub(super) fn goes_on(&self) -> bool {
        self.outcomes.contain(Outcomes::ALLOW)
    }

    /// Sends the packet through the base chains of a hook, with the translation and the state that rules have given
    /// it so far.
    pub(super) fn pass(&mut self, hook: Hook, packet: &Packet) {
        let mut translated = false;
        for attached in attached(&self.tables, hook, packet) {
            let nat = attached.nat();
            if !self.goes_on() {
                break;
            }
            // Only the first translation takes effect.
            let of_another = matches!(packet.transport, Transport::Icmp { .. }) && packet.state == State::Related;
            // `nat` chains saw a packet of this machine to itself when it was sent.
            let by_itself = matches!(hook, Hook::Prerouting | Hook::Input) && packet.incoming.is_loopback();
            // An error is translated as its connection is.
            if nat && (translated || of_another || by_itself || !matches!(packet.state, State::New | State::Related))
            {
                continue;
            }
            let packet = self.as_translated(packet);
            if attached.is_after_source_translation(hook) && self.effects.borrow().source {
                self.outcomes = self.outcomes.or(Outcomes::ANYTHING);
            }
            let view = View::new(&packet, hook, attached.priority(hook), Hidden::Nothing);
            let machine = Machine {
                id: attached.id,
                table: attached.table,
                sets: self.sets,
                view: &view,
                changed: &self.changed,
                effects: &self.effects,
                routes: self.routes,
            };
            let before = (self.effects.borrow().destination, self.effects.borrow().source);
            let walk = Walk::new(machine, hook, &mut self.steps);
            let come = walk.base(attached.name, attached.chain, attached.base, self.outcomes == Outcomes::ALLOW);
            self.outcomes = self.outcomes.without(Outcomes::ALLOW).or(come);
            translated |= before != (self.effects.borrow().destination, self.effects.borrow().source);
        }
    }

    /// The packet as rules have changed it so far.
    pub(super) fn as_translated(&self, packet: &Packet) -> Packet {
        let effects = self.effects.borrow();
        let state = if effects.untracked { State::Untracked } else { packet.state };
        Packet { state, translated: effects.destination.or(packet.translated), ..packet.clone() }
    }
}

impl Path {
    pub(crate) const fn hooks(self) -> &'static [Hook] {
        match self {
            Self::ToMachine => &[Hook::Prerouting, Hook::Input],
            Self::Through => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
            Self::FromMachine => &[Hook::Output, Hook::Postrouting],
        }
    }
}

/// A base chain and its table.
pub(super) struct Attached<'a> {
    id: &'a TableId,
    table: &'a Table,
    pub(super) name: &'a str,
    chain: &'a Chain,
    pub(super) base: &'a BaseChain,
}

impl Attached<'_> {
    fn nat(&self) -> bool {
        self.base.kind == "nat"
    }

    /// The priority at which the kernel runs it.
    pub(super) fn priority(&self, hook: Hook) -> i32 {
        match (self.nat(), hook) {
            (true, Hook::Prerouting | Hook::Output) => NAT_DST,
            (true, _) => NAT_SRC,
            (false, _) => self.base.priority,
        }
    }

    /// Whether it would see a translated source, and has rules or the policy `drop`.
    fn is_after_source_translation(&self, hook: Hook) -> bool {
        let says = !self.chain.rules.is_empty() || self.base.policy == Policy::Drop;
        matches!(hook, Hook::Postrouting | Hook::Input) && !self.nat() && self.base.priority > NAT_SRC && says
    }
}

/// The base chains of a hook that see the packet, in the order in which it passes them.
pub(super) fn attached<'a>(tables: &[(&'a TableId, &'a Table)], hook: Hook, packet: &Packet) -> Vec<Attached<'a>> {
    let ipv4 = packet.source.is_ipv4();
    let sees = |id: &TableId, base: &BaseChain| match id.family {
        Family::Inet => base.hook == hook && is_device(base, hook, packet),
        Family::Ip => ipv4 && base.hook == hook,
        Family::Ip6 => !ipv4 && base.hook == hook,
        // In this family, hook 0 is ingress.
        Family::Netdev => hook == INGRESS && base.hook.number() == 0 && is_device(base, hook, packet),
        Family::Arp | Family::Bridge | Family::Other(_) => false,
    };
    let mut all: Vec<_> = tables
        .iter()
        .flat_map(|&(id, table)| {
            table.chains.iter().filter_map(move |(name, chain)| {
                let base = chain.base.as_ref().filter(|base| sees(id, base))?;
                Some(Attached { id, table, name, chain, base })
            })
        })
        .collect();
    all.sort_by_key(|attached| (attached.priority(hook), attached.base.priority));
    all
}

/// `NF_INET_INGRESS`: the hook at which a packet comes in by an interface, before all others.
pub(super) const INGRESS: Hook = Hook::Other(5);

/// Whether a chain that is attached to interfaces is attached to the packet's.
fn is_device(base: &BaseChain, hook: Hook, packet: &Packet) -> bool {
    hook != INGRESS
        || match &packet.incoming {
            Interface::Named(name) => base.devices.contains(name),
            Interface::Unknown => true,
            Interface::Absent => false,
        }
}
