//! The messages of one transaction, encoded for sending.
#![allow(unsafe_code)]

use crate::netlink::wire::uapi::{NFNL_BATCH_GENID, SUBSYSTEM, control, flag};
use crate::netlink::wire::write::Writer;
use nftnl::{MsgType, NlMsg};

/// From this size the allocator uses mmap: pages arrive zeroed and take memory only where they are written.
const MAPPED: usize = 256 * 1024;

/// A complete batch: begin, messages, end.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The operation of each message, in order; the first message has sequence number 1.
    ops: Vec<usize>,
    last: usize,
    /// nftnl's output buffer: all zeros between two messages.
    scratch: Vec<u8>,
}

impl Batch {
    pub(in crate::netlink) fn new(genid: u32) -> Self {
        let mut bytes = Vec::with_capacity(4096);
        let mut begin = Writer::raw(&mut bytes, control::BATCH_BEGIN, 0, 0, 0, SUBSYSTEM);
        begin.u32(NFNL_BATCH_GENID, genid);
        begin.finish();
        Self { bytes, ops: Vec::new(), last: 0, scratch: Vec::new() }
    }

    /// Sets the generation that the batch applies to; its handles must be valid there, too.
    pub fn set_generation(&mut self, genid: u32) {
        /// The offset: after the header of the first message, the nfnetlink header and the attribute header.
        const AT: usize = 16 + 4 + 4;
        if let Some(place) = self.bytes.get_mut(AT..AT + 4) {
            place.copy_from_slice(&genid.to_be_bytes());
        }
    }

    /// A batch that changes nothing; the kernel still refuses it if the ruleset has another generation.
    pub(in crate::netlink) fn empty(genid: u32) -> Self {
        let mut batch = Self::new(genid);
        batch.close();
        batch
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it has no message between begin and end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The operation behind a message, by its sequence number; `None` for begin and end.
    #[must_use]
    pub fn op(&self, seq: u32) -> Option<usize> {
        self.ops.get((seq as usize).checked_sub(1)?).copied()
    }

    /// The sequence number of the last message between begin and end, which requests the acknowledgement.
    #[must_use]
    pub fn last_seq(&self) -> u32 {
        u32::try_from(self.ops.len()).unwrap_or(u32::MAX)
    }

    /// Records a message for that operation, which the caller writes next, and returns its sequence number.
    fn next(&mut self, op: usize) -> u32 {
        self.last = self.bytes.len();
        self.ops.push(op);
        self.last_seq()
    }

    /// Reserves room for so many more bytes.
    pub(in crate::netlink) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Begins a message that is written without nftnl.
    pub(in crate::netlink) fn begin(&mut self, op: usize, kind: u8, flags: u16, family: u8) -> Writer<'_> {
        let seq = self.next(op);
        Writer::begin(&mut self.bytes, kind, flags, family, seq)
    }

    /// Lets nftnl write a message. Only the last message will request an acknowledgement.
    pub(in crate::netlink) fn nftnl(&mut self, op: usize, message: &impl NlMsg, kind: MsgType) {
        let seq = self.next(op);
        let room = nftnl::nft_nlmsg_maxsize() as usize;
        if self.scratch.is_empty() {
            self.scratch = vec![0; room.max(MAPPED)];
        }
        // SAFETY: `write` needs room for `nft_nlmsg_maxsize` bytes, which the scratch has, and an aligned header,
        // which the allocator provides.
        unsafe { message.write(self.scratch.as_mut_ptr().cast(), seq, kind) };
        let len = self.scratch.first_chunk().map_or(0, |len| u32::from_ne_bytes(*len) as usize);
        if let Some(written) = self.scratch.get_mut(..len) {
            self.bytes.extend_from_slice(written);
            // libmnl 1.0.4 does not write padding: the old bytes would be sent and stored as if they were data.
            written.fill(0);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_flags(flag::ACK, 0);
    }

    /// Changes the flags of the last message.
    pub(in crate::netlink) fn set_flags(&mut self, clear: u16, set: u16) {
        let at = self.last + 6;
        if let Some(place) = self.bytes.get_mut(at..at + 2)
            && let Ok(flags) = <[u8; 2]>::try_from(&*place)
        {
            place.copy_from_slice(&((u16::from_ne_bytes(flags) & !clear) | set).to_ne_bytes());
        }
    }

    /// Appends an attribute to the last message.
    pub(in crate::netlink) fn append(&mut self, add: impl FnOnce(&mut Writer<'_>)) {
        let mut writer = Writer::reopen(&mut self.bytes, self.last);
        add(&mut writer);
        writer.finish();
    }

    /// Requests the acknowledgement, and ends the batch.
    pub(in crate::netlink) fn close(&mut self) {
        if !self.is_empty() {
            self.set_flags(0, flag::ACK);
        }
        self.scratch = Vec::new();
        let end = self.last_seq().wrapping_add(1);
        Writer::raw(&mut self.bytes, control::BATCH_END, 0, 0, end, SUBSYSTEM).finish();
    }
}
