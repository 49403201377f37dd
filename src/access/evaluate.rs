//! The verdicts of a table on packets from every source at once.
//!
//! The simulator follows one packet through the chains. This module lifts its rules from one source to sets of
//! sources: for each outcome, it gives the sources whose packets may get it. Of the sources `here` whose packets
//! reach a rule, it takes those that match and leaves the rest to the next rule: `reached = here & match`,
//! `here = here - match`.
//!
//! A match may be unknown, for some sources or for all: a match that is not understood, or a set that packets
//! themselves change. The logic is ternary, as in Diekmann's Iptables_Semantics: an unknown match may match or not.
//! So a rule has two sets of sources, those that *may* match it and those that *surely* do. The rule's effect applies
//! to the former, and only the latter don't go on to the next rule. The sets of all outcomes together cover every
//! source; where they overlap, the verdict is unknown.

use super::asked::ReadRule;
use super::reading::Reading;
use super::region::{Region, Regions};
use super::translations::{only_translations, translating};
use super::value::{SourceTest, sources};
use crate::net::Version;
use crate::ruleset::{Hook, Policy, Table, TableFlags, TableId, Verdict, dnat};
use crate::simulate::{
    Changed, End, Hidden, Interface, MAX_DEPTH, Packet, Part, Path, RuleResult, Translation, Transport, Undone,
    ViewOfAnySource, attached_to, run_for_any_source, simulate_table,
};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

/// The sources whose packets may get each outcome. A source with several possible outcomes is in several of these
/// sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OutcomeRegions<'a> {
    /// It returns to the caller of the chain.
    pub(super) returns: Region,
    /// It passes.
    pub(super) allow: Region,
    /// It is dropped.
    pub(super) deny: Region,
    /// It is refused.
    pub(super) reject: Region,
    /// Its outcome is unknown.
    pub(super) anything: Region,
    /// The rules that test the destination address and were reached, by chain and index.
    pub(super) destinations: BTreeSet<(&'a str, usize)>,
}

impl OutcomeRegions<'_> {
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

/// The memo key: what decides the outcomes of a packet in a chain, besides the source that is asked about.
type Key<'a> = (&'a str, u32, Option<Transport>, Option<IpAddr>);

/// One table and packets of one version.
pub(super) struct Evaluator<'a> {
    id: &'a TableId,
    table: &'a Table,
    reading: &'a Reading<'a>,
    version: Version,
    /// The base chains that translate.
    translating: BTreeSet<&'a str>,
    /// The table of those that forward what comes in, without the chains that decide who gets there; `None` where none does.
    forwarding: Option<Table>,
    /// Whether rules that tell apart which container answers count.
    containers_count: bool,
    changed: Changed<'a>,
    /// Numbers each place (interfaces and path, as numbered by the caller) at each hook and priority.
    views: HashMap<(usize, Hook, i32), u32>,
    known: HashMap<Key<'a>, Rc<OutcomeRegions<'a>>>,
    conditions: HashMap<(&'a str, usize), Condition>,
}

/// The sources that may pass a rule's tests of the source, and those that surely do.
#[derive(Clone, Copy)]
struct Condition {
    may: Region,
    surely: Region,
}

/// A packet at a hook, in the chains of one priority.
struct Place<'v> {
    view: u32,
    packet_view: ViewOfAnySource<'v>,
    packet: &'v Packet,
    /// Whether its source is the address of a container that answers.
    of_container: bool,
}

impl Place<'_> {
    /// The address of this machine that the connection was opened to.
    fn machine(&self) -> IpAddr {
        match self.packet.part {
            Part::Answer(Undone { destination: Some(asked), .. }) => asked.address,
            Part::Answer(_) => self.packet.source,
            Part::First | Part::Third | Part::Later => self.packet.destination,
        }
    }
}

/// `NF_IP_PRI_NAT_SRC`: chains of higher priority see an answer with the address that the client asked for as its
/// source.
const SOURCE_IS_BACK: i32 = 100;

