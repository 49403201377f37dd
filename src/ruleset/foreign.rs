//! Expressions that palisade never makes, and must understand to say what the rules of others do.
//!
//! Each holds all that the kernel says of it, so that in palisade's own table it is drift like an unknown one, and two
//! that differ are never taken for the same.

use super::{CtKey, Direction, MetaKey, Register};

/// An expression, or a form of one, that the rules of others have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Foreign {
    /// `immediate` with data.
    Immediate {
        /// Where to.
        dreg: Register,
        /// The bytes, as the register holds them.
        data: Vec<u8>,
    },
    /// `meta` that sets a property of the packet.
    SetMeta {
        /// Which.
        key: MetaKey,
        /// The value.
        sreg: Register,
    },
    /// `ct` that sets a property of the connection.
    SetCt {
        /// Which.
        key: CtKey,
        /// The direction, for the keys that have one.
        direction: Option<Direction>,
        /// The value.
        sreg: Register,
    },
    /// `range`: goes on when the register's value lies within, or not within.
    Range {
        /// Goes on when it does *not*.
        inverted: bool,
        /// The register compared.
        sreg: Register,
        /// The first value, as big-endian bytes.
        first: Vec<u8>,
        /// The last.
        last: Vec<u8>,
    },
    /// `nat`.
    Nat(Nat),
    /// `masq`: the source becomes an address of the interface that the packet leaves by.
    Masquerade {
        /// The registers with the first and the last port, if any.
        ports: [Option<Register>; 2],
        /// `NF_NAT_RANGE_*`.
        flags: u32,
    },
    /// `redir`: the destination becomes an address of the interface that the packet came in by.
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
    /// `log` at another level than palisade's, or with flags.
    Log {
        /// What each line begins with.
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
    /// `notrack`.
    Notrack,
    /// A match of iptables.
    Match(Extension),
    /// A target of iptables.
    Target(Extension),
}

/// `nat`, as its registers say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nat {
    /// Whether the destination is translated, else it is the source.
    pub destination: bool,
    /// `NFPROTO_*` of the addresses.
    pub family: u32,
    /// The registers with the first and the last address, if any.
    pub addresses: [Option<Register>; 2],
    /// The registers with the first and the last port, if any.
    pub ports: [Option<Register>; 2],
    /// `NF_NAT_RANGE_*`.
    pub flags: u32,
}

/// A match or target of iptables: [`super::xt`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: u32,
    /// Its C structure, in host byte order.
    pub info: Vec<u8>,
}
