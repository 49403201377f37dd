//! What a table does with a packet from every source at once.
//!
//! The simulator's rules, lifted from one source to all: where it follows a packet, this follows the set of the sources
//! whose packets are there, and where it says what may become of a packet, this says of which sources' packets it may.

use super::reading::{ReadRule, Reading};
use super::region::{Region, Regions};
use super::value::{SourceTest, Version, sources};
use crate::ruleset::{Hook, Policy, Table, TableId, Verdict};
use crate::simulate::{Changed, End, Packet, RuleResult, Seen, Transport, attached_to, run_for_any_source};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

/// As the simulator has it: no table in which chains call each other deeper is taken by the kernel.
const MAX_DEPTH: usize = 16;
/// `NFT_TABLE_F_DORMANT`: the table's chains are attached to no hook.
const DORMANT: u32 = 1;

/// The sources whose packets may come to each end; a packet that may come to several is in several of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate<'a> {
    /// Back to the caller of the chain.
    pub(super) returns: Region,
    /// It passes.
    pub(super) allow: Region,
    /// It is dropped.
    pub(super) deny: Region,
    /// It is refused.
    pub(super) reject: Region,
    /// Nobody can tell.
    pub(super) anything: Region,
    /// The rules that were asked for the destination address, by their chains and places.
    pub(super) destinations: BTreeSet<(&'a str, usize)>,
}

impl Fate<'_> {
    /// The sources whose packets may pass.
    pub(super) fn may_pass(&self, regions: &mut Regions) -> Region {
        regions.or(self.allow, self.anything)
    }

    /// The sources whose packets certainly pass.
    pub(super) fn passes(&self, regions: &mut Regions) -> Region {
        let denied = regions.or(self.deny, self.reject);
        let otherwise = regions.or(denied, self.anything);
        regions.minus(self.allow, otherwise)
    }
}

/// What decides the way of a packet through a chain, beside its source.
type Key<'a> = (&'a str, u32, Option<Transport>, Option<IpAddr>);

/// One table and packets of one version.
pub(super) struct Evaluator<'a> {
    id: &'a TableId,
    table: &'a Table,
    reading: &'a Reading<'a>,
    version: Version,
    changed: Changed<'a>,
    /// Places (interfaces and paths, which the caller numbers) with hooks and priorities.
    views: HashMap<(usize, Hook, i32), u32>,
    known: HashMap<Key<'a>, Rc<Fate<'a>>>,
    conditions: HashMap<(&'a str, usize), Condition>,
}

/// The sources that meet what a rule asks of them.
#[derive(Clone, Copy)]
struct Condition {
    may: Region,
    surely: Region,
}

