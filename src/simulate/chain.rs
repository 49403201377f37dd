//! Chains: jumps, returns, and the outcomes of a packet.

use super::index::Indexes;
use super::machine::{End, Machine, RuleResult};
use super::trace::{Effect, Outcomes, Step};
use super::truth::Doubt;
use crate::ruleset::{BaseChain, Chain, Expr, Hook, Policy, Rule, Verdict};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::ops::Range;

/// `NFT_JUMP_STACK_SIZE`: the kernel refuses a table whose chains call each other deeper, counting jumps and gotos.
pub(crate) const MAX_DEPTH: usize = 16;
/// How many steps are recorded. If each chain calls the next one twice, and so on, there are more than anybody reads.
const MAX_STEPS: usize = 10_000;

/// Room for the chains that most packets are sent to.
const MOST_CHAINS: usize = 8;

/// A packet's outcomes in a chain, and which of its steps were there.
type Passed = (Outcomes, Range<usize>);

/// A packet in one base chain.
pub(super) struct Walk<'a, 'v, 's> {
    machine: Machine<'a, 'v>,
    hook: Hook,
    indexes: &'v Indexes,
    steps: &'s mut Vec<Step<'a>>,
    /// Memo per chain, by the place of its name in the table: the packet's outcomes and steps there, the same on every
    /// visit. `None` while the packet is inside; entering the chain again is a cycle.
    passed: SmallVec<[(*const u8, Option<Passed>); MOST_CHAINS]>,
}

impl<'a, 'v, 's> Walk<'a, 'v, 's> {
    pub(super) fn new(
        machine: Machine<'a, 'v>,
        hook: Hook,
        indexes: &'v Indexes,
        steps: &'s mut Vec<Step<'a>>,
    ) -> Self {
        Self { machine, hook, indexes, steps, passed: SmallVec::new() }
    }

    /// The outcomes of the packet in a base chain.
    pub(super) fn base(mut self, name: &'a str, chain: &'a Chain, base: &BaseChain, certain: bool) -> Outcomes {
        self.passed.push((name.as_ptr(), None));
        let outcomes = self.rules(name, chain, 0, certain);
        if !outcomes.contain(Outcomes::RETURNS) {
            return outcomes;
        }
        let certain = certain && outcomes.is_one();
        let (effect, end) = match base.policy {
            Policy::Accept => (Effect::Accept, Outcomes::ALLOW),
            Policy::Drop => (Effect::Drop, Outcomes::DENY),
        };
        self.note(name, None, effect, certain, None);
        outcomes.without(Outcomes::RETURNS).or(end)
    }

