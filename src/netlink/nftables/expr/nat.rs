//! `nat`, `masq` and `redir`: another source or destination for a connection.

use super::{Draft, Fields, maybe_register, number};
use crate::ruleset::{Foreign, Nat};
use nftnl_sys as sys;

/// `NFTA_NAT_*`.
mod statement {
    pub(super) const TYPE: u16 = 1;
    pub(super) const FAMILY: u16 = 2;
    pub(super) const ADDR_MIN: u16 = 3;
    pub(super) const ADDR_MAX: u16 = 4;
    pub(super) const PROTO_MIN: u16 = 5;
    pub(super) const PROTO_MAX: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    /// `NFT_NAT_SNAT` and `NFT_NAT_DNAT`.
    pub(super) const SOURCE: u32 = 0;
    pub(super) const DESTINATION: u32 = 1;
}

/// `NFTA_MASQ_*`.
mod masq {
    pub(super) const FLAGS: u16 = 1;
    pub(super) const PROTO_MIN: u16 = 2;
    pub(super) const PROTO_MAX: u16 = 3;
}

/// `NFTA_REDIR_*`.
mod redir {
    pub(super) const PROTO_MIN: u16 = 1;
    pub(super) const PROTO_MAX: u16 = 2;
    pub(super) const FLAGS: u16 = 3;
}

/// The kernel reports a single address, or port, as the first and the last one.
pub(super) fn draft<'a>(nat: Nat) -> Draft<'a> {
    let registers = [
        (sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, nat.addresses[0]),
        (sys::NFTNL_EXPR_NAT_REG_ADDR_MAX, nat.addresses[1]),
        (sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, nat.ports[0]),
        (sys::NFTNL_EXPR_NAT_REG_PROTO_MAX, nat.ports[1]),
    ];
    let draft = Draft::new(c"nat")
        .u32(sys::NFTNL_EXPR_NAT_TYPE, nat.destination.into())
        .u32(sys::NFTNL_EXPR_NAT_FAMILY, nat.family);
    let draft = registers.into_iter().fold(draft, |draft, (attribute, register)| match register {
        Some(register) => draft.register(attribute, register),
        None => draft,
    });
    draft.u32(sys::NFTNL_EXPR_NAT_FLAGS, nat.flags)
}

pub(super) fn decode(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<8>::exactly(data)?;
    let destination = match fields.u32(statement::TYPE)? {
        statement::SOURCE => false,
        statement::DESTINATION => true,
        _ => return None,
    };
    Some(Foreign::Nat(Nat {
        destination,
        family: fields.u32(statement::FAMILY)?,
        addresses: [maybe_register(&fields, statement::ADDR_MIN)?, maybe_register(&fields, statement::ADDR_MAX)?],
        ports: [maybe_register(&fields, statement::PROTO_MIN)?, maybe_register(&fields, statement::PROTO_MAX)?],
        flags: number(&fields, statement::FLAGS)?,
    }))
}

pub(super) fn decode_masquerade(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<4>::exactly(data)?;
    let ports = [maybe_register(&fields, masq::PROTO_MIN)?, maybe_register(&fields, masq::PROTO_MAX)?];
    Some(Foreign::Masquerade { flags: number(&fields, masq::FLAGS)?, ports })
}

pub(super) fn decode_redirect(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<4>::exactly(data)?;
    let ports = [maybe_register(&fields, redir::PROTO_MIN)?, maybe_register(&fields, redir::PROTO_MAX)?];
    Some(Foreign::Redirect { ports, flags: number(&fields, redir::FLAGS)? })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{both_ways, read_as};
    use super::*;

    use crate::ruleset::{Expr, Register};

    #[test]
    fn palisade_translates_to_one_address_and_port_or_masquerades() {
        // dnat ip to 192.168.122.10:8443, in registers 1 and 2
        both_ways(
            &Expr::Foreign(Foreign::Nat(Nat {
                destination: true,
                family: 2,
                addresses: [Some(Register::ONE), Some(Register::ONE)],
                ports: [Some(Register::Data(4)), Some(Register::Data(4))],
                flags: 3,
            })),
            "08000100 6e617400
             3c000280
             08000100 00000001
             08000200 00000002
             08000300 00000001
             08000400 00000001
             08000500 00000002
             08000600 00000002
             08000700 00000003",
        );
        // masquerade
        both_ways(
            &Expr::Foreign(Foreign::Masquerade { ports: [None, None], flags: 0 }),
            "09000100 6d617371 00000000
             04000280",
        );
    }

    #[test]
    fn a_connection_gets_another_address_or_port() {
        // dnat ip to reg 1 : reg 9
        read_as(
            "08000100 6e617400
             2c000280
             08000100 00000001
             08000200 00000002
             08000300 00000001
             08000500 00000009
             08000700 00000002",
            Foreign::Nat(Nat {
                destination: true,
                family: 2,
                addresses: [Some(Register::ONE), None],
                ports: [Some(Register::Data(1)), None],
                flags: 2,
            }),
        );
        // masquerade random
        read_as(
            "09000100 6d617371 00000000
             0c000280
             08000100 00000004",
            Foreign::Masquerade { flags: 4, ports: [None, None] },
        );
        // redirect to reg 1
        read_as(
            "0a000100 72656469 72000000
             14000280
             08000100 00000001
             08000300 00000002",
            Foreign::Redirect { ports: [Some(Register::ONE), None], flags: 2 },
        );
    }
}
