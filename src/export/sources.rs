//! Sets of source addresses of both families, and the fewest networks that are exactly such a set.

use crate::net::{AddressRange, Addresses, Intervals, Version};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use std::net::IpAddr;

/// Addresses of both families, whose neighbours are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources([Intervals<u128>; 2]);

const fn index(version: Version) -> usize {
    match version {
        Version::V4 => 0,
        Version::V6 => 1,
    }
}

impl Sources {
    /// Every address.
    #[must_use]
    pub fn everyone() -> Self {
        Self(Version::ALL.map(Intervals::all))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Intervals::is_empty)
    }

    /// Whether every address of a family is among these.
    #[must_use]
    pub fn is_everyone_over(&self, version: Version) -> bool {
        self.of(version).is_all(version)
    }

    /// The intervals of one family.
    #[must_use]
    pub fn over(&self, version: Version) -> &[(u128, u128)] {
        self.of(version).as_slice()
    }

    fn of(&self, version: Version) -> &Intervals<u128> {
        &self.0[index(version)]
    }

    /// Those of one family.
    #[must_use]
    pub fn only(mut self, version: Version) -> Self {
        for other in Version::ALL.into_iter().filter(|other| *other != version) {
            self.0[index(other)] = Intervals::default();
        }
        self
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(Version::ALL.map(|version| self.of(version).or(other.of(version)).joined()))
    }

    /// These without those.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(Version::ALL.map(|version| self.of(version).minus(other.of(version))))
    }

    /// Those that are among both.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        self.without(&Self::everyone().without(other))
    }

    /// These, and all others in the networks of these lengths around them; a length for each family.
    #[must_use]
    pub fn widened(&self, lengths: [u8; 2]) -> Self {
        Self(Version::ALL.map(|version| {
            let host = version.address_bits().saturating_sub(lengths[index(version)]);
            let rest = 1_u128.checked_shl(host.into()).map_or(u128::MAX, |size| size - 1);
            let around = self.over(version).iter().map(|&(first, last)| (first & !rest, last | rest));
            around.collect::<Intervals<u128>>().joined()
        }))
    }

    /// The fewest networks that are exactly these addresses: those of IPv4 first, each family by number.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        let mut all = Vec::new();
        for version in Version::ALL {
            for &(first, last) in self.over(version) {
                match (version.address(first), version.address(last)) {
                    (Some(IpAddr::V4(first)), Some(IpAddr::V4(last))) => {
                        all.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
                    }
                    (Some(IpAddr::V6(first)), Some(IpAddr::V6(last))) => {
                        all.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
                    }
                    // No interval ends beyond its family.
                    _ => {}
                }
            }
        }
        all
    }
}

impl From<&Addresses> for Sources {
    fn from(addresses: &Addresses) -> Self {
        addresses.ranges().collect()
    }
}

impl FromIterator<AddressRange> for Sources {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> Self {
        let mut all = [Vec::new(), Vec::new()];
        for range in ranges {
            match range {
                AddressRange::V4(first, last) => all[0].push((u32::from(first).into(), u32::from(last).into())),
                AddressRange::V6(first, last) => all[1].push((first.into(), last.into())),
            }
        }
        Self(all.map(|all| Intervals::from(all).joined()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(networks: &[&str]) -> Sources {
        let ranges = networks.iter().map(|text| match text.parse().expect("a network") {
            IpNet::V4(net) => AddressRange::V4(net.network(), net.broadcast()),
            IpNet::V6(net) => AddressRange::V6(net.network(), net.broadcast()),
        });
        ranges.collect()
    }

    fn texts(sources: &Sources) -> Vec<String> {
        sources.networks().iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn neighbouring_networks_are_one_and_a_range_is_the_fewest_networks() {
        let range = |first: &str, last: &str| -> Sources {
            [AddressRange::V4(first.parse().expect("an address"), last.parse().expect("an address"))]
                .into_iter()
                .collect()
        };
        assert_eq!(texts(&of(&["10.0.0.0/9", "10.128.0.0/9", "::1/128"])), ["10.0.0.0/8", "::1/128"]);
        assert_eq!(
            texts(&range("198.51.100.10", "198.51.100.20")),
            ["198.51.100.10/31", "198.51.100.12/30", "198.51.100.16/30", "198.51.100.20/32"]
        );
        assert_eq!(range("0.0.0.1", "255.255.255.254").networks().len(), 62);
        assert_eq!(texts(&Sources::everyone()), ["0.0.0.0/0", "::/0"]);
        assert_eq!(texts(&Sources::default()), Vec::<String>::new());
    }

    #[test]
    fn everyone_but_one_costs_a_network_for_each_bit() {
        let cost = |out: &str| Sources::everyone().without(&of(&[out])).networks().len();
        let costs = ["192.0.2.1/32", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::1/128", "2001:db8::/32"].map(cost);
        assert_eq!(costs, [33, 25, 1, 129, 33]);
    }

    #[test]
    fn what_is_taken_away_is_gone_at_both_ends_and_in_between() {
        let left = of(&["10.0.0.0/29"]).without(&of(&["9.0.0.0/8", "10.0.0.0/32", "10.0.0.3/32", "10.0.0.7/32"]));
        assert_eq!(texts(&left), ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.4/31", "10.0.0.6/32"]);
        let none = of(&["10.0.0.0/29", "ff00::/8"]).without(&Sources::everyone());
        assert_eq!(none, Sources::default());
        let all = Sources::everyone();
        assert_eq!(all.without(&all.without(&left)), left);
        assert_eq!(texts(&of(&["10.0.0.0/8"]).within(&of(&["10.1.0.0/16", "11.0.0.0/8"]))), ["10.1.0.0/16"]);
    }

    #[test]
    fn a_set_is_widened_to_the_networks_around_it() {
        let wide = of(&["203.0.113.66/32", "2001:db8:7::1/128"]).widened([16, 32]);
        assert_eq!(texts(&wide), ["203.0.0.0/16", "2001:db8::/32"]);
        assert_eq!(texts(&of(&["255.255.255.255/32"]).widened([0, 0])), ["0.0.0.0/0"]);
        assert_eq!(texts(&of(&["ffff::/128"]).widened([0, 0])), ["::/0"]);
    }
}
