//! `fib`: looks an address up in the routing tables.

use super::{Draft, Fields, register};
use crate::ruleset::{Expr, FibResult, Register};
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
