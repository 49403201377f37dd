//! Statements that ask the routing.

use super::{Statement, Version, anonymous, interface_elements};
use crate::resolve::Interface;
use crate::ruleset::address_type::{ANYCAST, LOCAL, MULTICAST, UNICAST};
use crate::ruleset::{
    Cmp, Element, Expr, FibResult, KeyType, PayloadBase, Register, Set, SetFlags, SetRef, SetSpec, fib_flags,
};
use std::collections::BTreeSet;

impl Statement {
    fn fib(self, result: FibResult, flags: u32) -> Self {
        self.add(Expr::Fib { result, flags, dreg: Register::ONE })
    }

    fn own_address(self, flags: u32) -> Self {
        let elements = [LOCAL, ANYCAST].map(|kind| Element::single(&kind.to_ne_bytes()));
        let own = anonymous(KeyType::FIB_ADDRTYPE, None, elements.into());
        self.fib(FibResult::Type, flags).lookup(own, None, false)
    }

    fn address_type(self, flags: u32, op: Cmp, kind: u32) -> Self {
        self.fib(FibResult::Type, flags).cmp(op, &kind.to_ne_bytes())
    }

    /// `fib saddr type { local, anycast }`: an address of this machine.
    pub(in crate::compile) fn source_is_own(self) -> Self {
        self.own_address(fib_flags::SADDR)
    }

    /// `fib daddr type { local, anycast }`
    pub(in crate::compile) fn destination_is_own(self) -> Self {
        self.own_address(fib_flags::DADDR)
    }

    /// `ip6 saddr fe80::/10 fib saddr . iif type local`: an address of the interface that the packet came in by, which the
    /// kernel looks for on a bridge's port unless it is told.
    pub(in crate::compile) fn source_is_own_of_link(self) -> Self {
        self.source_is_link_local().address_type(fib_flags::SADDR | fib_flags::IIF, Cmp::Eq, LOCAL)
    }

    /// `ip6 daddr fe80::/10 fib daddr . iif type local`
    pub(in crate::compile) fn destination_is_own_of_link(self) -> Self {
        self.destination_is_link_local().address_type(fib_flags::DADDR | fib_flags::IIF, Cmp::Eq, LOCAL)
    }

    /// `ip6 daddr fe80::/10`
    pub(in crate::compile) fn destination_is_link_local(self) -> Self {
        self.version(Version::V6).payload(PayloadBase::Network, 24, 16).is_link_local()
    }

    /// `fib daddr type unicast`
    pub(in crate::compile) fn destination_is_unicast(self) -> Self {
        self.address_type(fib_flags::DADDR, Cmp::Eq, UNICAST)
    }

    /// `fib daddr type != multicast`
    pub(in crate::compile) fn destination_is_no_group(self) -> Self {
        self.address_type(fib_flags::DADDR, Cmp::Neq, MULTICAST)
    }

    /// `fib saddr . iif oif missing`: what is sent to the source would not leave by where this came in.
    pub(in crate::compile) fn no_return_path(self) -> Self {
        self.fib(FibResult::Oif, fib_flags::SADDR | fib_flags::IIF | fib_flags::PRESENT).cmp(Cmp::Eq, &[0])
    }

    /// `fib saddr oifname { "docker0", "br-*" }`: what is sent to the source would leave by one of these. The set stands in
    /// the rule: to nft 1.0.6 it is of another type than a set of interfaces.
    pub(in crate::compile) fn source_routes_to(self, interfaces: &BTreeSet<Interface>) -> Self {
        self.fib(FibResult::OifName, fib_flags::SADDR).lookup(interface_set(interfaces), None, false)
    }

    /// `fib daddr oifname != { "docker0", "br-*" }`
    pub(in crate::compile) fn destination_routes_elsewhere(self, interfaces: &BTreeSet<Interface>) -> Self {
        self.fib(FibResult::OifName, fib_flags::DADDR).lookup(interface_set(interfaces), None, true)
    }
}

/// `{ "docker0", "br-*" }`
fn interface_set(interfaces: &BTreeSet<Interface>) -> SetRef {
    let spec = SetSpec::new(KeyType::IFNAME, SetFlags::CONSTANT.with(SetFlags::INTERVAL));
    SetRef::Anonymous(Box::new(Set { spec, elements: interface_elements(interfaces).into() }))
}
