//! Writes netlink messages and attributes.

use super::uapi::{NESTED, SUBSYSTEM, flag};

/// A message under construction at the end of a buffer.
///
/// Callers keep each attribute, including nested ones, below the 65,535 bytes that its length field allows.
pub(in crate::netlink) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
}

/// The position of a nested attribute whose length is not known yet.
#[must_use]
pub(in crate::netlink) struct Nest(usize);

impl<'a> Writer<'a> {
    /// Begins an nf_tables message; `kind` excludes the subsystem.
    pub(in crate::netlink) fn begin(buffer: &'a mut Vec<u8>, kind: u8, flags: u16, family: u8, seq: u32) -> Self {
        Self::raw(buffer, SUBSYSTEM << 8 | u16::from(kind), flags, family, seq, 0)
    }

    /// Begins any nfnetlink message.
    pub(in crate::netlink) fn raw(
        buffer: &'a mut Vec<u8>,
        kind: u16,
        flags: u16,
        family: u8,
        seq: u32,
        resource: u16,
    ) -> Self {
        let [high, low] = resource.to_be_bytes();
        Self::message(buffer, kind, flags, seq, &[family, 0, high, low])
    }

    /// Begins any netlink message; `head` is the subsystem's header before the attributes.
    pub(in crate::netlink) fn message(buffer: &'a mut Vec<u8>, kind: u16, flags: u16, seq: u32, head: &[u8]) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&kind.to_ne_bytes());
        buffer.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        buffer.extend_from_slice(&seq.to_ne_bytes());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(head);
        Self { buffer, start }
    }

    /// Continues the message that starts at `start`.
    pub(in crate::netlink) fn reopen(buffer: &'a mut Vec<u8>, start: usize) -> Self {
        Self { buffer, start }
    }

    /// The length of the message so far, in bytes.
    pub(in crate::netlink) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Writes an attribute.
    #[expect(clippy::cast_possible_truncation, reason = "names, keys and userdata are checked to be shorter")]
    pub(in crate::netlink) fn bytes(&mut self, kind: u16, payload: &[u8]) {
        self.buffer.extend_from_slice(&((payload.len() + 4) as u16).to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(payload);
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }

    /// Writes attributes that are already encoded, including their padding.
    pub(in crate::netlink) fn ready_made(&mut self, attributes: &[u8]) {
        self.buffer.extend_from_slice(attributes);
    }

    /// Writes a four-byte number.
    pub(in crate::netlink) fn u32(&mut self, kind: u16, number: u32) {
        self.bytes(kind, &number.to_be_bytes());
    }

    /// Writes an eight-byte number.
    pub(in crate::netlink) fn u64(&mut self, kind: u16, number: u64) {
        self.bytes(kind, &number.to_be_bytes());
    }

    /// Writes a string with its closing zero.
    #[expect(clippy::cast_possible_truncation, reason = "names are checked to be shorter")]
    pub(in crate::netlink) fn text(&mut self, kind: u16, text: &str) {
        self.buffer.extend_from_slice(&((text.len() + 5) as u16).to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }

    /// Opens a nested attribute.
    pub(in crate::netlink) fn open(&mut self, kind: u16) -> Nest {
        let nest = Nest(self.buffer.len());
        self.bytes(kind | NESTED, &[]);
        nest
    }

    /// Closes the nested attribute.
    #[expect(clippy::cast_possible_truncation, reason = "element lists are closed before, all else is short")]
    pub(in crate::netlink) fn close(&mut self, nest: &Nest) {
        let len = (self.buffer.len() - nest.0) as u16;
        if let Some(place) = self.buffer.get_mut(nest.0..nest.0 + 2) {
            place.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// Writes the message's length.
    #[expect(clippy::cast_possible_truncation, reason = "a message holds a few attributes of 16-bit length")]
    pub(in crate::netlink) fn finish(self) {
        let len = self.len() as u32;
        if let Some(place) = self.buffer.get_mut(self.start..self.start + 4) {
            place.copy_from_slice(&len.to_ne_bytes());
        }
    }
}

/// Appends an entry to userdata: a type byte, a length byte, and the payload.
#[expect(clippy::cast_possible_truncation, reason = "comments are checked to be shorter")]
pub(in crate::netlink) fn put_udata(userdata: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    userdata.push(kind);
    userdata.push(payload.len() as u8);
    userdata.extend_from_slice(payload);
}
