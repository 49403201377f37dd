//! The nf_tables expressions, in the kernel's own terms.

use super::{CtKey, FibResult, Foreign, MetaKey, Set};

/// One nf_tables expression.
///
/// What a dump holds beyond this list becomes [`Expr::Unknown`], which is never equal to anything palisade writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// `meta`: loads a property of the packet or its interfaces.
    Meta {
        /// What to load.
        key: MetaKey,
        /// Where to.
        dreg: Register,
    },
    /// `ct`: loads a property of the packet's connection.
    Ct {
        /// What to load.
        key: CtKey,
        /// The direction of the tuple, for the keys that have one.
        direction: Option<Direction>,
        /// Where to.
        dreg: Register,
    },
    /// `payload`: loads bytes of the packet.
    Payload {
        /// The header that `offset` counts from.
        base: PayloadBase,
        /// Bytes from the start of that header.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Where to.
        dreg: Register,
    },
    /// `cmp`: goes on when the register's first bytes compare so with `data`.
    Cmp {
        /// The comparison.
        op: Cmp,
        /// The register compared.
        sreg: Register,
        /// The bytes it is compared with, in the register's byte order.
        data: Vec<u8>,
    },
    /// `bitwise`: `dreg = (sreg & mask) ^ xor`.
    Bitwise {
        /// The operand.
        sreg: Register,
        /// The result.
        dreg: Register,
        /// The mask, as long as the operand.
        mask: Vec<u8>,
        /// What the masked operand is xored with, as long as the mask.
        xor: Vec<u8>,
    },
    /// `lookup`: goes on when the register's value is in the set; a map's value goes to `dreg`, or is the verdict.
    Lookup {
        /// The set or map.
        set: SetRef,
        /// The key.
        sreg: Register,
        /// Where a map's value goes; [`Register::Verdict`] for a verdict map.
        dreg: Option<Register>,
        /// Goes on when the value is *not* in the set.
        inverted: bool,
    },
    /// `dynset`: adds the register's value to a set from the packet path, and runs `exprs` for that element.
    Dynset {
        /// The set's name.
        set: String,
        /// Add, or add and refresh the timeout.
        op: DynsetOp,
        /// The key.
        sreg_key: Register,
        /// The element's timeout in milliseconds; 0 is the set's own.
        timeout_ms: u64,
        /// The stateful expressions of the element.
        exprs: Vec<Expr>,
    },
    /// `fib`: asks the routing what an address is, or by which interface packets go to it.
    Fib {
        /// What is asked for.
        result: FibResult,
        /// Of which fields of the packet: [`fib_flags`](super::fib_flags).
        flags: u32,
        /// Where to.
        dreg: Register,
    },
    /// `immediate` with a verdict.
    Verdict(Verdict),
    /// `counter`. The values are live state, not policy: the canonical form blanks them.
    Counter {
        /// Packets that passed.
        packets: u64,
        /// Bytes that passed.
        bytes: u64,
    },
    /// `limit`.
    Limit(Limit),
    /// `log`.
    Log(Log),
    /// `reject`.
    Reject(Reject),
    /// What palisade never writes, and understands.
    Foreign(Foreign),
    /// An expression, or a form of one, that this version does not know.
    Unknown {
        /// The kernel's name for it.
        name: String,
        /// Its attributes as netlink had them.
        attributes: Vec<u8>,
    },
}

/// A register of the nf_tables virtual machine.
///
/// Data registers are counted in 32-bit slots: slot 0 is where both `NFT_REG_1` and `NFT_REG32_00` begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// `NFT_REG_VERDICT`.
    Verdict,
    /// A data register by its first 32-bit slot, 0 to 15.
    Data(u8),
}

impl Register {
    /// `NFT_REG_1`, the one register that rules with one operand need.
    pub const ONE: Self = Self::Data(0);

    /// The number to write: 16-byte numbering where a slot has one, as the kernel itself dumps it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Verdict => 0,
            Self::Data(slot) if slot % 4 == 0 => slot as u32 / 4 + 1,
            Self::Data(slot) => slot as u32 + 8,
        }
    }

    /// The register of either numbering (`NFT_REG_1..4`, `NFT_REG32_00..15`); `None` for a number that is neither.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Verdict),
            1..=4 => Some(Self::Data((number as u8 - 1) * 4)),
            8..=23 => Some(Self::Data(number as u8 - 8)),
            _ => None,
        }
    }
}

