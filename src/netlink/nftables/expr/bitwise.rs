//! `bitwise`: mask and xor.

use super::{Draft, Fields, register, value};
use crate::netlink::nftables::problem::Problem;
use crate::ruleset::{Expr, Register};
use nftnl_sys as sys;

const SREG: u16 = 1;
const DREG: u16 = 2;
const LEN: u16 = 3;
const MASK: u16 = 4;
const XOR: u16 = 5;
const OP: u16 = 6;
/// `NFT_BITWISE_MASK_XOR`, the only operation before kernel 5.6, which began to dump it.
const OP_MASK_XOR: u64 = 0;

pub(super) fn draft<'a>(sreg: Register, dreg: Register, mask: &'a [u8], xor: &'a [u8]) -> Result<Draft<'a>, Problem> {
    if mask.len() != xor.len() {
        return Err(Problem::DataLength(xor.len()));
    }
    Draft::new(c"bitwise")
        .register(sys::NFTNL_EXPR_BITWISE_SREG, sreg)
        .register(sys::NFTNL_EXPR_BITWISE_DREG, dreg)
        .u32(sys::NFTNL_EXPR_BITWISE_LEN, mask.len() as u32)
        .data(sys::NFTNL_EXPR_BITWISE_MASK, mask)?
        .data(sys::NFTNL_EXPR_BITWISE_XOR, xor)
}

/// Shifts, and operations on two registers, are not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<7>::exactly(data)?;
    let (mask, xor) = (value(&fields, MASK)?, value(&fields, XOR)?);
    let len = fields.u32(LEN)? as usize;
    let plain = fields.is_default(OP, OP_MASK_XOR) && mask.len() == len && xor.len() == len;
    plain.then_some(())?;
    Some(Expr::Bitwise {
        sreg: register(&fields, SREG)?,
        dreg: register(&fields, DREG)?,
        mask: mask.to_vec(),
        xor: xor.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn a_register_is_masked() {
        // ip saddr & 255.255.255.0
        both_ways(
            &Expr::Bitwise {
                sreg: Register::ONE,
                dreg: Register::ONE,
                mask: vec![255, 255, 255, 0],
                xor: vec![0; 4],
            },
            "0c000100 62697477 69736500
             34000280
             08000100 00000001
             08000200 00000001
             08000300 00000004
             0c000480 08000100 ffffff00
             0c000580 08000100 00000000",
        );
    }
}