/// A packet at a hook, in the chains of one priority.
struct Place<'v> {
    view: u32,
    seen: Seen<'v>,
    packet: &'v Packet,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(id: &'a TableId, table: &'a Table, reading: &'a Reading<'a>, version: Version) -> Self {
        Self {
            id,
            table,
            reading,
            version,
            changed: Changed::default(),
            views: HashMap::new(),
            known: HashMap::new(),
            conditions: HashMap::new(),
        }
    }

    /// The rule of those that were asked for the destination.
    pub(super) fn rule(&self, (chain, index): (&str, usize)) -> Option<&'a ReadRule<'a>> {
        self.reading.chains.get(chain)?.rules.get(index)
    }

    /// What becomes of the packet; whatever its source says. `place` is a number for its path and interfaces.
    pub(super) fn fate(&mut self, regions: &mut Regions, place: usize, packet: &Packet) -> Fate<'a> {
        loop {
            let known = self.changed.borrow().len();
            let fate = self.once(regions, place, packet);
            let watched = |&(_, name): &(&TableId, &'a str)| self.reading.watched.contains(name);
            if self.changed.borrow().len() == known || !self.changed.borrow().iter().any(watched) {
                return fate;
            }
            // A packet may have changed a set that a rule asks: what was said before is not certain.
            self.known.clear();
            self.conditions.clear();
        }
    }

    fn once(&mut self, regions: &mut Regions, place: usize, packet: &Packet) -> Fate<'a> {
        let mut fate = Fate { allow: Region::ALL, ..Fate::default() };
        if self.table.flags & DORMANT != 0 {
            return fate;
        }
        for hook in packet.path.hooks() {
            for (name, base, priority) in attached_to(self.id, self.table, *hook, packet) {
                let next = u32::try_from(self.views.len()).unwrap_or(u32::MAX);
                let view = *self.views.entry((place, *hook, priority)).or_insert(next);
                let place = Place { view, seen: Seen::new(packet, *hook, priority), packet };
                let come = self.base(regions, &place, name, base.policy);
                let here = std::mem::take(&mut fate.allow);
                fate.add(regions, here, &come);
            }
        }
        fate
    }

    fn base(&mut self, regions: &mut Regions, place: &Place<'_>, name: &'a str, policy: Policy) -> Fate<'a> {
        let mut fate = (*self.chain(regions, place, name, &mut Vec::new())).clone();
        let rest = std::mem::take(&mut fate.returns);
        match policy {
            Policy::Accept => fate.allow = regions.or(fate.allow, rest),
            Policy::Drop => fate.deny = regions.or(fate.deny, rest),
        }
        fate
    }

    /// What comes of the packets in a chain, whoever sends them there.
    fn chain(
        &mut self,
        regions: &mut Regions,
        place: &Place<'_>,
        name: &'a str,
        inside: &mut Vec<&'a str>,
    ) -> Rc<Fate<'a>> {
        let Some(chain) =
            self.reading.chains.get(name).filter(|_| inside.len() < MAX_DEPTH && !inside.contains(&name))
        else {
            return Rc::new(Fate { anything: Region::ALL, returns: Region::ALL, ..Fate::default() });
        };
        let transport = chain.transport.then_some(place.packet.transport);
        let destination = chain.destination.then_some(place.packet.destination);
        let key = (name, place.view, transport, destination);
        if let Some(fate) = self.known.get(&key) {
            return Rc::clone(fate);
        }
        inside.push(name);
        let mut fate = Fate::default();
        let mut here = Region::ALL;
        for (index, rule) in chain.rules.iter().enumerate() {
            if here == Region::NONE {
                break;
            }
            here = self.rule_in(regions, place, (name, index), rule, here, &mut fate, inside);
        }
        fate.returns = regions.or(fate.returns, here);
        inside.pop();
        let fate = Rc::new(fate);
        self.known.insert(key, Rc::clone(&fate));
        fate
    }

    /// Adds what a rule does to those who come to it, and gives who comes to the next.
    #[expect(clippy::too_many_lines)]
    #[expect(clippy::too_many_arguments, reason = "the state of one walk, which has no other place")]
    fn rule_in(
        &mut self,
        regions: &mut Regions,
        place: &Place<'_>,
        at: (&'a str, usize),
        rule: &'a ReadRule<'a>,
        here: Region,
        fate: &mut Fate<'a>,
        inside: &mut Vec<&'a str>,
    ) -> Region {
        let all = Condition { may: Region::ALL, surely: Region::ALL };
        let condition = if rule.sources.is_empty() { all } else { self.condition(regions, at, rule) };
        let may = regions.and(here, condition.may);
        if may == Region::NONE {
            return here;
        }
        if !rule.destinations.is_empty() {
            fate.destinations.insert(at);
        }
        if rule.opaque {
            fate.anything = regions.or(fate.anything, may);
            return here;
        }
        let (end, doubtful) = match run_for_any_source(self.id, self.table, &rule.rest, &place.seen, &self.changed) {
            RuleResult::NoMatch => return here,
            RuleResult::Match { end, doubt } => (end, doubt.is_some()),
        };
        let surely = if doubtful { Region::NONE } else { condition.surely };
        let stay = regions.minus(here, surely);
        let target = match &end {
            End::Continue => return here,
            End::Reject => {
                fate.reject = regions.or(fate.reject, may);
                return stay;
            }
            End::Anything(_) | End::Translate(_) | End::TranslateSource => {
                fate.anything = regions.or(fate.anything, may);
                return here;
            }
            End::Verdict(verdict) => match &**verdict {
                Verdict::Continue => return here,
                Verdict::Accept => {
                    fate.allow = regions.or(fate.allow, may);
                    return stay;
                }
                Verdict::Drop => {
                    fate.deny = regions.or(fate.deny, may);
                    return stay;
                }
                Verdict::Return => {
                    fate.returns = regions.or(fate.returns, may);
                    return stay;
                }
                Verdict::Other(_) => {
                    fate.anything = regions.or(fate.anything, may);
                    return here;
                }
                Verdict::Jump(target) | Verdict::Goto(target) => target,
            },
        };
        let jump = matches!(&end, End::Verdict(verdict) if matches!(**verdict, Verdict::Jump(_)));
        let Some((target, _)) = self.table.chains.get_key_value(target) else {
            fate.anything = regions.or(fate.anything, may);
            return here;
        };
        let come = self.chain(regions, place, target, inside);
        let back = regions.and(may, come.returns);
        fate.add(regions, may, &come);
        if jump {
            return regions.or(stay, back);
        }
        fate.returns = regions.or(fate.returns, back);
        stay
    }

    fn condition(&mut self, regions: &mut Regions, at: (&'a str, usize), rule: &ReadRule<'a>) -> Condition {
        if let Some(condition) = self.conditions.get(&at) {
            return *condition;
        }
        let mut condition = Condition { may: Region::ALL, surely: Region::ALL };
        for test in &rule.sources {
            let (named, inverted) = match test {
                SourceTest::In { name, inverted, .. } => (*name, *inverted),
                SourceTest::Begins { .. } => (None, false),
            };
            if named.is_some_and(|name| self.changed.borrow().contains(&(self.id, name))) {
                condition.surely = Region::NONE;
                continue;
            }
            let within = regions.of(sources(test, self.version));
            let within = if inverted { regions.minus(Region::ALL, within) } else { within };
            condition.may = regions.and(condition.may, within);
            condition.surely = regions.and(condition.surely, within);
        }
        self.conditions.insert(at, condition);
        condition
    }
}

impl<'a> Fate<'a> {
    /// Adds what comes of those of `here`; but for their return.
    fn add(&mut self, regions: &mut Regions, here: Region, come: &Fate<'a>) {
        let mut add = |to: &mut Region, from: Region| {
            let from = regions.and(here, from);
            *to = regions.or(*to, from);
        };
        add(&mut self.allow, come.allow);
        add(&mut self.deny, come.deny);
        add(&mut self.reject, come.reject);
        add(&mut self.anything, come.anything);
        self.destinations.extend(come.destinations.iter().copied());
    }
}
