//! Lookups of `fib` in the routing tables (`net/netfilter/nft_fib.c`).

/// The result of [`Expr::Fib`](super::Expr::Fib) (`NFT_FIB_RESULT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FibResult {
    /// The index of the interface that packets to the address leave by, 4 bytes in host order; 0 if there is none or
    /// if the address is this machine's own.
    Oif,
    /// The name of that interface, 16 bytes, zero-padded; empty if [`Oif`](Self::Oif) is 0.
    OifName,
    /// The type of the address: an `RTN_*` number, 4 bytes in host order.
    Type,
}

impl FibResult {
    /// The `NFT_FIB_RESULT_*` number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Oif => 1,
            Self::OifName => 2,
            Self::Type => 3,
        }
    }

    /// The result of an `NFT_FIB_RESULT_*` number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Oif),
            2 => Some(Self::OifName),
            3 => Some(Self::Type),
            _ => None,
        }
    }

    /// How many bytes the result fills in its register.
    #[must_use]
    pub const fn len(self, flags: u32) -> u32 {
        match self {
            Self::OifName if flags & fib_flags::PRESENT == 0 => 16,
            Self::OifName | Self::Oif | Self::Type => 4,
        }
    }
}

/// The fields of a packet that [`Expr::Fib`](super::Expr::Fib) looks up, and how (`NFTA_FIB_F_*`).
pub mod fib_flags {
    /// The source address.
    pub const SADDR: u32 = 1;
    /// The destination address.
    pub const DADDR: u32 = 2;
    /// The mark, together with the address.
    pub const MARK: u32 = 4;
    /// Only results that concern the incoming interface.
    pub const IIF: u32 = 8;
    /// Only results that concern the outgoing interface.
    pub const OIF: u32 = 16;
    /// Whether there is a result, instead of the result: one byte, followed by three zero bytes (`nft_reg_store8`).
    /// nft compares all four.
    pub const PRESENT: u32 = 32;
}

/// The type of an address, and of the route to it (`RTN_*`), as loaded by [`FibResult::Type`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    /// No route leads to the address.
    Unspecified,
    /// Another machine's address, reached through a gateway or as a neighbour.
    Unicast,
    /// This machine's own address.
    Local,
    /// The broadcast address of a network.
    Broadcast,
    /// An own address that other machines may share: for IPv6, each network's first address on a router.
    Anycast,
    /// A multicast group.
    Multicast,
    /// Packets are dropped silently.
    Blackhole,
    /// Packets are refused; the sender learns that the address is unreachable.
    Unreachable,
    /// Packets are refused; the sender learns that it is prohibited.
    Prohibit,
    /// Another type, by number.
    Other(u32),
}

impl AddressType {
    /// The types with a name, by number.
    const NAMED: [(Self, &str); 9] = [
        (Self::Unspecified, "unspec"),
        (Self::Unicast, "unicast"),
        (Self::Local, "local"),
        (Self::Broadcast, "broadcast"),
        (Self::Anycast, "anycast"),
        (Self::Multicast, "multicast"),
        (Self::Blackhole, "blackhole"),
        (Self::Unreachable, "unreachable"),
        (Self::Prohibit, "prohibit"),
    ];

    /// The `RTN_*` number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Unspecified => 0,
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Broadcast => 3,
            Self::Anycast => 4,
            Self::Multicast => 5,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
            Self::Other(number) => number,
        }
    }

    /// The type of an `RTN_*` number.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let named = usize::try_from(number).ok().and_then(|number| Self::NAMED.get(number));
        named.map_or(Self::Other(number), |(named, _)| *named)
    }
}

impl std::fmt::Display for AddressType {
    /// nft's name for the type, or its number if it has none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::NAMED.iter().find(|(named, _)| named == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_one_type_of_address() {
        for number in 0..20 {
            assert_eq!(AddressType::from_number(number).number(), number);
        }
    }
}
