//! Sets and maps, and their elements.

use super::{Elements, Verdict};
use crate::net::Version;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// The bytes of a key or a value as in the kernel's registers: 1 to 64 bytes, up to 16 without an allocation.
pub type Key = SmallVec<[u8; 16]>;

/// A named or anonymous set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set {
    /// Everything but the elements.
    pub spec: SetSpec,
    /// The elements: sorted, without duplicates and, in an interval set, without overlaps. Empty for a set whose
    /// elements come from the packet path ([`SetFlags::DYNAMIC`]): those are live state, not policy.
    pub elements: Elements,
}

/// The size of a set that rules add to, if none is declared (`nft_dynset_init` in the kernel).
pub const DYNAMIC_SIZE: u32 = 65_535;

/// The definition of a set or map, without its elements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetSpec {
    /// The type of the keys.
    pub key: KeyType,
    /// What the keys map to; `None` for a set.
    pub value: Option<MapValue>,
    /// `NFT_SET_*` flags without [`SetFlags::MAP`] and `ANONYMOUS`, which follow from the form.
    pub flags: SetFlags,
    /// The maximum number of elements; `None` for no maximum.
    pub size: Option<u32>,
    /// The default timeout of an element in milliseconds; `None` without one.
    pub timeout_ms: Option<u64>,
    /// The set's comment (kernel 5.10 and newer).
    pub comment: Option<String>,
    /// Attributes that this version does not know, as received over netlink. Empty in everything that palisade
    /// writes.
    pub unknown: Vec<u8>,
}

impl SetSpec {
    /// Whether each element has a time of its own and comes from no packet: who is in it for a time is known to
    /// palisade's state, and is no part of a policy.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.flags.contains(SetFlags::TIMEOUT) && !self.flags.contains(SetFlags::DYNAMIC) && self.timeout_ms.is_none()
    }

    /// A set with such keys, without size, timeout or comment.
    #[must_use]
    pub fn new(key: KeyType, flags: SetFlags) -> Self {
        Self { key, value: None, flags, size: None, timeout_ms: None, comment: None, unknown: Vec::new() }
    }
}

/// The type of a key: nft's number for it and its length.
///
/// The kernel keeps the number without interpreting it; stock nft needs it to print the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyType {
    /// nft's datatype number.
    pub number: u32,
    /// The length of a key in bytes.
    pub len: u32,
}

impl KeyType {
    /// `ipv4_addr`.
    pub const IPV4_ADDR: Self = Self { number: 7, len: 4 };
    /// `ipv6_addr`.
    pub const IPV6_ADDR: Self = Self { number: 8, len: 16 };
    /// `inet_proto`.
    pub const INET_PROTO: Self = Self { number: 12, len: 1 };
    /// `inet_service`.
    pub const INET_SERVICE: Self = Self { number: 13, len: 2 };
    /// `icmp_type`.
    pub const ICMP_TYPE: Self = Self { number: 14, len: 1 };
    /// `uid`, in host byte order.
    pub const UID: Self = Self { number: 24, len: 4 };
    /// `ct_state`, in host byte order.
    pub const CT_STATE: Self = Self { number: 26, len: 4 };
    /// `icmpv6_type`.
    pub const ICMPV6_TYPE: Self = Self { number: 29, len: 1 };
    /// `ifname`, zero-padded; a string, which nft calls host byte order.
    pub const IFNAME: Self = Self { number: 41, len: 16 };
    /// `fib_addrtype`: an [`AddressType`](super::AddressType), in host byte order.
    pub const FIB_ADDRTYPE: Self = Self { number: 38, len: 4 };
    /// A string of up to 16 bytes: the type of `fib ... oifname` in nft before 1.0.8. Later versions use
    /// [`Self::IFNAME`].
    pub const STRING: Self = Self { number: 5, len: 16 };

    /// `ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service`: the source and destination of a packet.
    /// Each field begins at a 32-bit word.
    pub const FLOW_V4: Self = Self::flow(Self::IPV4_ADDR);
    /// `ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service`
    pub const FLOW_V6: Self = Self::flow(Self::IPV6_ADDR);

