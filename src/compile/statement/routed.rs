//! Statements on where packets go, who on this machine sends them, and translations.

use super::Statement;
use crate::compile::ending::RuleEnd;
use crate::net::{Transport, Version, header, octets};
use crate::ruleset::{
    AddressType, Cmp, CtKey, Direction, Expr, Foreign, MetaKey, Nat, PayloadBase, Register, SetRef, fib_flags,
};
use std::net::IpAddr;

/// `NF_NAT_RANGE_MAP_IPS`
const MAP_ADDRESSES: u32 = 1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`
const MAP_PORTS: u32 = 2;
/// RFC 792 and RFC 4443: echo request.
const ECHO_REQUEST: [(Version, u8); 2] = [(Version::V4, 8), (Version::V6, 128)];

impl Statement {
    /// This statement, then the other one.
    pub(in crate::compile) fn then(self, other: &Self) -> Self {
        other.0.iter().cloned().fold(self, Self::add)
    }

    /// Ends with a verdict.
    pub(in crate::compile) fn finished(self, end: &RuleEnd) -> Self {
        match end {
            RuleEnd::Verdict(verdict) => self.counter().verdict(verdict.clone()),
            RuleEnd::Chain(chain) => self.goto(chain),
        }
    }

    /// `meta skuid @outgoing.smtp.from.users`
    pub(in crate::compile) fn user_in(self, set: &str) -> Self {
        self.meta(MetaKey::SkUid).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    /// `saddr @lan-v4`, without the version, which must have been matched.
    pub(in crate::compile) fn source_of(self, version: Version, set: &str) -> Self {
        self.source(version).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    /// `ct original ip daddr @office-v4`, without the version, which must have been matched.
    pub(in crate::compile) fn original_destination_of(self, version: Version, set: &str) -> Self {
        let key = match version {
            Version::V4 => CtKey::DstIp,
            Version::V6 => CtKey::DstIp6,
        };
        self.ct(key, Some(Direction::Original)).lookup(SetRef::Named(set.to_owned()), None, false)
    }

    /// `icmp type echo-request`, `icmpv6 type echo-request`
    pub(in crate::compile) fn echo_request(self, version: Version) -> Self {
        let number = ECHO_REQUEST.into_iter().find(|(of, _)| *of == version).map_or(0, |(_, number)| number);
        self.version(version).icmp_type(version, &[number])
    }

    /// `ip daddr != 192.168.122.10`
    pub(in crate::compile) fn destination_is_not(self, address: IpAddr) -> Self {
        let version = Version::of(address);
        let (offset, len) = match version {
            Version::V4 => (16, 4),
            Version::V6 => (24, 16),
        };
        self.version(version).payload(PayloadBase::Network, offset, len).cmp(Cmp::Neq, &octets(address))
    }

    /// `tcp dport != 8443`
    pub(in crate::compile) fn destination_port_is_not(self, transport: Transport, port: u16) -> Self {
        self.l4proto(transport.number())
            .field(PayloadBase::Transport, header::ports::DESTINATION)
            .cmp(Cmp::Neq, &port.to_be_bytes())
    }

    /// `oifname "lo" ip daddr != 127.0.0.0/8`: sent by this machine to an address of its own.
    pub(in crate::compile) fn calls_own_address(self, version: Version) -> Self {
        let to_itself = self.oifname_is("lo").version(version);
        match version {
            Version::V4 => to_itself.payload(PayloadBase::Network, 16, 1).cmp(Cmp::Neq, &[127]),
            Version::V6 => {
                let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
                to_itself.payload(PayloadBase::Network, 24, 16).cmp(Cmp::Neq, &loopback)
            }
        }
    }

    /// `fib daddr type local`
    pub(in crate::compile) fn destination_is_local(self) -> Self {
        self.address_type(fib_flags::DADDR, Cmp::Eq, AddressType::Local)
    }

    /// `fib saddr type local`
    pub(in crate::compile) fn source_is_local(self) -> Self {
        self.address_type(fib_flags::SADDR, Cmp::Eq, AddressType::Local)
    }

    /// `masquerade`
    pub(in crate::compile) fn masquerade(self) -> Self {
        self.add(Expr::Foreign(Foreign::Masquerade { ports: [None, None], flags: 0 }))
    }

    /// `snat ip to 203.0.113.7`
    pub(in crate::compile) fn snat(self, address: IpAddr) -> Self {
        self.translate(false, address, None)
    }

    /// `dnat ip to 192.168.122.10:8443`. With a port, the transport must have been matched.
    pub(in crate::compile) fn dnat(self, address: IpAddr, port: Option<u16>) -> Self {
        self.translate(true, address, port)
    }

    fn translate(self, destination: bool, address: IpAddr, port: Option<u16>) -> Self {
        const PORT: Register = Register::Data(4);
        let loaded =
            self.add(Expr::Foreign(Foreign::Immediate { dreg: Register::ONE, data: octets(address).to_vec() }));
        let (loaded, ports, flags) = match port {
            None => (loaded, [None, None], MAP_ADDRESSES),
            Some(port) => {
                let data = port.to_be_bytes().to_vec();
                let loaded = loaded.add(Expr::Foreign(Foreign::Immediate { dreg: PORT, data }));
                (loaded, [Some(PORT), Some(PORT)], MAP_ADDRESSES | MAP_PORTS)
            }
        };
        loaded.add(Expr::Foreign(Foreign::Nat(Nat {
            destination,
            family: Version::of(address).nfproto().into(),
            addresses: [Some(Register::ONE), Some(Register::ONE)],
            ports,
            flags,
        })))
    }
}
