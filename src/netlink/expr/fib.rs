//! `fib`: what the routing says of an address.

use super::{Draft, Fields, register};
use crate::ruleset::{Expr, FibResult, Register, fib_flags};
use nftnl_sys as sys;

const DREG: u16 = 1;
const RESULT: u16 = 2;
const FLAGS: u16 = 3;

pub(super) fn draft<'a>(result: FibResult, flags: u32, dreg: Register) -> Draft<'a> {
    Draft::new(c"fib")
        .u32(sys::NFTNL_EXPR_FIB_RESULT, result.number())
        .u32(sys::NFTNL_EXPR_FIB_FLAGS, flags)
        .register(sys::NFTNL_EXPR_FIB_DREG, dreg)
}

pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<4>::exactly(data)?;
    let result = FibResult::from_number(fields.u32(RESULT)?)?;
    Some(Expr::Fib { result, flags: fields.u32(FLAGS)?, dreg: register(&fields, DREG)? })
}

/// Has what a rule says of presence in one spelling: nft 1.0.6 compares four bytes with it, of which the kernel fills the
/// first (`nft_fib_store_result`).
pub(super) fn shorten_presence(exprs: &mut [Expr]) {
    let mut asked = None;
    for expr in exprs {
        match expr {
            Expr::Fib { flags, dreg, .. } => asked = Some(*dreg).filter(|_| *flags & fib_flags::PRESENT != 0),
            Expr::Cmp { sreg, data, .. } if Some(*sreg) == asked => {
                let byte = [0u8, 1].into_iter().find(|byte| data.as_slice() == u32::from(*byte).to_ne_bytes());
                if let Some(byte) = byte {
                    *data = vec![byte];
                }
            }
            _ => asked = None,
        }
    }
}
