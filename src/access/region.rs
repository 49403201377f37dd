//! Sets of addresses as disjoint intervals. Each set is interned, so equal sets have the same id, and each operation
//! on the same two sets is computed once.

use std::collections::HashMap;
use std::rc::Rc;

/// A set of addresses of one family: an index into [`Regions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Region(u32);

impl Region {
    /// No address.
    pub(super) const NONE: Self = Self(0);
    /// Every address.
    pub(super) const ALL: Self = Self(1);
}

/// From the first to the last number, both included.
pub(super) type Interval = (u128, u128);

/// Sorted and disjoint, and no two adjacent.
type Intervals = Rc<[Interval]>;

/// All sets of one family that have been needed so far.
pub(super) struct Regions {
    /// The highest address as a number.
    last: u128,
    sets: Vec<Intervals>,
    ids: HashMap<Intervals, Region>,
    known: HashMap<(Op, Region, Region), Region>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    And,
    Or,
    Minus,
}

/// The ratio of lengths above which the longer set is searched instead of walked.
const MUCH: usize = 16;

impl Regions {
    /// For addresses from 0 to `last`.
    pub(super) fn new(last: u128) -> Self {
        let mut regions = Self { last, sets: Vec::new(), ids: HashMap::new(), known: HashMap::new() };
        regions.keep(Vec::new());
        regions.keep(vec![(0, last)]);
        regions
    }

    /// The intervals of a set: sorted, disjoint and not adjacent.
    pub(super) fn intervals(&self, region: Region) -> &[Interval] {
        self.sets.get(region.0 as usize).map_or(&[], |set| set)
    }

    pub(super) fn contains(&self, region: Region, address: u128) -> bool {
        let set = self.intervals(region);
        let above = set.partition_point(|&(first, _)| first <= address);
        above.checked_sub(1).and_then(|index| set.get(index)).is_some_and(|&(_, last)| address <= last)
    }

    /// The union of any intervals; one whose first address is above its last is empty.
    pub(super) fn of(&mut self, mut intervals: Vec<Interval>) -> Region {
        intervals.retain(|(first, last)| first <= last);
        intervals.sort_unstable();
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            push(&mut merged, (interval.0.min(self.last), interval.1.min(self.last)));
        }
        self.keep(merged)
    }

    fn keep(&mut self, set: Vec<Interval>) -> Region {
        if let Some(region) = self.ids.get(set.as_slice()) {
            return *region;
        }
        let set: Intervals = set.into();
        // Four billion sets would not fit into memory.
        let region = Region(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        self.sets.push(Rc::clone(&set));
        self.ids.insert(set, region);
        region
    }

    /// What is in both.
    pub(super) fn and(&mut self, a: Region, b: Region) -> Region {
        let (a, b) = (a.min(b), a.max(b));
        match (a, b) {
            (Region::NONE, _) => Region::NONE,
            (Region::ALL, other) => other,
            _ if a == b => a,
            _ => self.once(Op::And, a, b, intersection),
        }
    }

    /// What is in one or the other.
    pub(super) fn or(&mut self, a: Region, b: Region) -> Region {
        let (a, b) = (a.min(b), a.max(b));
        match (a, b) {
            (Region::NONE, other) => other,
            (Region::ALL, _) => Region::ALL,
            _ if a == b => a,
            _ => self.once(Op::Or, a, b, union),
        }
    }

    /// What is in `a` and not in `b`.
    pub(super) fn minus(&mut self, a: Region, b: Region) -> Region {
        match (a, b) {
            (Region::NONE, _) | (_, Region::ALL) => Region::NONE,
            (a, Region::NONE) => a,
            _ if a == b => Region::NONE,
            _ => self.once(Op::Minus, a, b, difference),
        }
    }

    fn once(
        &mut self,
        op: Op,
        a: Region,
        b: Region,
        compute: fn(&[Interval], &[Interval]) -> Vec<Interval>,
    ) -> Region {
        if let Some(region) = self.known.get(&(op, a, b)) {
            return *region;
        }
        let result = compute(self.intervals(a), self.intervals(b));
        let region = self.keep(result);
        self.known.insert((op, a, b), region);
        region
    }
}

