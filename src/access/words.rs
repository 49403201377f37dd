//! Sources in words: addresses, networks and ranges.

use super::region::{Region, Regions};
use crate::net::Version;

/// All intervals of a region, in ascending order.
pub(super) fn ranges(version: Version, regions: &Regions, region: Region) -> Vec<String> {
    regions.intervals(region).iter().map(|&(first, last)| version.words(first, last)).collect()
}

/// All intervals outside of a region, in ascending order.
pub(super) fn ranges_outside(version: Version, regions: &Regions, region: Region) -> Vec<String> {
    let mut outside = Vec::new();
    let mut begin = Some(0);
    for &(first, last) in regions.intervals(region) {
        outside.extend(begin.filter(|begin| *begin < first).map(|begin| (begin, first - 1)));
        begin = last.checked_add(1).filter(|next| *next <= version.last_address());
    }
    outside.extend(begin.map(|begin| (begin, version.last_address())));
    outside.into_iter().map(|(first, last)| version.words(first, last)).collect()
}

/// All intervals of a pair of regions, of IPv4 and of IPv6; `any` if these are all addresses of the versions `of`.
pub(super) fn in_full(all: &[Regions; 2], regions: [Region; 2], of: [bool; 2]) -> Vec<String> {
    if regions.iter().zip(of).all(|(region, counts)| !counts || *region == Region::ALL) {
        return vec!["any".to_owned()];
    }
    let pairs = Version::ALL.into_iter().zip(all).zip(regions);
    pairs.flat_map(|((version, all), region)| ranges(version, all, region)).collect()
}

/// The same in short: the intervals or, if that list is shorter, all but the others.
pub(super) fn shortest(all: &[Regions; 2], regions: [Region; 2], of: [bool; 2], shown: usize) -> String {
    let them = in_full(all, regions, of);
    let pairs = Version::ALL.into_iter().zip(all).zip(regions).zip(of).filter(|(_, counts)| *counts);
    let others = pairs.flat_map(|(((version, all), region), _)| ranges_outside(version, all, region));
    let others: Vec<String> = others.collect();
    if others.len() < them.len() && !others.is_empty() {
        format!("any but {}", in_short(&others, shown))
    } else {
        in_short(&them, shown)
    }
}

/// The first `shown` words, and how many more there are.
pub(super) fn in_short(words: &[String], shown: usize) -> String {
    match words.len().checked_sub(shown) {
        None | Some(0) => words.join(", "),
        Some(1) => format!("{} and 1 more range", words.get(..shown).unwrap_or_default().join(", ")),
        Some(more) => format!("{} and {more} more ranges", words.get(..shown).unwrap_or_default().join(", ")),
    }
}
