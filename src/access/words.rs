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

/// The first `shown` words, and how many more there are.
pub(super) fn in_short(words: &[String], shown: usize) -> String {
    match words.len().checked_sub(shown) {
        None | Some(0) => words.join(", "),
        Some(1) => format!("{} and 1 more range", words.get(..shown).unwrap_or_default().join(", ")),
        Some(more) => format!("{} and {more} more ranges", words.get(..shown).unwrap_or_default().join(", ")),
    }
}
