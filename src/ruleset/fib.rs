//! What `fib` asks the routing (`net/netfilter/nft_fib.c`).

/// What [`Expr::Fib`](super::Expr::Fib) asks for (`NFT_FIB_RESULT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FibResult {
    /// The index of the interface that packets to the address leave by, 4 bytes in host order; 0 where there is none or
    /// where the address is this machine's own.
    Oif,
    /// Its name, 16 bytes, zero-padded; empty where [`Oif`](Self::Oif) is 0.
    OifName,
    /// What the address is to this machine: an `RTN_*` number, 4 bytes in host order.
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

    /// How many bytes it fills of its register.
    #[must_use]
    pub const fn len(self, flags: u32) -> u32 {
        match self {
            Self::OifName if flags & fib_flags::PRESENT == 0 => 16,
            Self::OifName | Self::Oif | Self::Type => 4,
        }
    }
}

/// Which fields of a packet [`Expr::Fib`](super::Expr::Fib) asks about, and how (`NFTA_FIB_F_*`).
pub mod fib_flags {
    /// The source address.
    pub const SADDR: u32 = 1;
    /// The destination address.
    pub const DADDR: u32 = 2;
    /// Together with the mark.
    pub const MARK: u32 = 4;
    /// Only what the incoming interface has to do with.
    pub const IIF: u32 = 8;
    /// Only what the outgoing interface has to do with.
    pub const OIF: u32 = 16;
    /// Whether there is a result, instead of the result: its first byte, and three of zero (`nft_reg_store8`). nft compares all
    /// four.
    pub const PRESENT: u32 = 32;
}

/// What an address is to this machine, as [`FibResult::Type`] tells (`RTN_*`).
pub mod address_type {
    /// Another's.
    pub const UNICAST: u32 = 1;
    /// This machine's own.
    pub const LOCAL: u32 = 2;
    /// Everyone's on a network.
    pub const BROADCAST: u32 = 3;
    /// This machine's own among others': of IPv6, each network's first address on a router.
    pub const ANYCAST: u32 = 4;
    /// A group's.
    pub const MULTICAST: u32 = 5;
}
