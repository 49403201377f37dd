//! Who reaches a port, as a formula over what rules test about a source: sets, networks, interfaces.
//!
//! Membership of a set is a variable; the set's elements are not looked at. So a set of a million addresses costs as
//! much as one of three, and a group is called by its name.

use crate::simulate::Doubt;
use std::collections::BTreeSet;

/// Something that a source is, or is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// A group of the policy.
    Group(String),
    /// A list of the policy without a name, by the prefix of its sets' names: `ssh.from`, `policy.block`.
    List(String),
    /// A set of another table: its table and its name.
    Set(String, String),
    /// A network, a range or an address.
    Network(String),
    /// Containers behind any interface.
    Containers,
    /// The containers behind that interface.
    ContainersBy(String),
    /// What comes in by that interface.
    By(String),
    /// What is sent from that port.
    FromPort(u16),
}

/// All that are in each of `within` and in none of `but`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// Everyone if empty.
    pub within: BTreeSet<Label>,
    /// Who is left out.
    pub but: BTreeSet<Label>,
}

/// Who reaches a port, and for whom it can't be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Sources in any of these clauses reach it.
    pub who: Vec<Clause>,
    /// For sources in any of these clauses it can't be told, for this reason.
    pub unknown: Vec<(Clause, Doubt)>,
}

impl Clause {
    /// Whether all of another clause are in this one, as far as the formulas tell.
    fn covers(&self, other: &Self) -> bool {
        self.within.is_subset(&other.within) && self.but.is_subset(&other.but)
    }

    fn with(mut self, label: &Label) -> Self {
        self.within.insert(label.clone());
        self
    }

    fn without(mut self, label: &Label) -> Self {
        self.but.insert(label.clone());
        self
    }
}

impl Reach {
    /// Nobody.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Everyone.
    pub fn everyone() -> Self {
        Self { who: vec![Clause::default()], unknown: Vec::new() }
    }

    /// It can't be told for anyone.
    pub fn unknown(why: Doubt) -> Self {
        Self { who: Vec::new(), unknown: vec![(Clause::default(), why)] }
    }

    /// Whether it is everyone without exception.
    pub fn is_everyone(&self) -> bool {
        self.who.contains(&Clause::default())
    }

    /// Whether all of a clause reach it, as far as the formulas tell.
    pub fn covers(&self, clause: &Clause) -> bool {
        self.who.iter().any(|other| other.covers(clause))
    }

    /// Whether it is nobody for certain.
    pub fn is_nobody(&self) -> bool {
        self.who.is_empty() && self.unknown.is_empty()
    }

    /// Who reaches it if `inside` holds for those in `label`, and `outside` for all others.
    pub fn choose(label: &Label, inside: &Self, outside: &Self) -> Self {
        Self {
            who: choose(label, &inside.who, &outside.who, |clause| clause, |clause, _| clause),
            unknown: choose(
                label,
                &inside.unknown,
                &outside.unknown,
                |(clause, _)| clause,
                |clause, (_, why)| (clause, why.clone()),
            ),
        }
        .simplified()
    }

    /// The union of both.
    pub fn or(mut self, other: Self) -> Self {
        self.who.extend(other.who);
        self.unknown.extend(other.unknown);
        self.simplified()
    }

    /// Only those who are also in `label`.
    pub fn within(mut self, label: &Label) -> Self {
        self.who = self.who.into_iter().map(|clause| clause.with(label)).collect();
        self.unknown = self.unknown.into_iter().map(|(clause, why)| (clause.with(label), why)).collect();
        self
    }

    /// All but those who are in `label`.
    #[must_use]
    pub fn but(mut self, label: &Label) -> Self {
        self.who = self.who.into_iter().map(|clause| clause.without(label)).collect();
        self.unknown = self.unknown.into_iter().map(|(clause, why)| (clause.without(label), why)).collect();
        self.simplified()
    }