impl<'a> Evaluator<'a> {
    pub(super) fn new(id: &'a TableId, table: &'a Table, reading: &'a Reading<'a>, version: Version) -> Self {
        Self {
            id,
            table,
            reading,
            version,
            translating: translating(table),
            forwarding: only_translations(table, Hook::Prerouting),
            containers_count: true,
            changed: Changed::default(),
            views: HashMap::new(),
            known: HashMap::new(),
            conditions: HashMap::new(),
        }
    }

    /// Sets whether rules that tell apart which container answers count; if not, they match nothing.
    pub(super) fn counting_containers(self, containers_count: bool) -> Self {
        Self { containers_count, ..self }
    }

    /// The packet as the table's own port forwards translate it, if they do. It does not say which sources get there: the
    /// source of `packet` only stands in for all.
    pub(super) fn forwarded(&self, packet: &Packet) -> Option<Translation> {
        let forwarding = self.forwarding.as_ref()?;
        let arriving =
            Packet { path: Path::ToMachine, outgoing: Interface::Absent, translated: None, ..packet.clone() };
        let trace = simulate_table(self.id, forwarding, &arriving);
        trace.steps.iter().filter_map(|step| step.rule).find_map(|(_, rule)| {
            let found = dnat(self.id.family, &forwarding.sets, rule)?;
            Some(Translation { address: found.address?, port: found.port })
        })
    }

    /// The rule at a chain and an index, as listed in [`OutcomeRegions::destinations`].
    pub(super) fn rule(&self, (chain, index): (&str, usize)) -> Option<&'a ReadRule<'a>> {
        self.reading.chains.get(chain)?.rules.get(index)
    }

    /// The outcomes of the packet for all sources; its own source is ignored. `place` numbers its path and
    /// interfaces.
    pub(super) fn outcomes(
        &mut self,
        regions: &mut Regions,
        place: usize,
        packet: &Packet,
        hidden: Hidden,
    ) -> OutcomeRegions<'a> {
        loop {
            let known = self.changed.borrow().len();
            let outcomes = self.once(regions, place, packet, hidden);
            let watched = |&(_, name): &(&TableId, &'a str)| self.reading.watched.contains(name);
            if self.changed.borrow().len() == known || !self.changed.borrow().keys().any(watched) {
                return outcomes;
            }
            // A packet may have changed a set that a rule looks up: the memo is no longer valid.
            self.known.clear();
            self.conditions.clear();
        }
    }

    fn once(&mut self, regions: &mut Regions, place: usize, packet: &Packet, hidden: Hidden) -> OutcomeRegions<'a> {
        let mut outcomes = OutcomeRegions { allow: Region::ALL, ..OutcomeRegions::default() };
        if self.table.flags.contains(TableFlags::DORMANT) {
            return outcomes;
        }
        for hook in packet.path.hooks() {
            for (name, base, priority) in attached_to(self.id, self.table, *hook, packet) {
                if self.translating.contains(name) {
                    continue;
                }
                let next = u32::try_from(self.views.len()).unwrap_or(u32::MAX);
                let view = *self.views.entry((place, *hook, priority)).or_insert(next);
                let is_back = *hook == Hook::Postrouting && priority > SOURCE_IS_BACK;
                let is_translated = matches!(packet.part, Part::Answer(undone) if undone.destination.is_some());
                let of_container = hidden == Hidden::ClientAndTranslation && is_translated && !is_back;
                let place = Place {
                    view,
                    packet_view: ViewOfAnySource::new(packet, *hook, priority, hidden),
                    packet,
                    of_container,
                };
                let of_chain = self.base(regions, &place, name, base.policy);
                let here = std::mem::take(&mut outcomes.allow);
                outcomes.add(regions, here, &of_chain);
            }
        }
        outcomes
    }

    fn base(
        &mut self,
        regions: &mut Regions,
        place: &Place<'_>,
        name: &'a str,
        policy: Policy,
    ) -> OutcomeRegions<'a> {
        let mut walk = Walk { evaluator: self, regions, place, inside: Vec::new() };
        let mut outcomes = (*walk.chain(name)).clone();
        let rest = std::mem::take(&mut outcomes.returns);
        match policy {
            Policy::Accept => outcomes.allow = regions.or(outcomes.allow, rest),
            Policy::Drop => outcomes.deny = regions.or(outcomes.deny, rest),
        }
        outcomes
    }
}

