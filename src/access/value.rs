//! Addresses, names and ports as the bytes that rules compare.

use super::region::Interval;
use crate::net::{Version, protocol};
use crate::ruleset::{Cmp, ElementKey, Set};
use std::net::IpAddr;

/// The first and the last address that begin with the bytes of `begin`.
fn range(version: Version, begin: &[u8]) -> Interval {
    let filled = |fill: u8| {
        let bytes = begin.iter().copied().chain(std::iter::repeat(fill)).take(version.address_len());
        bytes.fold(0, |number, byte| number << 8 | u128::from(byte))
    };
    (filled(0), filled(u8::MAX))
}

/// What a value is compared with.
#[derive(Clone, Copy)]
pub(super) enum Test<'a> {
    /// Compares the leading bytes of the value with these.
    Begins(Cmp, &'a [u8]),
    /// Compares the bits of the value that the mask has, which are its leading ones.
    Within {
        /// The value, masked.
        data: &'a [u8],
        /// The mask, as long as the value.
        mask: &'a [u8],
    },
    /// Looks the value up in a set.
    In(&'a Set),
}

impl Test<'_> {
    /// A number that is equal for two values exactly when the test can't tell them apart.
    pub(super) fn answer(self, value: &[u8]) -> usize {
        match self {
            Self::Begins(op, data) => {
                let order = value.get(..data.len()).unwrap_or(value).cmp(data);
                usize::from(match op {
                    Cmp::Eq | Cmp::Neq => order.is_eq(),
                    Cmp::Lt | Cmp::Gte => order.is_lt(),
                    Cmp::Lte | Cmp::Gt => order.is_le(),
                })
            }
            Self::Within { data, mask } => {
                let masked = value.iter().zip(mask).map(|(byte, mask)| byte & mask);
                usize::from(masked.eq(data.iter().copied()))
            }
            Self::In(set) => {
                let above = set.elements.partition_point(|element| {
                    element.key.bounds().is_some_and(|(first, _)| first.as_slice() <= value)
                });
                let nearest = above.checked_sub(1).and_then(|index| set.elements.get(index));
                let within = nearest
                    .is_some_and(|element| element.key.bounds().is_some_and(|(_, last)| value <= last.as_slice()));
                match set.spec.value {
                    _ if !within => 0,
                    None => 1,
                    Some(_) => above,
                }
            }
        }
    }

    /// The values at which the answer may change.
    pub(super) fn cuts(self, version: Version) -> Vec<u128> {
        let around = |(first, last): Interval| [Some(first), last.checked_add(1)].into_iter().flatten();
        match self {
            Self::Begins(_, data) => around(range(version, data)).collect(),
            Self::Within { data, mask } => {
                let (first, mask) = (number(data), number(mask));
                around((first, first | (version.last_address() & !mask))).collect()
            }
            Self::In(set) => bounds(set).flat_map(|(first, last)| around((number(first), number(last)))).collect(),
        }
    }
}

/// A condition on the source alone.
pub(super) enum SourceTest<'a> {
    /// Compares the leading bytes of the source, masked if there is a mask.
    Begins { op: Cmp, data: &'a [u8], mask: Option<&'a [u8]> },
    /// The leading bytes are in the set or, if `inverted`, are not.
    In { set: &'a Set, name: Option<&'a str>, inverted: bool },
}

/// The bounds of all elements but the catch-all.
pub(super) fn bounds(set: &Set) -> impl Iterator<Item = (&[u8], &[u8])> {
    set.elements.bounds()
}

/// Big-endian bytes, 16 at most, as a number.
pub(super) fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Whether each element is one name, or the range of all names with one prefix.
pub(super) fn names_are_understood(set: &Set) -> bool {
    bounds(set).all(|(first, last)| first == last || begins_alike(first, last).is_some())
}

/// The common prefix of a range of names, if the range holds all names with that prefix.
pub(super) fn begins_alike<'a>(first: &'a [u8], last: &[u8]) -> Option<&'a [u8]> {
    let end = first.iter().position(|byte| *byte == 0)?;
    let whole = first.get(end..)?.iter().all(|byte| *byte == 0)
        && last.get(..end) == first.get(..end)
        && last.get(end..)?.iter().all(|byte| *byte == u8::MAX);
    whole.then(|| first.get(..end)).flatten()
}

/// The sources that meet a condition.
pub(super) fn sources(test: &SourceTest<'_>, version: Version) -> Vec<Interval> {
    let last = version.last_address();
    let outside = |(first, end): Interval| {
        let below = first.checked_sub(1).map(|before| (0, before));
        below.into_iter().chain(end.checked_add(1).filter(|next| *next <= last).map(|next| (next, last))).collect()
    };
    match test {
        SourceTest::Begins { op, data, mask } => {
            let (first, end) = range(version, data);
            let (fits, end) = match mask {
                None => (true, end),
                Some(mask) => {
                    let (mask, _) = range(version, mask);
                    (first & !mask == 0, first | (last & !mask))
                }
            };
            match op {
                Cmp::Eq if fits => vec![(first, end)],
                Cmp::Eq => Vec::new(),
                Cmp::Neq if fits => outside((first, end)),
                Cmp::Neq => vec![(0, last)],
                Cmp::Lt => first.checked_sub(1).map(|before| (0, before)).into_iter().collect(),
                Cmp::Lte => vec![(0, end)],
                Cmp::Gt => {
                    end.checked_add(1).filter(|next| *next <= last).map(|next| (next, last)).into_iter().collect()
                }
                Cmp::Gte => vec![(first, last)],
            }
        }
        SourceTest::In { set, .. } if set.elements.iter().any(|element| element.key == ElementKey::CatchAll) => {
            vec![(0, last)]
        }
        SourceTest::In { set, .. } => {
            bounds(set).map(|(first, end)| (range(version, first).0, range(version, end).1)).collect()
        }
    }
}

/// Addresses that containers are taken to have: private, shared and link-local ones of IPv4 (RFC 1918, 6598, 3927),
/// unique local and link-local ones of IPv6.
const OF_CONTAINERS_V4: [Interval; 5] = [
    (0x0a00_0000, 0x0aff_ffff),
    (0x6440_0000, 0x647f_ffff),
    (0xa9fe_0000, 0xa9fe_ffff),
    (0xac10_0000, 0xac1f_ffff),
    (0xc0a8_0000, 0xc0a8_ffff),
];
const OF_CONTAINERS_V6: [Interval; 2] = [(0xfc00 << 112, (0xfe00 << 112) - 1), (0xfe80 << 112, (0xfec0 << 112) - 1)];

/// Whether a container may have an address that meets a condition.
pub(super) fn meets_containers(test: &SourceTest<'_>, version: Version) -> bool {
    let inverted = matches!(test, SourceTest::In { inverted: true, .. });
    inverted || sources(test, version).into_iter().any(|interval| overlaps_containers(version, interval))
}

/// Whether a container may have that address.
pub(super) fn may_be_container(address: IpAddr) -> bool {
    overlaps_containers(Version::of(address), (crate::net::number(address), crate::net::number(address)))
}

/// Whether a container may have one of these addresses.
pub(super) fn overlaps_containers(version: Version, (first, end): Interval) -> bool {
    of_containers(version).iter().any(|(begin, last)| first <= *last && *begin <= end)
}

/// The addresses that containers are taken to have.
pub(super) const fn of_containers(version: Version) -> &'static [Interval] {
    match version {
        Version::V4 => &OF_CONTAINERS_V4,
        Version::V6 => &OF_CONTAINERS_V6,
    }
}

/// The protocols whose headers begin with ports.
pub(super) const WITH_PORTS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::SCTP];