    /// `ipv4_addr` or `ipv6_addr`.
    #[must_use]
    pub const fn address(version: Version) -> Self {
        match version {
            Version::V4 => Self::IPV4_ADDR,
            Version::V6 => Self::IPV6_ADDR,
        }
    }

    /// [`Self::FLOW_V4`] or [`Self::FLOW_V6`].
    #[must_use]
    pub const fn whole_flow(version: Version) -> Self {
        match version {
            Version::V4 => Self::FLOW_V4,
            Version::V6 => Self::FLOW_V6,
        }
    }

    /// `ipv4_addr . inet_proto . inet_service` or `ipv6_addr . inet_proto . inet_service`: who asked for which port. Each
    /// field begins at a 32-bit word.
    #[must_use]
    pub const fn asked(version: Version) -> Self {
        let address = Self::address(version);
        let number = (address.number << 6 | Self::INET_PROTO.number) << 6 | Self::INET_SERVICE.number;
        Self { number, len: address.len + 2 * 4 }
    }

    /// nft numbers a concatenation by its parts, with six bits each, the first in the highest bits.
    const fn flow(address: Self) -> Self {
        let addresses = address.number << 6 | address.number;
        let number = ((addresses << 6 | Self::INET_PROTO.number) << 6 | Self::INET_SERVICE.number) << 6;
        Self { number: number | Self::INET_SERVICE.number, len: 2 * address.len + 3 * 4 }
    }

    /// The types of a concatenation's fields, each of which begins at a 32-bit word; `None` if it is no concatenation,
    /// or if the length of one is not known.
    #[must_use]
    pub fn fields(self) -> Option<Vec<Self>> {
        /// nft's numbers of types that have one length: `nf_proto`, `ether_addr`, `ether_type`, `mark`, `iface_index`,
        /// `uid`, `gid`, `ct_status`, and those above.
        const LENGTHS: [(u32, u32); 17] = [
            (2, 1),
            (7, 4),
            (8, 16),
            (9, 6),
            (10, 2),
            (12, 1),
            (13, 2),
            (14, 1),
            (19, 4),
            (20, 4),
            (24, 4),
            (25, 4),
            (26, 4),
            (28, 4),
            (29, 1),
            (38, 4),
            (41, 16),
        ];
        let mut fields = Vec::new();
        let mut rest = self.number;
        while rest != 0 {
            let (number, len) = LENGTHS.into_iter().find(|(number, _)| *number == rest & 0x3f)?;
            fields.insert(0, Self { number, len });
            rest >>= 6;
        }
        let len: u32 = fields.iter().map(|field| field.len.next_multiple_of(4)).sum();
        (fields.len() > 1 && len == self.len).then_some(fields)
    }

    /// nft's name of the type, for the types that palisade writes.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::IPV4_ADDR => "ipv4_addr",
            Self::IPV6_ADDR => "ipv6_addr",
            Self::INET_PROTO => "inet_proto",
            Self::INET_SERVICE => "inet_service",
            Self::ICMP_TYPE => "icmp_type",
            Self::UID => "uid",
            Self::CT_STATE => "ct_state",
            Self::ICMPV6_TYPE => "icmpv6_type",
            Self::IFNAME => "ifname",
            Self::FIB_ADDRTYPE => "fib_addrtype",
            Self::FLOW_V4 => "ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service",
            Self::FLOW_V6 => "ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service",
            _ => return None,
        })
    }

    /// Whether nft considers the type to be in host byte order. nft reads this from the set's userdata.
    #[must_use]
    pub fn is_host_order(self) -> bool {
        matches!(self, Self::UID | Self::CT_STATE | Self::IFNAME | Self::FIB_ADDRTYPE)
    }
}

/// The values of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapValue {
    /// Verdicts (`NFT_DATA_VERDICT`).
    Verdict,
    /// Data of that type.
    Data(KeyType),
    /// Stateful objects of that `NFT_OBJECT_*` type.
    Object(u32),
}

