//! The headers of a packet, of which each bit is known or not.

use super::bits::Bits;
use std::net::IpAddr;

/// The longest headers: of IPv6 and of TCP, without options.
const MOST: usize = 64;

/// Network and transport header, as far as the shortest header of their kind goes.
pub(super) struct Headers {
    value: [u8; MOST],
    known: [u8; MOST],
    len: usize,
}

impl Headers {
    /// Headers of that length, of which nothing is known yet.
    pub(super) fn unknown(len: usize) -> Self {
        Self { value: [0; MOST], known: [0; MOST], len: len.min(MOST) }
    }

    /// Writes known bytes from an offset on, as far as there is room.
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len()).min(self.len);
        if let (Some(value), Some(known)) = (self.value.get_mut(offset..end), self.known.get_mut(offset..end)) {
            value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            known.fill(u8::MAX);
        }
    }

    /// Writes one byte, of which the bits of `known` are known.
    pub(super) fn put_byte(&mut self, offset: usize, value: u8, known: u8) {
        if offset < self.len
            && let (Some(to), Some(mask)) = (self.value.get_mut(offset), self.known.get_mut(offset))
        {
            (*to, *mask) = (value & known, known);
        }
    }

    /// Writes an address, if it is known and of the version of `family`.
    pub(super) fn put_address(&mut self, offset: usize, known: Option<IpAddr>, family: IpAddr) {
        match (known, family) {
            (Some(IpAddr::V4(address)), IpAddr::V4(_)) => self.put(offset, &address.octets()),
            (Some(IpAddr::V6(address)), IpAddr::V6(_)) => self.put(offset, &address.octets()),
            _ => {}
        }
    }

    /// `len` bytes from an offset on; `None` if there are fewer.
    pub(super) fn slice(&self, offset: usize, len: usize) -> Option<Bits> {
        let range = offset..offset.checked_add(len).filter(|end| *end <= self.len)?;
        Some(Bits::of(self.value.get(range.clone())?, self.known.get(range)?))
    }

    /// `len` bytes from an offset on, if there are so many and every bit of them is known.
    pub(super) fn bytes_at(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let range = offset..offset.checked_add(len).filter(|end| *end <= self.len)?;
        let known = self.known.get(range.clone())?.iter().all(|known| *known == u8::MAX);
        self.value.get(range).filter(|_| known)
    }
}
