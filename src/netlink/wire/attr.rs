//! Reads netlink messages and attributes. Total: no input makes it panic or read out of bounds.

use super::uapi::{TYPE_MASK, flag};

/// Rounds up to netlink's alignment of four bytes.
const fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// `N` bytes from `at`.
fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

/// A netlink message of nfnetlink, or one of netlink's own.
#[derive(Clone, Copy, Debug)]
pub(in crate::netlink) struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// Everything after the 16 bytes of the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// `nfgen_family` of an nfnetlink message.
    pub(in crate::netlink) fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// `res_id`: the lower half of the generation at which a dumped object was read.
    pub(in crate::netlink) fn resource(&self) -> Option<u16> {
        bytes(self.payload, 2).map(u16::from_be_bytes)
    }

    /// The attributes of an nfnetlink message.
    pub(in crate::netlink) fn attributes(&self) -> Option<&'a [u8]> {
        self.payload.get(4..)
    }

    /// The error of an `NLMSG_ERROR`: 0 is an acknowledgement, anything else a positive errno.
    pub(in crate::netlink) fn errno(&self) -> Option<i32> {
        Some(i32::from_ne_bytes(bytes(self.payload, 0)?).saturating_neg())
    }

    /// The kernel's explanation of an error, if there is one (`NLMSGERR_ATTR_MSG`).
    pub(in crate::netlink) fn error_text(&self) -> Option<String> {
        const ATTR_MSG: u16 = 1;
        if self.flags & flag::ACK_TLVS == 0 {
            return None;
        }
        let refused = u32::from_ne_bytes(bytes(self.payload, 4)?) as usize;
        let skipped = if self.flags & flag::CAPPED == 0 { aligned(refused).max(16) } else { 16 };
        let attributes = self.payload.get(skipped.checked_add(4)?..)?;
        Attributes::new(attributes)
            .map_while(Result::ok)
            .find(|&(kind, _)| kind == ATTR_MSG)
            .map(|(_, text)| string(text))
    }
}

/// The messages of one datagram, up to the first incomplete one.
#[derive(Clone, Copy, Debug)]
pub(in crate::netlink) struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// The messages of a received datagram.
    pub(in crate::netlink) const fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = u32::from_ne_bytes(bytes(self.0, 0)?) as usize;
        let message = Message {
            kind: u16::from_ne_bytes(bytes(self.0, 4)?),
            flags: u16::from_ne_bytes(bytes(self.0, 6)?),
            seq: u32::from_ne_bytes(bytes(self.0, 8)?),
            payload: self.0.get(16..len)?,
        };
        self.0 = self.0.get(aligned(len)..).unwrap_or_default();
        Some(message)
    }
}

/// An attribute's length exceeds what encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::netlink) struct Malformed;

/// Attributes in order, each as its type and its payload.
#[derive(Clone, Copy, Debug)]
pub(in crate::netlink) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes in these bytes.
    pub(in crate::netlink) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let head = bytes(self.0, 0).zip(bytes(self.0, 2));
        let Some((len, kind)) = head.map(|(len, kind)| (u16::from_ne_bytes(len) as usize, u16::from_ne_bytes(kind)))
        else {
            self.0 = &[];
            return Some(Err(Malformed));
        };
        let Some(payload) = self.0.get(4..len) else {
            self.0 = &[];
            return Some(Err(Malformed));
        };
        self.0 = self.0.get(aligned(len)..).unwrap_or_default();
        Some(Ok((kind & TYPE_MASK, payload)))
    }
}

/// Attributes by type, for types below `N`. Of several attributes of one type the last counts, as in the kernel.
#[derive(Debug)]
pub(in crate::netlink) struct Fields<'a, const N: usize>([Option<&'a [u8]>; N]);

impl<'a, const N: usize> Fields<'a, N> {
    /// Reads all attributes and ignores types from `N` on; `None` if they are malformed.
    pub(in crate::netlink) fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::collect(bytes, |_| true)
    }

    /// Reads all attributes; `None` if they are malformed, or if a type is `N` or above.
    pub(in crate::netlink) fn exactly(bytes: &'a [u8]) -> Option<Self> {
        Self::collect(bytes, |_| false)
    }

    fn collect(bytes: &'a [u8], passes: impl Fn(u16) -> bool) -> Option<Self> {
        let mut fields = [None; N];
        for attribute in Attributes::new(bytes) {
            let (kind, payload) = attribute.ok()?;
            match fields.get_mut(usize::from(kind)) {
                Some(field) => *field = Some(payload),
                None if passes(kind) => {}
                None => return None,
            }
        }
        Some(Self(fields))
    }

    /// The payload of an attribute.
    pub(in crate::netlink) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    /// A one-byte number.
    pub(in crate::netlink) fn u8(&self, kind: u16) -> Option<u8> {
        self.get(kind)?.try_into().ok().map(u8::from_be_bytes)
    }

    /// A two-byte number, in network order like all of nf_tables.
    pub(in crate::netlink) fn u16(&self, kind: u16) -> Option<u16> {
        self.get(kind)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A four-byte number.
    pub(in crate::netlink) fn u32(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// An eight-byte number.
    pub(in crate::netlink) fn u64(&self, kind: u16) -> Option<u64> {
        self.get(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// Whether the number is absent or equals the default that absence means.
    pub(in crate::netlink) fn is_default(&self, kind: u16, default: u64) -> bool {
        self.get(kind).is_none_or(|payload| number(payload) == Some(default))
    }

    /// A string without its closing zero; invalid UTF-8 is replaced.
    pub(in crate::netlink) fn string(&self, kind: u16) -> Option<String> {
        self.get(kind).map(string)
    }
}

/// A number in network order, of up to eight bytes.
fn number(payload: &[u8]) -> Option<u64> {
    (payload.len() <= 8).then(|| payload.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// A string up to its first zero.
pub(in crate::netlink) fn string(payload: &[u8]) -> String {
    let text = payload.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The comment in an object's userdata, whose entries are a type byte, a length byte and the payload.
pub(in crate::netlink) fn comment(userdata: &[u8], kind: u8) -> Option<String> {
    let mut rest = userdata;
    while let [found, len, tail @ ..] = rest {
        let payload = tail.get(..usize::from(*len))?;
        if *found == kind {
            return Some(string(payload));
        }
        rest = tail.get(usize::from(*len)..)?;
    }
    None
}
