//! A packet's run through the base chains of one hook after another.

use super::bits::Bits;
use super::chain::Walk;
use super::effects::Effects;
use super::hidden::Hidden;
use super::index::Indexes;
use super::machine::{Changed, Machine, met_in};
use super::order::{At, EGRESS, Hooked, INGRESS, INGRESS_OF_BRIDGE};
use super::packet::{Interface, Packet, Path, State, Transport};
use super::routes::Routes;
use super::sets::Sets;
use super::trace::{Outcomes, Step};
use super::truth::Doubt;
use super::view::View;
use crate::ruleset::{BaseChain, Chain, Family, Hook, Policy, Table, TableFlags, TableId};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// `NF_IP_PRI_NAT_DST` and `NF_IP_PRI_NAT_SRC`: the kernel runs all `nat` chains at these priorities, whatever their
/// own are.
const NAT_DST: i32 = -100;
const NAT_SRC: i32 = 100;
/// `NF_IP_PRI_CONNTRACK`.
const CONNTRACK: i32 = -200;

/// Room for the steps of most packets.
const SOME_STEPS: usize = 32;

type Met<'a> = BTreeMap<(u32, bool), Rc<[Attached<'a>]>>;

/// Tables, and the base chains by which packets get into them, which take some time to find.
#[derive(Clone)]
pub struct Hooks<'a> {
    tables: Rc<[(&'a TableId, &'a Table)]>,
    bases: Rc<[Attached<'a>]>,
    /// Whether a table may judge ARP.
    pub(super) judge_arp: bool,
    /// The base chains that packets meet at hooks that belong to no interface, by the hook's number and whether the packets
    /// are of IPv4.
    met: Rc<RefCell<Met<'a>>>,
    indexes: Rc<Indexes>,
}

impl<'a> Hooks<'a> {
    /// Those of some tables.
    pub fn new(tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>) -> Self {
        let tables: Rc<[(&TableId, &Table)]> =
            tables.into_iter().filter(|(_, table)| !table.flags.contains(TableFlags::DORMANT)).collect();
        let bases = tables.iter().flat_map(|&(id, table)| bases(id, table)).collect();
        let judge_arp = tables.iter().any(|(id, table)| may_judge_arp(id, table));
        Self { tables, bases, judge_arp, met: Rc::default(), indexes: Rc::default() }
    }

    /// The base chains of a hook that see the packet, in the order in which it passes them.
    fn met_by(&self, packet: &Packet, hook: Hook) -> Rc<[Attached<'a>]> {
        let find = || attached(self.bases.iter().copied(), hook, packet).into();
        if matches!(hook, Hook::Other(_)) || matches!(packet.transport, Transport::Arp { .. }) {
            return find();
        }
        let mut met = self.met.borrow_mut();
        Rc::clone(met.entry((hook.number(), packet.source.is_ipv4())).or_insert_with(find))
    }
}

/// The state of a packet between two hooks: what the rules before have made of it.
pub(super) struct PacketRun<'a, 'v> {
    pub(super) hooks: Hooks<'a>,
    pub(super) sets: &'v dyn Sets,
    pub(super) routes: Option<&'v dyn Routes>,
    pub(super) changed: Changed<'a>,
    pub(super) effects: RefCell<Effects>,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) outcomes: Outcomes,
    /// Whether it passes an interface beneath its own.
    pub(super) beneath: bool,
    /// Whether a chain of this hook has translated the packet.
    pub(super) translated: bool,
    /// Why the verdict is unknown, if that is not because of a rule.
    pub(super) doubt: Option<Doubt>,
}

impl<'a, 'v> PacketRun<'a, 'v> {
    /// Before the first hook.
    pub(super) fn new(
        tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
        sets: &'v dyn Sets,
        routes: Option<&'v dyn Routes>,
    ) -> Self {
        Self::between(Hooks::new(tables), sets, routes)
    }

    pub(super) fn between(hooks: Hooks<'a>, sets: &'v dyn Sets, routes: Option<&'v dyn Routes>) -> Self {
        Self {
            hooks,
            sets,
            routes,
            changed: RefCell::default(),
            effects: RefCell::new(if routes.is_some() { Effects::none() } else { Effects::unknown() }),
            steps: Vec::with_capacity(SOME_STEPS),
            outcomes: Outcomes::ALLOW,
            beneath: false,
            translated: false,
            doubt: None,
        }
    }

    /// The run of the next packet of this connection, before its first hook.
    pub(super) fn next(&self) -> Self {
        let run = self.another_of_these();
        *run.changed.borrow_mut() = self.changed.borrow().clone();
        run.effects.borrow_mut().ct_mark = self.mark_left();
        run
    }

    /// The mark that the connection has after this packet.
    fn mark_left(&self) -> Bits {
        let effects = self.effects.borrow();
        if effects.untracked { Bits::unknown(4) } else { effects.ct_mark.clone() }
    }

