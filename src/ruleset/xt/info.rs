//! Reads C structures of iptables.

use super::Range;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes of a C structure. Reads beyond the end give `None`.
#[derive(Clone, Copy)]
pub(super) struct Info<'a>(pub(super) &'a [u8]);

impl Info<'_> {
    pub(super) fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_ne_bytes)
    }

    pub(super) fn be16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_ne_bytes)
    }

    pub(super) fn v4(self, at: usize) -> Option<IpAddr> {
        self.bytes::<4>(at).map(|bytes| Ipv4Addr::from(bytes).into())
    }

    pub(super) fn v6(self, at: usize) -> Option<IpAddr> {
        self.bytes::<16>(at).map(|bytes| Ipv6Addr::from(bytes).into())
    }

    pub(super) fn range(self, at: usize, inverted: u8) -> Option<Range> {
        Some(Range { first: self.u16(at)?, last: self.u16(at + 2)?, inverted: inverted != 0 })
    }
}