/// A walk through the chains at one place.
struct Walk<'w, 'a, 'v> {
    evaluator: &'w mut Evaluator<'a>,
    regions: &'w mut Regions,
    place: &'w Place<'v>,
    /// The chains that the walk is inside of, outermost first.
    inside: Vec<&'a str>,
}

/// What a rule does with packets that match it.
enum Effect<'a> {
    /// They go on with the next rule.
    Passes,
    Allows,
    Denies,
    Rejects,
    /// They go back to the caller of the chain.
    Returns,
    /// They may have any verdict, or none.
    Anything,
    /// They run another chain and, after a jump, come back.
    Calls {
        chain: &'a str,
        jump: bool,
    },
}

impl<'a> Walk<'_, 'a, '_> {
    /// The outcomes of a chain for all sources, whether or not their packets get there.
    fn chain(&mut self, name: &'a str) -> Rc<OutcomeRegions<'a>> {
        let reading = self.evaluator.reading;
        let is_new = self.inside.len() < MAX_DEPTH && !self.inside.contains(&name);
        let Some(chain) = reading.chains.get(name).filter(|_| is_new) else {
            return Rc::new(OutcomeRegions {
                anything: Region::ALL,
                returns: Region::ALL,
                ..OutcomeRegions::default()
            });
        };
        let packet = self.place.packet;
        let transport = chain.transport.then_some(packet.transport);
        let key = (name, self.place.view, transport, chain.destination.then(|| self.place.machine()));
        if let Some(outcomes) = self.evaluator.known.get(&key) {
            return Rc::clone(outcomes);
        }
        self.inside.push(name);
        let outcomes = Rc::new(self.rules(name, &chain.rules));
        self.inside.pop();
        self.evaluator.known.insert(key, Rc::clone(&outcomes));
        outcomes
    }

    fn rules(&mut self, chain: &'a str, rules: &'a [ReadRule<'a>]) -> OutcomeRegions<'a> {
        let mut outcomes = OutcomeRegions::default();
        let mut here = Region::ALL;
        for (index, rule) in rules.iter().enumerate() {
            if here == Region::NONE {
                break;
            }
            let at = (chain, index);
            let counts = self.evaluator.containers_count && rule.meets_containers;
            if self.place.of_container && rule.answerers > 0 && !counts {
                continue;
            }
            let Condition { may, surely } = self.condition(at, rule);
            let reached = self.regions.and(here, may);
            if reached == Region::NONE {
                continue;
            }
            let of_others = if self.place.of_container { rule.answerers } else { 0 };
            if rule.destinations.len() > of_others {
                outcomes.destinations.insert(at);
            }
            let (effect, doubtful) = self.effect(rule);
            let left = if doubtful { here } else { self.regions.minus(here, surely) };
            here = self.apply(&effect, reached, here, left, &mut outcomes);
        }
        outcomes.returns = self.regions.or(outcomes.returns, here);
        outcomes
    }

    /// What a rule does with packets whose source matches, and whether it may fail to match for another reason.
    fn effect(&self, rule: &'a ReadRule<'a>) -> (Effect<'a>, bool) {
        let Evaluator { id, table, changed, .. } = &*self.evaluator;
        let RuleResult::Match { end, doubt } =
            run_for_any_source(id, table, &rule.rest, &self.place.packet_view, changed)
        else {
            return (Effect::Passes, true);
        };
        // One of its tests is not understood, and the others don't rule it out.
        if rule.opaque {
            return (Effect::Anything, true);
        }
        let effect = match end {
            End::Continue => Effect::Passes,
            End::Reject => Effect::Rejects,
            End::Anything(_) | End::Translate(_) | End::TranslateSource => Effect::Anything,
            End::Verdict(verdict) => match &*verdict {
                Verdict::Continue => Effect::Passes,
                Verdict::Accept => Effect::Allows,
                Verdict::Drop => Effect::Denies,
                Verdict::Return => Effect::Returns,
                Verdict::Other(_) => Effect::Anything,
                Verdict::Jump(chain) | Verdict::Goto(chain) => match table.chains.get_key_value(chain) {
                    Some((chain, _)) => Effect::Calls { chain, jump: matches!(*verdict, Verdict::Jump(_)) },
                    None => Effect::Anything,
                },
            },
        };
        (effect, doubt.is_some())
    }

    /// Merges a rule's effect into the outcomes of its chain. Returns the sources whose packets go on to the next
    /// rule: `left`, or all of `here` if the rule is not final.
    fn apply(
        &mut self,
        effect: &Effect<'a>,
        reached: Region,
        here: Region,
        left: Region,
        outcomes: &mut OutcomeRegions<'a>,
    ) -> Region {
        let (outcome, next) = match *effect {
            Effect::Passes => return here,
            Effect::Anything => (&mut outcomes.anything, here),
            Effect::Allows => (&mut outcomes.allow, left),
            Effect::Denies => (&mut outcomes.deny, left),
            Effect::Rejects => (&mut outcomes.reject, left),
            Effect::Returns => (&mut outcomes.returns, left),
            Effect::Calls { chain, jump } => {
                let callee = self.chain(chain);
                outcomes.add(self.regions, reached, &callee);
                let back = self.regions.and(reached, callee.returns);
                if jump {
                    return self.regions.or(left, back);
                }
                outcomes.returns = self.regions.or(outcomes.returns, back);
                return left;
            }
        };
        *outcome = self.regions.or(*outcome, reached);
        next
    }

    /// The sources that may or surely do pass a rule's tests of the source.
    fn condition(&mut self, at: (&'a str, usize), rule: &ReadRule<'a>) -> Condition {
        let mut condition = Condition { may: Region::ALL, surely: Region::ALL };
        if rule.sources.is_empty() {
            return condition;
        }
        if let Some(condition) = self.evaluator.conditions.get(&at) {
            return *condition;
        }
        for test in &rule.sources {
            let (named, inverted) = match test {
                SourceTest::In { name, inverted, .. } => (*name, *inverted),
                SourceTest::Begins { .. } => (None, false),
            };
            let changed = |name| self.evaluator.changed.borrow().contains_key(&(self.evaluator.id, name));
            if named.is_some_and(changed) {
                condition.surely = Region::NONE;
                continue;
            }
            let within = self.regions.of(sources(test, self.evaluator.version));
            let within = if inverted { self.regions.minus(Region::ALL, within) } else { within };
            condition.may = self.regions.and(condition.may, within);
            condition.surely = self.regions.and(condition.surely, within);
        }
        self.evaluator.conditions.insert(at, condition);
        condition
    }
}

impl<'a> OutcomeRegions<'a> {
    /// Applies the outcomes of the next packet to the sources that pass. The client never sees the refusal of a
    /// packet after the first: to it, that is a drop.
    pub(super) fn then(&mut self, regions: &mut Regions, next: &OutcomeRegions<'a>, behind_first: bool) {
        let here = std::mem::take(&mut self.allow);
        let mut next = next.clone();
        next.destinations.clear();
        if behind_first {
            next.deny = regions.or(next.deny, next.reject);
            next.reject = Region::NONE;
        }
        self.add(regions, here, &next);
    }

    /// Merges `callee` restricted to `here`, except its `returns`.
    fn add(&mut self, regions: &mut Regions, here: Region, callee: &OutcomeRegions<'a>) {
        let mut add = |to: &mut Region, from: Region| {
            let from = regions.and(here, from);
            *to = regions.or(*to, from);
        };
        add(&mut self.allow, callee.allow);
        add(&mut self.deny, callee.deny);
        add(&mut self.reject, callee.reject);
        add(&mut self.anything, callee.anything);
        self.destinations.extend(callee.destinations.iter().copied());
    }
}