    /// Whether the next packet can't tell this one from `other`: both leave the same behind.
    pub(super) fn leaves_what(&self, other: &Self) -> bool {
        self.mark_left() == other.mark_left() && *self.changed.borrow() == *other.changed.borrow()
    }

    /// Leaves behind only what it has in common with `other`, in the place of which it may have been.
    pub(super) fn leaves_what_either_leaves(&self, other: &Self) {
        if !self.leaves_what(other) {
            let changed = met_in(self.changed.borrow().clone(), other.changed.borrow().clone());
            *self.changed.borrow_mut() = changed;
            self.effects.borrow_mut().forget_ct_mark();
        }
    }

    /// The run of a packet of another connection, before its first hook.
    pub(super) fn another(&self) -> Self {
        let run = self.another_of_these();
        run.effects.borrow_mut().forget_ct_mark();
        run
    }

    fn another_of_these(&self) -> Self {
        Self::between(self.hooks.clone(), self.sets, self.routes)
    }

    /// The tables.
    pub(super) fn tables(&self) -> &[(&'a TableId, &'a Table)] {
        &self.hooks.tables
    }

    /// All base chains.
    pub(super) fn bases(&self) -> impl Iterator<Item = (&'a TableId, &'a BaseChain)> + '_ {
        self.hooks.bases.iter().map(|attached| (attached.id, attached.base))
    }

    /// Whether the packet may still go on.
    pub(super) fn goes_on(&self) -> bool {
        self.outcomes.contain(Outcomes::ALLOW)
    }

    /// Sends the packet through the base chains of a hook, with the translation and the state that rules have given
    /// it so far.
    pub(super) fn pass(&mut self, hook: Hook, packet: &Packet) {
        let all = self.hooks.met_by(packet, hook);
        self.translated = false;
        for class in all.chunk_by(|one, other| one.priority(hook) == other.priority(hook)) {
            self.pass_class(class, hook, packet);
        }
    }

    /// Sends the packet through one base chain.
    pub(super) fn pass_one(&mut self, attached: &Attached<'a>, hook: Hook, packet: &Packet) {
        let nat = attached.nat();
        if !self.goes_on() {
            return;
        }
        // Only the first translation takes effect.
        let of_another = matches!(packet.transport, Transport::Icmp { .. }) && packet.state == State::Related;
        // `nat` chains saw a packet of this machine to itself when it was sent.
        let by_itself = matches!(hook, Hook::Prerouting | Hook::Input) && packet.incoming.is_loopback();
        let packet = self.as_translated(packet);
        // An error is translated as its connection is.
        if nat && (self.translated || of_another || by_itself || !matches!(packet.state, State::New | State::Related))
        {
            return;
        }
        if attached.is_after_source_translation(hook) && self.effects.borrow().source {
            self.outcomes = self.outcomes.or(Outcomes::ANYTHING);
        }
        let view = View::new(&packet, hook, self.place(attached, hook, &packet), Hidden::Nothing);
        let machine = Machine {
            id: attached.id,
            table: attached.table,
            sets: self.sets,
            view: &view,
            changed: &self.changed,
            effects: &self.effects,
            beneath: self.beneath,
            routes: self.routes,
        };
        let before = (self.effects.borrow().destination, self.effects.borrow().source);
        let walk = Walk::new(machine, chains_of(hook), &self.hooks.indexes, &mut self.steps);
        let outcomes = walk.base(attached.name, attached.chain, attached.base, self.outcomes == Outcomes::ALLOW);
        self.outcomes = self.outcomes.without(Outcomes::ALLOW).or(outcomes);
        self.translated |= before != (self.effects.borrow().destination, self.effects.borrow().source);
    }

    /// The priority of a chain among the kernel's own hooks: where it has the same as one of them, the next lower if it
    /// runs before that one, and the next higher if it runs after it.
    fn place(&self, attached: &Attached<'a>, hook: Hook, packet: &Packet) -> i32 {
        let priority = attached.priority(hook);
        let after = |kernels: &Hooked| {
            At::of(hook, packet).and_then(|at| self.sets.is_before(&at, kernels, &attached.entry()))
        };
        let after = match priority {
            CONNTRACK => after(&Hooked::Conntrack),
            // If the packet has been translated, it has passed the `nat` chains.
            NAT_DST if !attached.nat() && self.effects.borrow().destination.is_some() => Some(true),
            NAT_SRC if !attached.nat() && self.effects.borrow().source => Some(true),
            NAT_DST | NAT_SRC if !attached.nat() => after(&Hooked::Nat),
            _ => None,
        };
        match after {
            Some(true) => priority + 1,
            Some(false) => priority - 1,
            None => priority,
        }
    }

    /// The packet as rules have changed it so far.
    pub(super) fn as_translated<'p>(&self, packet: &'p Packet) -> Cow<'p, Packet> {
        let effects = self.effects.borrow();
        if effects.untracked {
            return Cow::Owned(Packet { state: State::Untracked, translated: None, ..packet.clone() });
        }
        match effects.destination {
            Some(_) if effects.destination != packet.translated => {
                Cow::Owned(Packet { translated: effects.destination, ..packet.clone() })
            }
            _ => Cow::Borrowed(packet),
        }
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

