//! The nf_tables expressions, in the kernel's own terms.

use super::{CtKey, FibResult, Foreign, MetaKey, Set};

/// One nf_tables expression.
///
/// Every other expression in a dump becomes [`Expr::Unknown`], which never equals anything that palisade writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// `meta`: loads a property of the packet or its interfaces.
    Meta {
        /// What to load.
        key: MetaKey,
        /// The destination register.
        dreg: Register,
    },
    /// `ct`: loads a property of the packet's connection.
    Ct {
        /// What to load.
        key: CtKey,
        /// The direction of the tuple, for the keys that have one.
        direction: Option<Direction>,
        /// The destination register.
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
        /// The destination register.
        dreg: Register,
    },
    /// `cmp`: continues if the comparison of the register's leading bytes with `data` holds.
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
        /// The value that the masked operand is xored with, as long as the mask.
        xor: Vec<u8>,
    },
    /// `lookup`: continues if the register's value is in the set. A map's value goes to `dreg`, or is the verdict.
    Lookup {
        /// The set or map.
        set: SetRef,
        /// The key.
        sreg: Register,
        /// The destination of a map's value; [`Register::Verdict`] for a verdict map.
        dreg: Option<Register>,
        /// Continues if the value is *not* in the set.
        inverted: bool,
    },
    /// `dynset`: adds the register's value to a set from the packet path, and runs `exprs` for that element.
    Dynset {
        /// The set's name.
        set: String,
        /// Whether to add, or to add and refresh the timeout.
        op: DynsetOp,
        /// The key.
        sreg_key: Register,
        /// The element's timeout in milliseconds; 0 means the set's default.
        timeout_ms: u64,
        /// The stateful expressions of the element.
        exprs: Vec<Expr>,
    },
    /// `fib`: looks up an address in the routing tables: its type, or the interface that packets to it leave by.
    Fib {
        /// The result to load.
        result: FibResult,
        /// The fields of the packet to look up, as [`fib_flags`](super::fib_flags).
        flags: u32,
        /// The destination register.
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
    /// An expression that palisade's filter rules don't have, but that it understands.
    Foreign(Foreign),
    /// An expression that this version does not know, or knows in other forms only.
    Unknown {
        /// The kernel's name of the expression.
        name: String,
        /// Its attributes as netlink had them.
        attributes: Vec<u8>,
    },
}

/// A register of the nf_tables virtual machine.
///
/// Data registers are counted in 32-bit slots: both `NFT_REG_1` and `NFT_REG32_00` begin at slot 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// `NFT_REG_VERDICT`.
    Verdict,
    /// A data register by its first 32-bit slot, 0 to 15.
    Data(u8),
}

impl Register {
    /// `NFT_REG_1`, the only register that rules with one operand need.
    pub const ONE: Self = Self::Data(0);

    /// The number to write. Uses the 16-byte numbering if the slot has a number there, as the kernel does in dumps.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Verdict => 0,
            Self::Data(slot) if slot % 4 == 0 => slot as u32 / 4 + 1,
            Self::Data(slot) => slot as u32 + 8,
        }
    }

    /// The register with a number of either numbering (`NFT_REG_1..4`, `NFT_REG32_00..15`); `None` for other numbers.
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

/// Conntrack state bits, as loaded by [`CtKey::State`].
pub mod ct_state {
    /// Belongs to no connection and can't begin one.
    pub const INVALID: u32 = 1;
    /// Belongs to a connection that has seen both directions.
    pub const ESTABLISHED: u32 = 2;
    /// Begins a connection, or carries an error, related to another connection.
    pub const RELATED: u32 = 4;
    /// Begins a connection.
    pub const NEW: u32 = 8;
    /// Is not tracked.
    pub const UNTRACKED: u32 = 64;
}

/// A direction of a conntrack tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// `IP_CT_DIR_ORIGINAL`: as in the connection's first packet, before NAT.
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
    /// The payload of the transport protocol (kernel 5.17 and newer).
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

/// Comparisons of `cmp` (`NFT_CMP_*`, in this order).
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

/// The set of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetRef {
    /// A named set or map of the same table.
    Named(String),
    /// An anonymous, constant set, which exists only with its rule. The kernel's name for it (`__set0`) is not kept.
    Anonymous(Box<Set>),
}

/// How `dynset` changes its set (`NFT_DYNSET_OP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DynsetOp {
    /// Adds the element if it is missing.
    Add,
    /// Adds the element, or refreshes its timeout.
    Update,
    /// Deletes the element.
    Delete,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Accepts; final for this base chain only: another table may still drop.
    Accept,
    /// Drops; final for the packet.
    Drop,
    /// Continues with the next rule.
    Continue,
    /// Returns to the calling chain.
    Return,
    /// Runs that chain, then returns.
    Jump(String),
    /// Runs that chain without returning.
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

    /// The unit's name in policies and in nft text.
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
    /// How many tokens are refilled per unit; never 0.
    pub rate: u64,
    /// The unit.
    pub unit: LimitUnit,
    /// The size of the bucket; never 0.
    pub burst: u32,
    /// Whether to match what *exceeds* the rate instead of what keeps to it.
    pub over: bool,
}

/// `log` to the kernel's log (`group: None`), or to an NFLOG group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// The prefix of each line, at most 127 bytes.
    pub prefix: String,
    /// The NFLOG group; `None` is the kernel's log at level `warn`.
    pub group: Option<u16>,
}

/// `reject`, for the inet family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// A TCP reset (`NFT_REJECT_TCP_RST`).
    TcpReset,
    /// An ICMP or ICMPv6 unreachable error, depending on the packet's family (`NFT_REJECT_ICMPX_UNREACH`).
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
