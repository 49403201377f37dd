//! Sets of addresses of one IP version, as intervals of numbers.

use crate::net::Version;

/// Sorted, disjoint intervals of addresses of one version, both ends included.
///
/// Neighbours are not merged: two addresses that an owner listed stay two.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spans(Vec<(u128, u128)>);

impl Spans {
    pub(super) fn all(version: Version) -> Self {
        Self(vec![(0, version.last_address())])
    }

    pub(super) fn of(mut spans: Vec<(u128, u128)>) -> Self {
        spans.sort_unstable();
        spans.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self(spans)
    }

    pub(super) fn is_all(&self, version: Version) -> bool {
        self.0 == [(0, version.last_address())]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn contains(&self, value: u128) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= value);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|&(_, last)| value <= last)
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        Self::of(self.iter().chain(other.iter()).collect())
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(first, last)), Some(&&(their_first, their_last))) = (ours.peek(), theirs.peek()) {
            let (from, to) = (first.max(their_first), last.min(their_last));
            if from <= to {
                both.push((from, to));
            }
            if last < their_last {
                ours.next();
            } else {
                theirs.next();
            }
        }
        Self(both)
    }

    /// What is in this one alone.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for &(first, last) in &self.0 {
            let mut next = Some(first);
            while others.peek().is_some_and(|(_, their_last)| *their_last < first) {
                others.next();
            }
            let mut here = others.clone();
            while let (Some(from), Some(&&(their_first, their_last))) = (next, here.peek()) {
                if their_first > last {
                    break;
                }
                if from < their_first {
                    left.push((from, their_first - 1));
                }
                next = their_last.checked_add(1).filter(|next| *next <= last);
                here.next();
            }
            left.extend(next.map(|from| (from, last)));
        }
        Self(left)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        !self.and(other).is_empty()
    }

    /// Whether all of the other are in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.minus(self).is_empty()
    }

    /// As a policy writes them: addresses, networks and ranges; IPv6 in quotes.
    pub(super) fn words(&self, version: Version) -> Vec<String> {
        let quote = |text: String| if version == Version::V6 { format!("\"{text}\"") } else { text };
        let all = |words: String| if words.starts_with("0.0.0.0/0") { format!("\"{words}\"") } else { quote(words) };
        self.iter().map(|(first, last)| all(version.words(first, last))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_cut_and_joined_as_the_sets_of_their_numbers_are() {
        let set = |bits: u128| Spans::of((0..8).filter(|at| bits >> at & 1 == 1).map(|at| (at, at)).collect());
        let bits = |spans: &Spans| (0..8).filter(|at| spans.contains(*at)).fold(0_u128, |all, at| all | 1 << at);
        let joined = |bits: u128| {
            let mut spans: Vec<(u128, u128)> = Vec::new();
            for at in (0..8).filter(|at| bits >> at & 1 == 1) {
                match spans.last_mut() {
                    Some(last) if last.1 + 1 == at => last.1 = at,
                    _ => spans.push((at, at)),
                }
            }
            Spans::of(spans)
        };
        for a in 0..256 {
            for b in 0..256 {
                for (x, y) in [(set(a), joined(b)), (joined(a), set(b))] {
                    assert_eq!(bits(&x.and(&y)), a & b);
                    assert_eq!(bits(&x.or(&y)), a | b);
                    assert_eq!(bits(&x.minus(&y)), a & !b);
                    assert_eq!((x.meets(&y), x.covers(&y)), (a & b != 0, b & !a == 0));
                }
            }
        }
        let all = Spans::all(Version::V6);
        assert_eq!(all.minus(&all), Spans::default());
    }
}