/// The priority at which the kernel runs a base chain of that priority.
pub(super) const fn runs_at(priority: i32, is_nat: bool, hook: Hook) -> i32 {
    match (is_nat, hook) {
        (true, Hook::Prerouting | Hook::Output) => NAT_DST,
        (true, _) => NAT_SRC,
        (false, _) => priority,
    }
}

pub(super) fn is_nat(base: &BaseChain) -> bool {
    base.kind == "nat"
}

/// A base chain's entry in the kernel's list of hooks, which all `nat` chains share.
pub(super) fn entry(id: &TableId, name: &str, base: &BaseChain) -> Hooked {
    if is_nat(base) { Hooked::Nat } else { Hooked::Chain(id.clone(), name.to_owned()) }
}

/// A base chain and its table.
#[derive(Clone, Copy)]
pub(super) struct Attached<'a> {
    pub(super) id: &'a TableId,
    table: &'a Table,
    pub(super) name: &'a str,
    chain: &'a Chain,
    pub(super) base: &'a BaseChain,
}

impl Attached<'_> {
    pub(super) fn nat(&self) -> bool {
        is_nat(self.base)
    }

    /// Its entry in the kernel's list of hooks.
    pub(super) fn entry(&self) -> Hooked {
        entry(self.id, self.name, self.base)
    }

    /// The priority at which the kernel runs it.
    pub(super) fn priority(&self, hook: Hook) -> i32 {
        runs_at(self.base.priority, self.nat(), hook)
    }

    /// Whether it would see a translated source, and has rules or the policy `drop`.
    fn is_after_source_translation(&self, hook: Hook) -> bool {
        let says = !self.chain.rules.is_empty() || self.base.policy == Policy::Drop;
        let late = matches!(hook, Hook::Postrouting | Hook::Input) && self.base.priority >= NAT_SRC;
        (late || hook == EGRESS) && !self.nat() && says
    }
}

fn may_judge_arp(id: &TableId, table: &Table) -> bool {
    let of_devices =
        || table.chains.values().filter_map(|chain| chain.base.as_ref()).any(|base| !base.devices.is_empty());
    id.family == Family::Arp || of_devices()
}

/// The base chains of a table.
pub(super) fn bases<'a>(id: &'a TableId, table: &'a Table) -> impl Iterator<Item = Attached<'a>> {
    table.chains.iter().filter_map(move |(name, chain)| {
        let base = chain.base.as_ref()?;
        Some(Attached { id, table, name, chain, base })
    })
}

/// The base chains of a hook that see the packet, in the order in which it passes them.
pub(super) fn attached<'a>(
    bases: impl IntoIterator<Item = Attached<'a>>,
    hook: Hook,
    packet: &Packet,
) -> Vec<Attached<'a>> {
    let ipv4 = packet.source.is_ipv4();
    let arp = matches!(packet.transport, Transport::Arp { .. });
    let hook = chains_of(hook);
    let of_device = matches!(hook, INGRESS | EGRESS);
    let sees = |id: &TableId, base: &BaseChain| match id.family {
        Family::Arp => arp && base.hook == hook,
        Family::Inet | Family::Ip | Family::Ip6 if arp && !of_device => false,
        Family::Inet => base.hook == hook && is_device(base, hook, packet),
        Family::Ip => ipv4 && base.hook == hook,
        Family::Ip6 => !ipv4 && base.hook == hook,
        // In this family, hook 0 is ingress and hook 1 egress.
        Family::Netdev => {
            let number = match hook {
                INGRESS => 0,
                EGRESS => 1,
                _ => return false,
            };
            base.hook.number() == number && is_device(base, hook, packet)
        }
        Family::Bridge | Family::Other(_) => false,
    };
    let mut all: Vec<_> = bases.into_iter().filter(|attached| sees(attached.id, attached.base)).collect();
    all.sort_by_key(|attached| (attached.priority(hook), attached.base.priority));
    all
}

/// The hook that the chains of a packet's hook name.
const fn chains_of(hook: Hook) -> Hook {
    match hook {
        INGRESS_OF_BRIDGE => INGRESS,
        hook => hook,
    }
}

/// Whether a chain that is attached to interfaces is attached to the packet's.
fn is_device(base: &BaseChain, hook: Hook, packet: &Packet) -> bool {
    let device = match hook {
        INGRESS => &packet.incoming,
        EGRESS => &packet.outgoing,
        _ => return true,
    };
    match device {
        Interface::Named(name) => base.devices.contains(name),
        Interface::Unknown => true,
        Interface::Absent => false,
    }
}