/// `NFT_SET_*` flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetFlags(pub u32);

impl SetFlags {
    /// Exists only with its rule.
    pub const ANONYMOUS: Self = Self(0x1);
    /// Can't be changed after it is bound.
    pub const CONSTANT: Self = Self(0x2);
    /// Holds intervals.
    pub const INTERVAL: Self = Self(0x4);
    /// Is a map.
    pub const MAP: Self = Self(0x8);
    /// Elements may time out.
    pub const TIMEOUT: Self = Self(0x10);
    /// The packet path adds elements (`NFT_SET_EVAL`).
    pub const DYNAMIC: Self = Self(0x20);
    /// Maps to stateful objects.
    pub const OBJECT: Self = Self(0x40);
    /// Concatenated intervals.
    pub const CONCAT: Self = Self(0x80);
    /// Each element carries stateful expressions.
    pub const EXPR: Self = Self(0x100);

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The values it matches.
    pub key: ElementKey,
    /// What it maps to; `None` in a set.
    pub value: Option<Box<ElementValue>>,
}

/// The values that an element matches. Ordered by the first value in any form, the catch-all last: thus an interval
/// set's elements are in the order of its intervals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ElementKey {
    /// One value.
    Single(Key),
    /// From the first to the last value, both included, as big-endian bytes. The first is less than the last.
    Range(Key, Key),
    /// Every value that no other element matches (`NFT_SET_ELEM_CATCHALL`, kernel 5.13 and newer).
    CatchAll,
}

impl ElementKey {
    /// The first and last value that the key matches; `None` for the catch-all.
    #[must_use]
    pub fn bounds(&self) -> Option<(&Key, &Key)> {
        match self {
            Self::Single(key) => Some((key, key)),
            Self::Range(first, last) => Some((first, last)),
            Self::CatchAll => None,
        }
    }
}

impl Ord for ElementKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.bounds(), other.bounds()) {
            (Some(these), Some(those)) => these.cmp(&those),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        // This program makes no range of one value, but such a range must not equal that value.
        .then_with(|| matches!(self, Self::Range(..)).cmp(&matches!(other, Self::Range(..))))
    }
}

impl PartialOrd for ElementKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The value of a map's element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementValue {
    /// A verdict.
    Verdict(Verdict),
    /// Data.
    Data(Key),
    /// A stateful object by name.
    Object(String),
    /// Nothing: the element of a set, which runs out after so many milliseconds from when it was read, or will be written.
    Expires(u64),
    /// The whole element as received over netlink, if it carries expressions although its set has none: a `limit` in
    /// an element decides whether the element matches. palisade writes no such elements.
    Unknown(Vec<u8>),
}

impl Element {
    /// An element of a set with one value.
    #[must_use]
    pub fn single(key: &[u8]) -> Self {
        Self { key: ElementKey::Single(Key::from_slice(key)), value: None }
    }

    /// An element from `first` to `last`, both included; a single value if they are equal.
    #[must_use]
    pub fn range(first: &[u8], last: &[u8]) -> Self {
        let key = if first == last {
            ElementKey::Single(Key::from_slice(first))
        } else {
            ElementKey::Range(Key::from_slice(first), Key::from_slice(last))
        };
        Self { key, value: None }
    }

    /// An element of a set that runs out after so many milliseconds.
    #[must_use]
    pub fn expiring(key: &[u8], milliseconds: u64) -> Self {
        Self { value: Some(Box::new(ElementValue::Expires(milliseconds))), ..Self::single(key) }
    }

    /// After how many milliseconds it runs out; `None` if it stays.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        match self.value.as_deref() {
            Some(ElementValue::Expires(milliseconds)) => Some(*milliseconds),
            _ => None,
        }
    }

    /// This element with a verdict as its value.
    #[must_use]
    pub fn with_verdict(self, verdict: Verdict) -> Self {
        Self { value: Some(Box::new(ElementValue::Verdict(verdict))), ..self }
    }
}
