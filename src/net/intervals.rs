//! Sets of IPv4 and IPv6 addresses as sorted intervals.

use super::Version;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sorted, disjoint, closed intervals of addresses or ports.
///
/// Overlapping intervals are merged, adjacent ones are not: three neighbouring addresses stay the three elements that
/// the policy's author wrote and will look for in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Intervals<T>(Vec<(T, T)>);

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Intervals<T> {
    /// The intervals in ascending order, first and last included.
    #[must_use]
    pub fn as_slice(&self) -> &[(T, T)] {
        &self.0
    }

    /// Whether there are no intervals.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a value is in both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(first, last)), Some(&&(their_first, their_last))) = (ours.peek(), theirs.peek()) {
            if first <= their_last && their_first <= last {
                return true;
            }
            if last < their_first {
                ours.next()
            } else {
                theirs.next()
            };
        }
        false
    }

    /// Whether an interval contains the value.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= value);
        after > 0 && value <= self.0[after - 1].1
    }
}

impl Intervals<u128> {
    /// All addresses of an IP version, as numbers.
    #[must_use]
    pub fn all(version: Version) -> Self {
        Self(vec![(0, version.last_address())])
    }

    /// Whether they are all addresses of an IP version.
    #[must_use]
    pub fn is_all(&self, version: Version) -> bool {
        self.0 == [(0, version.last_address())]
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
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
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
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

    /// Whether all of the other are in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.minus(self).is_empty()
    }

    /// The same, with neighbours merged.
    #[must_use]
    pub fn joined(mut self) -> Self {
        self.0.dedup_by(|next, kept| {
            let adjoins = kept.1.checked_add(1) == Some(next.0);
            if adjoins {
                kept.1 = next.1;
            }
            adjoins
        });
        self
    }
}

impl<T: Copy + Ord> From<Vec<(T, T)>> for Intervals<T> {
    /// Sorts and merges. Swaps the ends of an interval whose first value is greater than its last.
    fn from(mut all: Vec<(T, T)>) -> Self {
        for interval in &mut all {
            if interval.0 > interval.1 {
                *interval = (interval.1, interval.0);
            }
        }
        all.sort_unstable();
        all.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self(all)
    }
}

impl<T: Copy + Ord> FromIterator<(T, T)> for Intervals<T> {
    /// Collects, sorts and merges.
    fn from_iter<I: IntoIterator<Item = (T, T)>>(intervals: I) -> Self {
        intervals.into_iter().collect::<Vec<_>>().into()
    }
}

/// IPv4 and IPv6 addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    /// The IPv4 addresses.
    pub v4: Intervals<Ipv4Addr>,
    /// The IPv6 addresses.
    pub v6: Intervals<Ipv6Addr>,
}

impl Addresses {
    /// Whether there are no addresses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the address is among these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address),
            IpAddr::V6(address) => self.v6.contains(address),
        }
    }

    /// The union of these addresses.
    #[must_use]
    pub fn union(parts: &[&Self]) -> Self {
        match parts {
            [] => Self::default(),
            [only] => (*only).clone(),
            parts => Self {
                v4: parts.iter().flat_map(|part| part.v4.as_slice()).copied().collect(),
                v6: parts.iter().flat_map(|part| part.v6.as_slice()).copied().collect(),
            },
        }
    }

    /// Whether an address is among both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.v4.meets(&other.v4) || self.v6.meets(&other.v6)
    }

    /// These addresses but that one.
    #[must_use]
    pub fn without(&self, address: IpAddr) -> Self {
        self.ranges().flat_map(|range| range.without(address)).flatten().collect()
    }

    /// All addresses as ranges, IPv4 first.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> + '_ {
        let v4 = self.v4.as_slice().iter().map(|&(first, last)| AddressRange::V4(first, last));
        v4.chain(self.v6.as_slice().iter().map(|&(first, last)| AddressRange::V6(first, last)))
    }
}

impl FromIterator<AddressRange> for Addresses {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match range {
                AddressRange::V4(first, last) => v4.push((first, last)),
                AddressRange::V6(first, last) => v6.push((first, last)),
            }
        }
        Self { v4: v4.into(), v6: v6.into() }
    }
}

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressRange {
    /// IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

impl From<IpAddr> for AddressRange {
    /// One address.
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address, address),
            IpAddr::V6(address) => Self::V6(address, address),
        }
    }
}

impl AddressRange {
    /// What is left below and above an address; the whole range if it does not contain it.
    fn without(self, address: IpAddr) -> [Option<Self>; 2] {
        match (self, address) {
            (Self::V4(first, last), IpAddr::V4(address)) if (first..=last).contains(&address) => {
                let [below, above] = [u32::from(address).checked_sub(1), u32::from(address).checked_add(1)];
                [
                    below.map(Ipv4Addr::from).filter(|below| first <= *below).map(|below| Self::V4(first, below)),
                    above.map(Ipv4Addr::from).filter(|above| *above <= last).map(|above| Self::V4(above, last)),
                ]
            }
            (Self::V6(first, last), IpAddr::V6(address)) if (first..=last).contains(&address) => {
                let [below, above] = [u128::from(address).checked_sub(1), u128::from(address).checked_add(1)];
                [
                    below.map(Ipv6Addr::from).filter(|below| first <= *below).map(|below| Self::V6(first, below)),
                    above.map(Ipv6Addr::from).filter(|above| *above <= last).map(|above| Self::V6(above, last)),
                ]
            }
            _ => [Some(self), None],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_cut_and_joined_as_the_sets_of_their_numbers_are() {
        let set =
            |bits: u128| -> Intervals<u128> { (0..8).filter(|at| bits >> at & 1 == 1).map(|at| (at, at)).collect() };
        let bits =
            |set: &Intervals<u128>| (0..8).filter(|at| set.contains(*at)).fold(0_u128, |all, at| all | 1 << at);
        for a in 0..256 {
            for b in 0..256 {
                for (x, y) in [(set(a), set(b).joined()), (set(a).joined(), set(b))] {
                    assert_eq!(bits(&x.and(&y)), a & b);
                    assert_eq!(bits(&x.or(&y)), a | b);
                    assert_eq!(bits(&x.minus(&y)), a & !b);
                    assert_eq!((x.meets(&y), x.covers(&y)), (a & b != 0, b & !a == 0));
                }
            }
        }
        let all = Intervals::all(Version::V6);
        assert!(all.minus(&all).is_empty());
        assert_eq!(set(0b0111_0011).joined().as_slice(), [(0, 1), (4, 6)]);
    }
}