/// Adds an interval that begins no earlier than the last one.
fn push(set: &mut Vec<Interval>, (first, last): Interval) {
    match set.last_mut() {
        Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
        _ => set.push((first, last)),
    }
}

/// The intervals of a set that end at or above `address`.
fn from(set: &[Interval], address: u128) -> &[Interval] {
    set.get(set.partition_point(|&(_, last)| last < address)..).unwrap_or_default()
}

fn intersection(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let search = many.len() / MUCH > few.len();
    let (mut result, mut rest) = (Vec::new(), many);
    for &(first, last) in few {
        rest = if search { from(rest, first) } else { walk(rest, first) };
        let within = rest.iter().take_while(|&&(begin, _)| begin <= last);
        result.extend(within.map(|&(begin, end)| (begin.max(first), end.min(last))));
    }
    result
}

fn difference(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let search = b.len() / MUCH > a.len();
    let (mut result, mut rest) = (Vec::new(), b);
    for &(first, last) in a {
        rest = if search { from(rest, first) } else { walk(rest, first) };
        let mut begin = Some(first);
        for &(gap, end) in rest.iter().take_while(|&&(gap, _)| gap <= last) {
            if let Some(first) = begin.filter(|&first| first < gap) {
                result.push((first, gap - 1));
            }
            begin = end.checked_add(1).filter(|&next| next <= last);
        }
        result.extend(begin.map(|first| (first, last)));
    }
    result
}

/// Same as [`from`] by a linear walk, for when the result is near.
fn walk(set: &[Interval], address: u128) -> &[Interval] {
    let below = set.iter().take_while(|&&(_, last)| last < address).count();
    set.get(below..).unwrap_or_default()
}

fn union(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    let mut result = Vec::new();
    while let Some(next) = match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if y < x => b.next(),
        (None, _) => b.next(),
        _ => a.next(),
    } {
        push(&mut result, next);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAST: u128 = 47;

    fn bits(regions: &Regions, region: Region) -> u64 {
        (0..=LAST).filter(|&at| regions.contains(region, at)).fold(0, |bits, at| bits | 1 << at)
    }

    fn runs() -> impl Strategy<Value = Vec<Interval>> {
        prop::collection::vec((0..=LAST, 0..=LAST), 0..12)
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_bits(a in runs(), b in runs()) {
            let mut regions = Regions::new(LAST);
            let (a, b) = (regions.of(a), regions.of(b));
            let (x, y) = (bits(&regions, a), bits(&regions, b));
            let all = bits(&regions, Region::ALL);

            let (and, or, minus) = (regions.and(a, b), regions.or(a, b), regions.minus(a, b));
            prop_assert_eq!(bits(&regions, and), x & y);
            prop_assert_eq!(bits(&regions, or), x | y);
            prop_assert_eq!(bits(&regions, minus), x & !y);
            let without = regions.minus(Region::ALL, a);
            prop_assert_eq!(bits(&regions, without), all & !x);
            // Equal sets have the same id.
            let again = regions.minus(a, and);
            prop_assert_eq!(again, minus);
            let joined = regions.or(and, minus);
            prop_assert_eq!(joined, a);
            for region in [a, b, and, or, minus] {
                let apart = regions.intervals(region).windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
                prop_assert!(apart, "{:?}", regions.intervals(region));
            }
        }
    }

    #[test]
    fn a_few_among_many_are_found() {
        let mut regions = Regions::new(u128::MAX);
        let many = regions.of((0..10_000).map(|n| (n * 10, n * 10 + 4)).collect());
        let few = regions.of(vec![(42, 61), (u128::MAX, u128::MAX)]);

        let (and, minus) = (regions.and(few, many), regions.minus(few, many));

        assert_eq!(regions.intervals(and), [(42, 44), (50, 54), (60, 61)]);
        assert_eq!(regions.intervals(minus), [(45, 49), (55, 59), (u128::MAX, u128::MAX)]);
    }
}
