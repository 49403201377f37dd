//! `cmp`: compares a register with bytes.

use super::{Draft, Fields, register, value};
use crate::netlink::nftables::problem::Problem;
use crate::ruleset::{Cmp, Expr, Register};
use nftnl_sys as sys;

const SREG: u16 = 1;
const OP: u16 = 2;
const DATA: u16 = 3;

/// Indexed by their kernel numbers.
const OPS: [Cmp; 6] = [Cmp::Eq, Cmp::Neq, Cmp::Lt, Cmp::Lte, Cmp::Gt, Cmp::Gte];

pub(super) fn draft(op: Cmp, sreg: Register, data: &[u8]) -> Result<Draft<'_>, Problem> {
    Draft::new(c"cmp")
        .register(sys::NFTNL_EXPR_CMP_SREG, sreg)
        .u32(sys::NFTNL_EXPR_CMP_OP, op as u32)
        .data(sys::NFTNL_EXPR_CMP_DATA, data)
}

pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<4>::exactly(data)?;
    Some(Expr::Cmp {
        op: *OPS.get(fields.u32(OP)? as usize)?,
        sreg: register(&fields, SREG)?,
        data: value(&fields, DATA)?.to_vec(),
    })
}
