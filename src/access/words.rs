//! Sources in words: addresses, networks and ranges.

use super::region::{Interval, Region, Regions};
use super::space::from_number;
use crate::net::Version;
use ipnet::{Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// One interval: `192.0.2.1`, `192.0.2.0/24` or `192.0.2.1-192.0.2.9`.
fn interval(version: Version, (first, last): Interval) -> String {
    let (Some(from), Some(to)) = (from_number(version, first), from_number(version, last)) else {
        return String::new();
    };
    if from == to {
        return from.to_string();
    }
    // As many bits as both have in common, where the rest is all clear in one and all set in the other.
    let bits = u32::try_from(version.address_len() * 8).unwrap_or_default();
    let free = u128::BITS - (first ^ last).leading_zeros();
    let prefix = u8::try_from(bits.saturating_sub(free)).unwrap_or_default();
    let network = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4Net::new(from, prefix)
            .ok()
            .filter(|network| network.network() == from && network.broadcast() == to)
            .map(|network| network.to_string()),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6Net::new(from, prefix)
            .ok()
            .filter(|network| network.network() == from && network.broadcast() == to)
            .map(|network| network.to_string()),
        _ => None,
    };
    network.unwrap_or_else(|| format!("{from}-{to}"))
}

/// All intervals of a region, in ascending order.
pub(super) fn ranges(version: Version, regions: &Regions, region: Region) -> Vec<String> {
    regions.intervals(region).iter().map(|&one| interval(version, one)).collect()
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
    outside.into_iter().map(|one| interval(version, one)).collect()
}

/// Some of the words, and how many more there are.
pub(super) fn in_short(words: &[String], shown: usize) -> String {
    match words.len().checked_sub(shown) {
        None | Some(0) => words.join(", "),
        Some(1) => format!("{} and 1 more range", words.get(..shown).unwrap_or_default().join(", ")),
        Some(more) => format!("{} and {more} more ranges", words.get(..shown).unwrap_or_default().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_an_address_a_network_or_a_range() {
        let v4 = |first: [u8; 4], last: [u8; 4]| {
            interval(Version::V4, (u32::from_be_bytes(first).into(), u32::from_be_bytes(last).into()))
        };
        assert_eq!(v4([192, 0, 2, 1], [192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(v4([192, 0, 2, 0], [192, 0, 2, 255]), "192.0.2.0/24");
        assert_eq!(v4([0, 0, 0, 0], [255, 255, 255, 255]), "0.0.0.0/0");
        assert_eq!(v4([192, 0, 2, 1], [192, 0, 2, 2]), "192.0.2.1-192.0.2.2");
        assert_eq!(v4([192, 0, 2, 254], [192, 0, 3, 255]), "192.0.2.254-192.0.3.255");
        assert_eq!(interval(Version::V6, (0, u128::MAX)), "::/0");
        assert_eq!(interval(Version::V6, (1 << 64, (2 << 64) - 1)), "0:0:0:1::/64");
        assert_eq!(interval(Version::V6, (0, 2)), "::-::2");
    }
}
