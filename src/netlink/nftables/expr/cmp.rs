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

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn a_register_is_compared_with_bytes() {
        // tcp dport != 22
        both_ways(
            &Expr::Cmp { op: Cmp::Neq, sreg: Register::ONE, data: vec![0, 22] },
            "08000100 636d7000
             20000280
             08000100 00000001
             08000200 00000001
             0c000380 06000100 00160000",
        );
    }
}
