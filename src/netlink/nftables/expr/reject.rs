//! `reject` for the inet family.

use super::{Draft, Fields};
use crate::ruleset::{Expr, IcmpxCode, Reject};
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

/// An ICMP code of a single family is not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<3>::exactly(data)?;
    match fields.u32(TYPE)? {
        TCP_RESET => fields.is_default(CODE, 0).then_some(Expr::Reject(Reject::TcpReset)),
        ICMPX => Some(Expr::Reject(Reject::Icmpx(*CODES.get(usize::from(fields.u8(CODE)?))?))),
        _ => None,
    }
}