    fn rules(&mut self, name: &'a str, chain: &'a Chain, depth: usize, mut certain: bool) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for number in self.indexes.may_match(chain, &self.machine) {
            let Some(rule) = chain.rules.get(number) else { break };
            let RuleResult::Match { end, doubt } = self.run(rule, certain) else { continue };
            let doubtful = doubt.is_some();
            let ended = self.end(name, (number, rule), &end, depth, certain, doubt);
            let goes_on = doubtful || ended.contain(Outcomes::RETURNS) && continues(&end);
            outcomes = outcomes.or(if continues(&end) { ended.without(Outcomes::RETURNS) } else { ended });
            if !goes_on {
                return outcomes;
            }
            certain &= ended.is_one() && (!doubtful || ended == Outcomes::RETURNS && continues(&end));
        }
        outcomes.or(Outcomes::RETURNS)
    }

    fn run(&mut self, rule: &'a Rule, certain: bool) -> RuleResult<'a> {
        if self.machine.is_ruled_out(rule) {
            return RuleResult::NoMatch;
        }
        if !rule.exprs.iter().any(|expr| matches!(expr, Expr::Dynset { .. } | Expr::Foreign(_))) {
            return self.machine.run(rule, certain);
        }
        let changed = || {
            let sets = self.machine.changed.borrow();
            let known: usize = sets.values().flatten().map(BTreeSet::len).sum();
            (
                sets.len(),
                sets.values().filter(|keys| keys.is_none()).count(),
                known,
                self.machine.effects.borrow().changes,
            )
        };
        let before = changed();
        let result = self.machine.run(rule, certain);
        if changed() != before {
            // A chain that tests the set or the mark may now have other outcomes: the memo is no longer valid.
            self.passed.retain(|(_, passed)| passed.is_none());
        }
        result
    }

    /// Records what a rule does, and returns the packet's outcomes.
    fn end(
        &mut self,
        chain: &'a str,
        rule: (usize, &'a Rule),
        end: &End<'a>,
        depth: usize,
        certain: bool,
        doubt: Option<Doubt>,
    ) -> Outcomes {
        let inside = certain && doubt.is_none();
        let (effect, outcomes) = match end {
            End::Continue => (Effect::Continue, Outcomes::RETURNS),
            End::Reject => (Effect::Reject, Outcomes::REJECT),
            End::Translate(to) if inside => {
                self.machine.effects.borrow_mut().destination = Some(*to);
                (Effect::Translate(*to), Outcomes::ALLOW)
            }
            End::Translate(_) => {
                let why = doubt.unwrap_or_else(|| "whether the destination is translated is not known".into());
                return self.unknown(chain, Some(rule), certain, why);
            }
            // Only chains after the translation see the new source address.
            End::TranslateSource => {
                self.machine.effects.borrow_mut().source = true;
                (Effect::TranslateSource, Outcomes::ALLOW)
            }
            End::Anything(why) => {
                let why = doubt.unwrap_or_else(|| why.clone());
                self.note(chain, Some(rule), Effect::Unknown, certain, Some(why));
                return Outcomes::ANYTHING.or(Outcomes::RETURNS);
            }
            End::Verdict(verdict) => return self.verdict(chain, rule, verdict, depth, certain, doubt),
        };
        self.note(chain, Some(rule), effect, certain, doubt);
        outcomes
    }

    fn verdict(
        &mut self,
        chain: &'a str,
        rule: (usize, &'a Rule),
        verdict: &Verdict,
        depth: usize,
        certain: bool,
        doubt: Option<Doubt>,
    ) -> Outcomes {
        let inside = certain && doubt.is_none();
        let (effect, outcomes) = match verdict {
            Verdict::Accept => (Effect::Accept, Outcomes::ALLOW),
            Verdict::Drop => (Effect::Drop, Outcomes::DENY),
            Verdict::Continue => (Effect::Continue, Outcomes::RETURNS),
            Verdict::Return => (Effect::Return, Outcomes::RETURNS),
            Verdict::Jump(target) | Verdict::Goto(target) => {
                let Some((target, _)) = self.machine.table.chains.get_key_value(target) else {
                    return self.unknown(chain, Some(rule), certain, format!("there is no chain {target}").into());
                };
                let jump = matches!(verdict, Verdict::Jump(_));
                let effect = if jump { Effect::Jump(target) } else { Effect::Goto(target) };
                self.note(chain, Some(rule), effect, certain, doubt);
                return self.enter(target, depth + 1, inside);
            }
            Verdict::Other(code) => {
                let why = format!("what verdict {code} leads to is not known").into();
                return self.unknown(chain, Some(rule), certain, why);
            }
        };
        self.note(chain, Some(rule), effect, certain, doubt);
        outcomes
    }

    /// The outcomes of the packet in a chain that it is sent to.
    fn enter(&mut self, name: &'a str, depth: usize, certain: bool) -> Outcomes {
        match self.passed.iter().find(|(known, _)| *known == name.as_ptr()).map(|(_, passed)| passed) {
            Some(Some((outcomes, steps))) => {
                let (outcomes, steps) = (*outcomes, steps.clone());
                if self.steps.len() + steps.len() <= MAX_STEPS {
                    let again: Vec<_> = self.steps.get(steps).unwrap_or_default().to_vec();
                    self.steps
                        .extend(again.into_iter().map(|step| Step { certain: step.certain && certain, ..step }));
                }
                return outcomes;
            }
            Some(None) => return self.unknown(name, None, certain, "chains call each other in a circle".into()),
            None => {}
        }
        let Some(chain) = self.machine.table.chains.get(name).filter(|_| depth < MAX_DEPTH) else {
            return self.unknown(
                name,
                None,
                certain,
                "chains call each other deeper than the kernel lets them".into(),
            );
        };
        self.passed.push((name.as_ptr(), None));
        let begin = self.steps.len();
        let outcomes = self.rules(name, chain, depth, certain);
        let passed = Some((outcomes, begin..self.steps.len()));
        match self.passed.iter_mut().find(|(known, _)| *known == name.as_ptr()) {
            Some((_, inside)) => *inside = passed,
            None => self.passed.push((name.as_ptr(), passed)),
        }
        outcomes
    }

    fn unknown(&mut self, chain: &'a str, rule: Option<(usize, &'a Rule)>, certain: bool, why: Doubt) -> Outcomes {
        self.note(chain, rule, Effect::Unknown, certain, Some(why));
        Outcomes::ANYTHING.or(Outcomes::RETURNS)
    }

    fn note(
        &mut self,
        chain: &'a str,
        rule: Option<(usize, &'a Rule)>,
        effect: Effect<'a>,
        certain: bool,
        doubt: Option<Doubt>,
    ) {
        if self.steps.len() < MAX_STEPS {
            let table = self.machine.id;
            self.steps.push(Step { hook: self.hook, table, chain, rule, effect, certain, doubt });
        }
    }
}

/// Whether a packet goes on with the next rule after it returns from this one's verdict.
fn continues(end: &End<'_>) -> bool {
    match end {
        End::Continue | End::Anything(_) => true,
        End::Reject | End::Translate(_) | End::TranslateSource => false,
        End::Verdict(verdict) => {
            matches!(**verdict, Verdict::Continue | Verdict::Jump(_) | Verdict::Other(_))
        }
    }
}
