//! The intermediate form: an nf_tables ruleset as plain data.
//!
//! [`compile`](crate::compile) produces this form, a live dump is decoded to it, equality compares it, and it is
//! encoded to netlink and printed as nft text. It holds no kernel handles: these are kept beside it in a
//! [`Snapshot`](crate::netlink::Snapshot).
//!
//! Byte order: set keys, compared data and masks are kept as the bytes that the kernel's registers hold. Addresses
//! and ports are in network order; values that the kernel keeps in host order (conntrack state and status) are in
//! host order. Names follow `include/uapi/linux/netfilter/nf_tables.h`.

mod canonical;
mod dnat;
mod elements;
mod expr;
mod fib;
mod flags;
mod foreign;
pub mod graph;
mod keys;
mod manifest;
pub mod provenance;
pub mod registers;
mod set;
mod transaction;
pub mod xt;

pub use dnat::{Dnat, dnat, matched, snat};
pub use elements::{Address, Elements, PackedView};
pub use expr::{
    Cmp, Direction, DynsetOp, Expr, IcmpxCode, Limit, LimitUnit, Log, PayloadBase, Register, Reject, SetRef, Verdict,
    ct_state,
};
pub use fib::{AddressType, FibResult, fib_flags};
pub use flags::TableFlags;
pub use foreign::{Extension, Foreign, Nat};
pub use keys::{CtKey, MetaKey};
pub use manifest::{Digest, MANIFEST, is_large};
pub use provenance::{Origin, Provenance};
pub use set::{DYNAMIC_SIZE, Element, ElementKey, ElementValue, Key, KeyType, MapValue, Set, SetFlags, SetSpec};
pub use transaction::{Op, Transaction};

use std::collections::{BTreeMap, BTreeSet};

/// The longest comment in bytes: libnftnl and nft keep 128, of which two are a header and one is a zero.
pub const MAX_COMMENT: usize = 125;

/// The set of `table inet palisade` with the flows that this machine sends over IPv4 on connections that lost their
/// access, as [`KeyType::FLOW_V4`]. Code that ends a connection adds to it.
pub const REVOKED_V4: &str = "policy.revoked-v4";

/// The same for IPv6, as [`KeyType::FLOW_V6`].
pub const REVOKED_V6: &str = "policy.revoked-v6";

/// Like [`REVOKED_V4`], for exchanges of UDP datagrams, whose first packet looks like any other.
pub const REVOKED_UDP_V4: &str = "policy.revoked-udp-v4";

/// The same for IPv6.
pub const REVOKED_UDP_V6: &str = "policy.revoked-udp-v6";

/// All tables of one network namespace, or those that were requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ruleset {
    /// The tables by family and name.
    pub tables: BTreeMap<TableId, Table>,
}

/// The address family of a table (`NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `NFPROTO_INET`: IPv4 and IPv6 in one table.
    Inet,
    /// `NFPROTO_IPV4`.
    Ip,
    /// `NFPROTO_IPV6`.
    Ip6,
    /// `NFPROTO_ARP`.
    Arp,
    /// `NFPROTO_BRIDGE`.
    Bridge,
    /// `NFPROTO_NETDEV`.
    Netdev,
    /// A family that this version does not know.
    Other(u8),
}

impl Family {
    /// The `NFPROTO_*` number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
            Self::Other(number) => number,
        }
    }

    /// The family of an `NFPROTO_*` number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet => f.write_str("inet"),
            Self::Ip => f.write_str("ip"),
            Self::Ip6 => f.write_str("ip6"),
            Self::Arp => f.write_str("arp"),
            Self::Bridge => f.write_str("bridge"),
            Self::Netdev => f.write_str("netdev"),
            Self::Other(number) => write!(f, "family-{number}"),
        }
    }
}

/// Identifies a table: family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The address family.
    pub family: Family,
    /// The name, at most 255 bytes.
    pub name: String,
}

impl TableId {
    /// `table inet palisade`, the only table that palisade writes.
    #[must_use]
    pub fn palisade() -> Self {
        Self { family: Family::Inet, name: "palisade".to_owned() }
    }
}

impl std::fmt::Display for TableId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table {} {}", self.family, self.name)
    }
}

/// A table: chains with their rules, sets and maps with their elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Its flags.
    pub flags: TableFlags,
    /// The table's comment (kernel 5.10 and newer).
    pub comment: Option<String>,
    /// The chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// The named sets and maps by name. Anonymous ones are inside the rules that use them.
    pub sets: BTreeMap<String, Set>,
    /// Everything else in the table, one description each ("counter hits", "flowtable ft"). palisade creates no such
    /// objects, so each is drift.
    pub others: BTreeSet<String>,
}

/// A chain: a base chain if it is attached to a hook, otherwise one that rules jump to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// Its attachment to a hook, if any.
    pub base: Option<BaseChain>,
    /// The chain's comment (kernel 5.10 and newer).
    pub comment: Option<String>,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// How a base chain is attached to the packet path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseChain {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook.
    pub hook: Hook,
    /// The order among the chains of a hook, lowest first; `filter` is 0, `raw` -300.
    pub priority: i32,
    /// The verdict at the chain's end.
    pub policy: Policy,
    /// The devices of a netdev chain; empty elsewhere.
    pub devices: BTreeSet<String>,
}

/// A netfilter hook of the inet, ip and ip6 families (`NF_INET_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before the routing decision.
    Prerouting,
    /// Packets to this machine.
    Input,
    /// Packets through this machine.
    Forward,
    /// Packets from this machine.
    Output,
    /// Before the packet leaves.
    Postrouting,
    /// Another family's hook, by number.
    Other(u32),
}

impl Hook {
    /// The `NF_INET_*` number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
            Self::Other(number) => number,
        }
    }

    /// The hook of an `NF_INET_*` number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Prerouting,
            1 => Self::Input,
            2 => Self::Forward,
            3 => Self::Output,
            4 => Self::Postrouting,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prerouting => f.write_str("prerouting"),
            Self::Input => f.write_str("input"),
            Self::Forward => f.write_str("forward"),
            Self::Output => f.write_str("output"),
            Self::Postrouting => f.write_str("postrouting"),
            Self::Other(number) => write!(f, "hook-{number}"),
        }
    }
}

/// The verdict at the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// `NF_DROP`.
    Drop,
    /// `NF_ACCEPT`.
    Accept,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Accept => "accept",
        })
    }
}

/// A rule: expressions that run in order until one does not match or gives a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// The expressions.
    pub exprs: Vec<Expr>,
    /// The comment, at most 125 bytes so that stock nft shows it.
    pub comment: Option<String>,
}
