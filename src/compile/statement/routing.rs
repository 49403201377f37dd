//! Statements that match on routing.

use super::{Statement, anonymous, interface_elements};
use crate::net::Version;
use crate::net::{IfName, IfPattern};
use crate::ruleset::{
    AddressType, Cmp, Element, Elements, Expr, FibResult, KeyType, PayloadBase, Register, Set, SetFlags, SetRef,
    SetSpec, fib_flags,
};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv4 addresses that are not routed on the internet: those of RFC 1918, RFC 6598 and RFC 3927, and all from
/// 224.0.0.0 on (multicast and broadcast).
const NOT_PUBLIC: [(Ipv4Addr, Ipv4Addr); 6] = [
    (Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 255, 255, 255)),
    (Ipv4Addr::new(100, 64, 0, 0), Ipv4Addr::new(100, 127, 255, 255)),
    (Ipv4Addr::new(169, 254, 0, 0), Ipv4Addr::new(169, 254, 255, 255)),
    (Ipv4Addr::new(172, 16, 0, 0), Ipv4Addr::new(172, 31, 255, 255)),
    (Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::new(192, 168, 255, 255)),
    (Ipv4Addr::new(224, 0, 0, 0), Ipv4Addr::new(255, 255, 255, 255)),
];
/// The same for IPv6: unique-local addresses, and link-local and multicast ones (RFC 4291).
const NOT_PUBLIC_V6: [(Ipv6Addr, Ipv6Addr); 3] =
    [network_v6(0xfc00, 7), network_v6(0xfe80, 10), network_v6(0xff00, 8)];

/// The first and last address of a network, given its first 16 bits and its prefix length.
const fn network_v6(first: u16, length: u32) -> (Ipv6Addr, Ipv6Addr) {
    let first = (first as u128) << 112;
    (Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(first | u128::MAX >> length))
}

impl Statement {
    fn fib(self, result: FibResult, flags: u32) -> Self {
        self.add(Expr::Fib { result, flags, dreg: Register::ONE })
    }

    fn own_address(self, flags: u32, inverted: bool) -> Self {
        let elements =
            [AddressType::Local, AddressType::Anycast].map(|kind| Element::single(&kind.number().to_ne_bytes()));
        let own = anonymous(KeyType::FIB_ADDRTYPE, None, elements.into());
        self.fib(FibResult::Type, flags).lookup(own, None, inverted)
    }

    pub(super) fn address_type(self, flags: u32, op: Cmp, kind: AddressType) -> Self {
        self.fib(FibResult::Type, flags).cmp(op, &kind.number().to_ne_bytes())
    }

    /// `fib saddr type { local, anycast }`: an address of this machine.
    pub(in crate::compile) fn source_is_own(self) -> Self {
        self.own_address(fib_flags::SADDR, false)
    }

    /// `fib daddr type { local, anycast }`
    pub(in crate::compile) fn destination_is_own(self) -> Self {
        self.own_address(fib_flags::DADDR, false)
    }

    /// `fib daddr type != { local, anycast }`
    pub(in crate::compile) fn destination_is_not_own(self) -> Self {
        self.own_address(fib_flags::DADDR, true)
    }

    /// `ip6 saddr fe80::/10 fib saddr . iif type local`: an address of the incoming interface. Without `iif`, the
    /// kernel looks for link-local addresses on a bridge's port.
    pub(in crate::compile) fn source_is_own_of_link(self) -> Self {
        self.source_is_link_local().address_type(fib_flags::SADDR | fib_flags::IIF, Cmp::Eq, AddressType::Local)
    }

    /// `meta nfproto ipv6 fib daddr . iif type local`
    pub(in crate::compile) fn destination_is_own_of_link(self) -> Self {
        self.version(Version::V6).address_type(fib_flags::DADDR | fib_flags::IIF, Cmp::Eq, AddressType::Local)
    }

    /// `fib daddr . iif oif exists`: the route to the destination leaves by the incoming interface.
    pub(in crate::compile) fn destination_is_on_the_link(self) -> Self {
        self.fib(FibResult::Oif, fib_flags::DADDR | fib_flags::IIF | fib_flags::PRESENT).cmp(Cmp::Eq, &[1, 0, 0, 0])
    }

    /// `fib daddr type unicast`
    pub(in crate::compile) fn destination_is_unicast(self) -> Self {
        self.address_type(fib_flags::DADDR, Cmp::Eq, AddressType::Unicast)
    }

    /// `fib daddr type != multicast`
    pub(in crate::compile) fn destination_is_no_group(self) -> Self {
        self.address_type(fib_flags::DADDR, Cmp::Neq, AddressType::Multicast)
    }

    /// `ip daddr != { 10.0.0.0/8, ... }`: an address that is routed on the internet.
    pub(in crate::compile) fn destination_is_public(self, version: Version) -> Self {
        let (at, length, elements) = match version {
            Version::V4 => (16, 4, Elements::of_addresses(&NOT_PUBLIC)),
            Version::V6 => (24, 16, Elements::of_addresses(&NOT_PUBLIC_V6)),
        };
        let spec = SetSpec::new(KeyType::address(version), SetFlags::CONSTANT.with(SetFlags::INTERVAL));
        let private = SetRef::Anonymous(Box::new(Set { spec, elements }));
        self.version(version).payload(PayloadBase::Network, at, length).lookup(private, None, true)
    }

    /// `fib saddr . iif oif missing`: no route to the source leaves by the incoming interface.
    pub(in crate::compile) fn no_return_path(self) -> Self {
        self.fib(FibResult::Oif, fib_flags::SADDR | fib_flags::IIF | fib_flags::PRESENT).cmp(Cmp::Eq, &[0; 4])
    }

    /// `{ "docker0", "br-*" }`: nft compares with a single name instead of looking it up.
    fn one_of(self, interfaces: &BTreeSet<IfPattern>, inverted: bool) -> Self {
        let mut names = interfaces.iter();
        match (names.next(), names.next()) {
            (Some(only), None) => {
                let name = IfName::new(&only.name);
                let len = if only.wildcard { only.name.len() } else { name.bytes().len() };
                let op = if inverted { Cmp::Neq } else { Cmp::Eq };
                self.cmp(op, name.bytes().get(..len).unwrap_or(name.bytes()))
            }
            _ => self.lookup(interface_set(interfaces), None, inverted),
        }
    }

    /// `fib saddr oifname { "docker0", "br-*" }`: the route to the source leaves by one of these. The set is
    /// anonymous: to nft 1.0.6 its type differs from that of a set of interfaces.
    pub(in crate::compile) fn source_routes_to(self, interfaces: &BTreeSet<IfPattern>) -> Self {
        self.fib(FibResult::OifName, fib_flags::SADDR).one_of(interfaces, false)
    }

    /// `fib daddr oifname != { "docker0", "br-*" }`
    pub(in crate::compile) fn destination_routes_elsewhere(self, interfaces: &BTreeSet<IfPattern>) -> Self {
        self.fib(FibResult::OifName, fib_flags::DADDR).one_of(interfaces, true)
    }
}

/// `{ "docker0", "br-*" }`
fn interface_set(interfaces: &BTreeSet<IfPattern>) -> SetRef {
    let spec = SetSpec::new(KeyType::IFNAME, SetFlags::CONSTANT.with(SetFlags::INTERVAL));
    SetRef::Anonymous(Box::new(Set { spec, elements: interface_elements(interfaces).into() }))
}
