//! Expressions that palisade has to understand to tell what other programs' rules do. It writes three of them itself,
//! for translations: `immediate` with data, `nat` and `masq`.
//!
//! Each keeps everything that the kernel reports about it. So in palisade's own table the others are drift, like an
//! unknown expression, and two that differ never count as the same.

use super::{CtKey, Direction, MetaKey, PayloadBase, Register, SetRef};

/// An expression, or a form of one, that palisade's filter rules don't have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Foreign {
    /// `immediate` with data.
    Immediate {
        /// The destination register.
        dreg: Register,
        /// The bytes, as in the register.
        data: Vec<u8>,
    },
    /// `meta` that sets a property of the packet.
    SetMeta {
        /// The property.
        key: MetaKey,
        /// The register with the value.
        sreg: Register,
    },
    /// `ct` that sets a property of the connection.
    SetCt {
        /// The property.
        key: CtKey,
        /// The direction, for the keys that have one.
        direction: Option<Direction>,
        /// The register with the value.
        sreg: Register,
    },
    /// `range`: continues if the register's value lies within the range, or outside it.
    Range {
        /// Continues if the value lies *outside* the range.
        inverted: bool,
        /// The register compared.
        sreg: Register,
        /// The first value, as big-endian bytes.
        first: Vec<u8>,
        /// The last value.
        last: Vec<u8>,
    },
    /// `nat`.
    Nat(Nat),
    /// `masq`: the source becomes an address of the outgoing interface.
    Masquerade {
        /// The registers with the first and the last port, if any.
        ports: [Option<Register>; 2],
        /// `NF_NAT_RANGE_*`.
        flags: u32,
    },
    /// `redir`: the destination becomes an address of the incoming interface.
    Redirect {
        /// The registers with the first and the last port, if any.
        ports: [Option<Register>; 2],
        /// `NF_NAT_RANGE_*`.
        flags: u32,
    },
    /// `reject` with an ICMP error of one family, by `NFT_REJECT_*` type and code.
    Reject {
        /// The type.
        kind: u32,
        /// The code.
        code: u8,
    },
    /// `log` at another level than palisade uses, or with flags.
    Log {
        /// The prefix of each line.
        prefix: String,
        /// The level.
        level: Option<u32>,
        /// `NF_LOG_*`.
        flags: Option<u32>,
    },
    /// `objref` to a named object of that `NFT_OBJECT_*` type.
    Object {
        /// The type.
        kind: u32,
        /// The name.
        name: String,
    },
    /// `objref` to the object that a map leads to.
    ObjectMap {
        /// The map.
        set: SetRef,
        /// The register with the key.
        sreg: Register,
    },
    /// `payload` that writes to the packet.
    SetPayload {
        /// The header that `offset` counts from.
        base: PayloadBase,
        /// Bytes from the start of that header.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// The register with the bytes.
        sreg: Register,
        /// `NFT_PAYLOAD_CSUM_*`, the offset of the checksum to mend, and flags.
        checksum: [u32; 3],
    },
    /// `notrack`.
    Notrack,
    /// A match of iptables.
    Match(Extension),
    /// A target of iptables.
    Target(Extension),
}

/// `nat`, with its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nat {
    /// Whether it translates the destination; otherwise it translates the source.
    pub destination: bool,
    /// The `NFPROTO_*` number of the addresses.
    pub family: u32,
    /// The registers with the first and the last address, if any.
    pub addresses: [Option<Register>; 2],
    /// The registers with the first and the last port, if any.
    pub ports: [Option<Register>; 2],
    /// `NF_NAT_RANGE_*`.
    pub flags: u32,
}

/// A match or target of iptables, read by [`super::xt`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: u32,
    /// Its C structure, in host byte order.
    pub info: Vec<u8>,
}

impl Foreign {
    /// Whether an object of that `NFT_OBJECT_*` type lets every packet go on with its rule: a counter, a helper of
    /// conntrack, a tunnel, a timeout of conntrack, a security mark.
    #[must_use]
    pub const fn object_goes_on(kind: u32) -> bool {
        matches!(kind, 1 | 3 | 6..=8)
    }
}
