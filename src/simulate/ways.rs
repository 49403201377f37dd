//! Packets that may take one of several ways: all are followed, and only what they have in common is known.

use super::effects::Effects;
use super::machine::met_in;
use super::order::{At, orders};
use super::packet::Packet;
use super::packet_run::{Attached, PacketRun};
use super::trace::Outcomes;
use super::truth::Doubt;
use crate::render;
use crate::ruleset::{Hook, TableId};
use std::collections::{BTreeMap, BTreeSet};

/// So many chains of one priority are tried in all orders that may be theirs, if these are no more than so many.
const MOST_IN_ALL_ORDERS: usize = 5;
const MOST_ORDERS: usize = 24;

/// The state of a packet between two chains.
struct Point<'a> {
    outcomes: Outcomes,
    effects: Effects,
    changed: BTreeMap<(&'a TableId, &'a str), Option<BTreeSet<Vec<u8>>>>,
    translated: bool,
}

impl<'a> PacketRun<'a, '_> {
    /// Sends the packet through the chains of one priority in the order in which they run; in every possible order if
    /// it is not known.
    pub(super) fn pass_class(&mut self, class: &[Attached<'a>], hook: Hook, packet: &Packet) {
        if let [attached] = class {
            self.pass_one(attached, hook, packet);
            return;
        }
        let at = At::of(hook, packet);
        let before = |one: usize, other: usize| {
            let (one, other) = class.get(one).zip(class.get(other))?;
            self.is_before(at.as_ref(), one, other)
        };
        let mut pairs = (0..class.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let known = pairs.all(|(one, other)| before(one, other).is_some());
        if !known && class.len() > MOST_IN_ALL_ORDERS {
            self.pass_many(class, hook, packet);
            return;
        }
        let orders = orders(class.len(), &before);
        if orders.len() > MOST_ORDERS {
            self.pass_many(class, hook, packet);
            return;
        }
        let doubt = || in_doubt(class);
        self.one_of(orders.len(), doubt, |run, way| {
            for attached in orders.get(way).into_iter().flatten().filter_map(|index| class.get(*index)) {
                run.pass_one(attached, hook, packet);
            }
        });
    }

    fn is_before(&self, at: Option<&At>, one: &Attached<'a>, other: &Attached<'a>) -> Option<bool> {
        match (one.nat(), other.nat()) {
            (true, true) if one.base.priority != other.base.priority => Some(one.base.priority < other.base.priority),
            (true, true) if one.id == other.id => self.sets.is_later(one.id, one.name, other.name),
            (true, true) => None,
            _ => self.sets.is_before(at?, &one.entry(), &other.entry()),
        }
    }

    /// Sends the packet through chains whose order is not known, and that are too many to try all orders.
    fn pass_many(&mut self, class: &[Attached<'a>], hook: Hook, packet: &Packet) {
        let start = self.point();
        let mut come = Outcomes::default();
        let mut alone = true;
        for attached in class {
            let steps = self.steps.len();
            self.pass_one(attached, hook, packet);
            let end = self.point();
            self.steps.truncate(steps);
            let has_sisters = class.iter().filter(|other| other.id == attached.id).count() > 1;
            // Another chain might see what this one leaves behind.
            alone &= end.effects.look_like(&start.effects) && !(has_sisters && end.changed != start.changed);
            come = come.or(end.outcomes.without(Outcomes::ALLOW));
            self.go_back_to(&start);
        }
        class.iter().for_each(|attached| self.pass_one(attached, hook, packet));
        let come = if alone { self.outcomes.or(come) } else { Outcomes::ANYTHING.or(self.outcomes) };
        if come != self.outcomes {
            self.doubt.get_or_insert(in_doubt(class));
            self.outcomes = come;
        }
    }

    /// Sends the packet by each of `count` ways. It takes one of them, and it is not known which.
    pub(super) fn one_of(
        &mut self,
        count: usize,
        doubt: impl FnOnce() -> Doubt,
        mut follow: impl FnMut(&mut Self, usize),
    ) {
        let begin = self.steps.len();
        let start = self.point();
        let mut ends: Vec<Point<'a>> = Vec::new();
        for way in 0..count {
            let steps = self.steps.len();
            self.go_back_to(&start);
            follow(self, way);
            let end = self.point();
            if ends.first().is_some_and(|first| first.outcomes == end.outcomes) {
                self.steps.truncate(steps);
            }
            ends.push(end);
        }
        let mut ends = ends.into_iter();
        let Some(mut met) = ends.next() else { return };
        let mut same = true;
        for end in ends {
            same &= met.outcomes == end.outcomes;
            met.outcomes = met.outcomes.or(end.outcomes);
            met.translated |= end.translated;
            met.changed = met_in(met.changed, end.changed);
            match met.effects.or(&end.effects) {
                Some(effects) => met.effects = effects,
                // If it may be dropped anyway, it does not matter where it would have gone.
                None if !met.outcomes.contain(Outcomes::ALLOW) => {}
                None => {
                    same = false;
                    met.outcomes = met.outcomes.or(Outcomes::ANYTHING);
                }
            }
        }
        self.go_back_to(&met);
        if !same {
            self.doubt.get_or_insert(doubt());
            self.steps.iter_mut().skip(begin).for_each(|step| step.certain = false);
        }
    }

    fn point(&self) -> Point<'a> {
        Point {
            outcomes: self.outcomes,
            effects: self.effects.borrow().clone(),
            changed: self.changed.borrow().clone(),
            translated: self.translated,
        }
    }

    fn go_back_to(&mut self, point: &Point<'a>) {
        self.outcomes = point.outcomes;
        *self.effects.borrow_mut() = point.effects.clone();
        *self.changed.borrow_mut() = point.changed.clone();
        self.translated = point.translated;
    }
}

fn in_doubt(class: &[Attached<'_>]) -> Doubt {
    let mut names = class.iter().map(|attached| format!("{} of {}", attached.name, render::table_title(attached.id)));
    let names = [names.next().unwrap_or_default(), names.next().unwrap_or_default()];
    format!("chains {} and {} have one priority, and which runs first is not known", names[0], names[1]).into()
}