    /// Drops empty clauses and those that another clause covers.
    fn simplified(mut self) -> Self {
        let mut who: Vec<Clause> = Vec::new();
        for clause in self.who {
            // Nobody is both in and not in the same label.
            let nobody = !clause.within.is_disjoint(&clause.but);
            if !nobody && !who.iter().any(|other| other.covers(&clause)) {
                who.retain(|other| !clause.covers(other));
                who.push(clause);
            }
        }
        who.sort();
        let mut unknown: Vec<(Clause, Doubt)> = Vec::new();
        for (clause, why) in self.unknown {
            let known = who.iter().chain(unknown.iter().map(|(other, _)| other)).any(|other| other.covers(&clause));
            if !known && clause.within.is_disjoint(&clause.but) {
                unknown.retain(|(other, _)| !clause.covers(other));
                unknown.push((clause, why));
            }
        }
        unknown.sort();
        self.who = who;
        self.unknown = unknown;
        self
    }
}

fn choose<T: Clone>(
    label: &Label,
    inside: &[T],
    outside: &[T],
    clause: impl Fn(&T) -> &Clause,
    with: impl Fn(Clause, &T) -> T,
) -> Vec<T> {
    let covered = |one: &T, by: &[T]| by.iter().any(|other| clause(other).covers(clause(one)));
    let mut chosen = Vec::new();
    for one in outside {
        if covered(one, inside) {
            chosen.push(one.clone())
        } else {
            chosen.push(with(clause(one).clone().without(label), one))
        }
    }
    for one in inside {
        // What holds both inside and outside is already there.
        let both = outside.iter().any(|other| clause(other).covers(clause(one)) && covered(other, inside));
        if !both {
            chosen.push(with(clause(one).clone().with(label), one));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(name: &str) -> Label {
        Label::Group(name.to_owned())
    }

    fn clause(within: &[&str], but: &[&str]) -> Clause {
        let labels = |names: &[&str]| names.iter().map(|name| group(name)).collect();
        Clause { within: labels(within), but: labels(but) }
    }

    #[test]
    fn groups_in_a_row_and_a_block_in_front_read_as_the_policy_does() {
        let admins = Reach::choose(&group("admins"), &Reach::everyone(), &Reach::nobody());
        let both = Reach::choose(&group("trusted"), &Reach::everyone(), &admins);
        let blocked = Reach::choose(&group("blocked"), &Reach::nobody(), &both);
        let open = Reach::choose(&group("blocked"), &Reach::nobody(), &Reach::everyone());

        assert_eq!(both.who, [clause(&["admins"], &[]), clause(&["trusted"], &[])]);
        assert_eq!(blocked.who, [clause(&["admins"], &["blocked"]), clause(&["trusted"], &["blocked"])]);
        assert_eq!(open.who, [clause(&[], &["blocked"])]);
    }

    #[test]
    fn a_set_that_decides_nothing_is_not_spoken_of() {
        let trusted = Reach::choose(&group("trusted"), &Reach::everyone(), &Reach::nobody());

        assert_eq!(Reach::choose(&group("seen"), &trusted, &trusted), trusted);
        let doubt = Reach::unknown("nobody knows".into());
        assert_eq!(Reach::choose(&group("seen"), &doubt, &doubt), doubt);
    }

    /// A decision by three sets; each bit of `truth` is the result for one of the eight kinds of sources.
    fn decided(truth: u8, depth: u32, seen: u32) -> Reach {
        if depth == 3 {
            return if truth >> seen & 1 == 1 { Reach::everyone() } else { Reach::nobody() };
        }
        let (inside, outside) = (decided(truth, depth + 1, seen | 1 << depth), decided(truth, depth + 1, seen));
        Reach::choose(&group(&depth.to_string()), &inside, &outside)
    }

    fn holds(reach: &Reach, source: u32) -> bool {
        let is_in = |label: &Label| (0..3).any(|bit| *label == group(&bit.to_string()) && source >> bit & 1 == 1);
        reach.who.iter().any(|clause| clause.within.iter().all(is_in) && !clause.but.iter().any(is_in))
    }

    proptest! {
        #[test]
        fn a_formula_says_what_was_decided(truth in any::<u8>()) {
            let reach = decided(truth, 0, 0);
            for source in 0..8 {
                prop_assert_eq!(holds(&reach, source), truth >> source & 1 == 1, "{:?} of {}", reach, source);
            }
        }
    }
}