/// Conntrack state bits, as [`CtKey::State`] loads them.
pub mod ct_state {
    /// Belongs to no connection and can't begin one.
    pub const INVALID: u32 = 1;
    /// Belongs to a connection that has seen both directions.
    pub const ESTABLISHED: u32 = 2;
    /// Begins a connection, or carries an error, that belongs to another connection.
    pub const RELATED: u32 = 4;
    /// Begins a connection.
    pub const NEW: u32 = 8;
    /// Is not tracked.
    pub const UNTRACKED: u32 = 64;
}

/// A direction of a conntrack tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// `IP_CT_DIR_ORIGINAL`: as the connection's first packet had it before NAT.
    Original,
    /// `IP_CT_DIR_REPLY`.
    Reply,
}

/// The header that a payload offset counts from (`NFT_PAYLOAD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadBase {
    /// Link layer.
    Link,
    /// Network header.
    Network,
    /// Transport header.
    Transport,
    /// What the transport header carries (kernel 5.17 and newer).
    Inner,
    /// Another base by number.
    Other(u32),
}

impl PayloadBase {
    /// The `NFT_PAYLOAD_*` number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Link => 0,
            Self::Network => 1,
            Self::Transport => 2,
            Self::Inner => 3,
            Self::Other(number) => number,
        }
    }

    /// The base of an `NFT_PAYLOAD_*` number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Link,
            1 => Self::Network,
            2 => Self::Transport,
            3 => Self::Inner,
            other => Self::Other(other),
        }
    }
}

/// Comparisons of `cmp` (`NFT_CMP_*`, in that order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
    /// Less, as big-endian bytes.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
}

/// The set that a lookup asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetRef {
    /// A named set or map of the same table.
    Named(String),
    /// An anonymous, constant set that lives and dies with its rule. The kernel's name for it (`__set0`) is not kept.
    Anonymous(Box<Set>),
}

/// How `dynset` changes its set (`NFT_DYNSET_OP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DynsetOp {
    /// Add the element when it is missing.
    Add,
    /// Add the element, or refresh its timeout.
    Update,
    /// Delete the element.
    Delete,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Final for this base chain only: another table may still drop.
    Accept,
    /// Final for the packet.
    Drop,
    /// Go on with the next rule.
    Continue,
    /// Go back to the calling chain.
    Return,
    /// Run that chain and come back.
    Jump(String),
    /// Run that chain and do not come back.
    Goto(String),
    /// Another verdict by code (queue, stolen).
    Other(i32),
}

/// The unit of a rate, in seconds as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitUnit {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
    /// 86,400 s.
    Day,
    /// 604,800 s.
    Week,
}

impl LimitUnit {
    /// All units, shortest first.
    pub const ALL: [Self; 5] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week];

    /// The length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
        }
    }

    /// The word for it, in policies and in nft text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }
}

/// `limit` in packets: a token bucket of `burst`, refilled with `rate` tokens every `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    /// Tokens that come back every unit; never 0.
    pub rate: u64,
    /// The unit.
    pub unit: LimitUnit,
    /// What the bucket holds; never 0.
    pub burst: u32,
    /// Matches what *exceeds* the rate instead of what keeps to it.
    pub over: bool,
}

/// `log` to the kernel's log (`group: None`), or to an NFLOG group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// What each line begins with, at most 127 bytes.
    pub prefix: String,
    /// The NFLOG group; `None` is the kernel's log at level `warn`.
    pub group: Option<u16>,
}

/// `reject`, for the inet family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// A TCP reset (`NFT_REJECT_TCP_RST`).
    TcpReset,
    /// An ICMP or ICMPv6 unreachable, as the packet's family wants it (`NFT_REJECT_ICMPX_UNREACH`).
    Icmpx(IcmpxCode),
}

/// `NFT_REJECT_ICMPX_*` codes, in the kernel's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpxCode {
    /// No route to the network.
    NoRoute,
    /// Port unreachable.
    PortUnreachable,
    /// Host unreachable.
    HostUnreachable,
    /// Administratively prohibited.
    AdminProhibited,
}
