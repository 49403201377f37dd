//! `reject`.

use super::{Draft, Fields};
use crate::ruleset::{Expr, Foreign, IcmpxCode, Reject};
use nftnl_sys as sys;

const TYPE: u16 = 1;
const CODE: u16 = 2;
/// `NFT_REJECT_TCP_RST`.
const TCP_RESET: u32 = 1;
/// `NFT_REJECT_ICMPX_UNREACH`.
const ICMPX: u32 = 2;

/// Indexed by their kernel numbers.
const CODES: [IcmpxCode; 4] =
    [IcmpxCode::NoRoute, IcmpxCode::PortUnreachable, IcmpxCode::HostUnreachable, IcmpxCode::AdminProhibited];

pub(super) fn draft<'a>(reject: Reject) -> Draft<'a> {
    let (kind, code) = match reject {
        Reject::TcpReset => (TCP_RESET, 0),
        Reject::Icmpx(code) => (ICMPX, code as u8),
    };
    Draft::new(c"reject").u32(sys::NFTNL_EXPR_REJECT_TYPE, kind).u8(sys::NFTNL_EXPR_REJECT_CODE, code)
}

/// The forms for both IP versions.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<3>::exactly(data)?;
    match fields.u32(TYPE)? {
        TCP_RESET => fields.is_default(CODE, 0).then_some(Expr::Reject(Reject::TcpReset)),
        ICMPX => Some(Expr::Reject(Reject::Icmpx(*CODES.get(usize::from(fields.u8(CODE)?))?))),
        _ => None,
    }
}

/// Any form, such as an ICMP code of one IP version.
pub(super) fn decode_foreign(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(data)?;
    let code = match fields.get(CODE) {
        None => 0,
        Some(_) => fields.u8(CODE)?,
    };
    Some(Foreign::Reject { kind: fields.u32(TYPE)?, code })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{both_ways, read_as};
    use super::*;

    #[test]
    fn a_packet_is_refused_by_a_reset_or_by_icmp() {
        // reject with tcp reset
        both_ways(
            &Expr::Reject(Reject::TcpReset),
            "0b000100 72656a65 63740000
             14000280
             08000100 00000001
             05000200 00000000",
        );
        // reject with icmpx admin-prohibited
        both_ways(
            &Expr::Reject(Reject::Icmpx(IcmpxCode::AdminProhibited)),
            "0b000100 72656a65 63740000
             14000280
             08000100 00000002
             05000200 03000000",
        );
        // reject with icmp port-unreachable
        read_as(
            "0b000100 72656a65 63740000
             14000280
             08000100 00000000
             05000200 03000000",
            Foreign::Reject { kind: 0, code: 3 },
        );
    }
}
