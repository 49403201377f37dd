//! IPv4 and IPv6.

use std::net::IpAddr;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Version {
    /// Both versions.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The version of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The length of an address in bytes.
    #[must_use]
    pub const fn address_len(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The length of an address in bits.
    #[must_use]
    pub const fn address_bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The highest address as a number.
    #[must_use]
    pub const fn last_address(self) -> u128 {
        match self {
            Self::V4 => 0xffff_ffff,
            Self::V6 => u128::MAX,
        }
    }

    /// The address with that number; `None` if the number is too large.
    #[must_use]
    pub fn address(self, number: u128) -> Option<IpAddr> {
        match self {
            Self::V4 => u32::try_from(number).ok().map(|number| IpAddr::V4(number.into())),
            Self::V6 => Some(IpAddr::V6(number.into())),
        }
    }

    /// The address in these bytes, which are in network order; `None` if their number is not that of this version.
    #[must_use]
    pub fn address_in(self, bytes: &[u8]) -> Option<IpAddr> {
        match self {
            Self::V4 => <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok(),
            Self::V6 => <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok(),
        }
    }

    /// A range of addresses in words: `192.0.2.1`, `192.0.2.0/24` or `192.0.2.1-192.0.2.9`. Empty if a number is too
    /// large for an address.
    #[must_use]
    pub fn words(self, first: u128, last: u128) -> String {
        let (Some(from), Some(to)) = (self.address(first), self.address(last)) else { return String::new() };
        if from == to {
            return from.to_string();
        }
        // The range is a network if, after the common leading bits, the first address has only zeros and the last
        // only ones.
        let common = (first ^ last).leading_zeros();
        let rest = u128::MAX.checked_shr(common).unwrap_or_default();
        let bits = u32::from(self.address_bits());
        if first & rest == 0 && last & rest == rest {
            format!("{from}/{}", (common + bits).saturating_sub(u128::BITS))
        } else {
            format!("{from}-{to}")
        }
    }

    /// `NFPROTO_IPV4` and `NFPROTO_IPV6`, equal to `AF_INET` and `AF_INET6`.
    #[must_use]
    pub const fn nfproto(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// The suffix of the names of sets for this version.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    /// The version of an `NFPROTO_*` or `AF_*` number.
    #[must_use]
    pub const fn from_nfproto(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::V4),
            10 => Some(Self::V6),
            _ => None,
        }
    }

    /// `ETH_P_IP` and `ETH_P_IPV6`, in network order.
    #[must_use]
    pub const fn ether_type(self) -> [u8; 2] {
        match self {
            Self::V4 => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        }
    }
}

impl std::fmt::Display for Version {
    /// `IPv4`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The address in these 4 or 16 bytes, which are in network order; see [`Version::address_in`] for one version only.
#[must_use]
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    Version::ALL.into_iter().find_map(|version| version.address_in(bytes))
}

/// A range of addresses of one IP version in words, see [`Version::words`]. Both ends are bytes in network order;
/// `None` if they are not addresses.
#[must_use]
pub fn range_in_words(first: &[u8], last: &[u8]) -> Option<String> {
    let (first, last) = (address(first)?, address(last)?);
    let version = Version::of(first);
    (version == Version::of(last)).then(|| version.words(number(first), number(last)))
}

/// Whether a mask keeps a prefix: all its ones precede its zeros.
#[must_use]
pub fn is_prefix(mask: &[u8]) -> bool {
    prefix_len(mask).is_some()
}

/// The length in bits of the prefix that a mask keeps; `None` unless all its ones precede its zeros.
#[must_use]
pub fn prefix_len(mask: &[u8]) -> Option<u32> {
    let bits = mask.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    bits.is_sorted_by(|a, b| a >= b).then(|| mask.iter().map(|byte| byte.count_ones()).sum())
}

/// An address as a number.
#[must_use]
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The bytes of an address, in network order.
#[must_use]
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_a_prefix_if_its_ones_precede_its_zeros() {
        let lengths = [&[][..], &[0, 0], &[0xff, 0x80], &[0xff, 0xff], &[0xff, 0x40], &[0, 1], &[0xfe, 0xff]];
        assert_eq!(lengths.map(prefix_len), [Some(0), Some(0), Some(9), Some(16), None, None, None]);
    }

    #[test]
    fn an_interval_is_an_address_a_network_or_a_range() {
        let v4 = |first: [u8; 4], last: [u8; 4]| {
            Version::V4.words(u32::from_be_bytes(first).into(), u32::from_be_bytes(last).into())
        };
        assert_eq!(v4([192, 0, 2, 1], [192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(v4([192, 0, 2, 0], [192, 0, 2, 255]), "192.0.2.0/24");
        assert_eq!(v4([0, 0, 0, 0], [255, 255, 255, 255]), "0.0.0.0/0");
        assert_eq!(v4([192, 0, 2, 1], [192, 0, 2, 2]), "192.0.2.1-192.0.2.2");
        assert_eq!(v4([192, 0, 2, 254], [192, 0, 3, 255]), "192.0.2.254-192.0.3.255");
        assert_eq!(Version::V6.words(0, u128::MAX), "::/0");
        assert_eq!(Version::V6.words(1 << 64, (2 << 64) - 1), "0:0:0:1::/64");
        assert_eq!(Version::V6.words(0, 2), "::-::2");
    }
}
