//! `payload`: loads bytes of the packet.

use super::{Draft, Fields, register};
use crate::ruleset::{Expr, PayloadBase, Register};
use nftnl_sys as sys;

const DREG: u16 = 1;
const BASE: u16 = 2;
const OFFSET: u16 = 3;
const LEN: u16 = 4;

pub(super) fn draft<'a>(base: PayloadBase, offset: u32, len: u32, dreg: Register) -> Draft<'a> {
    Draft::new(c"payload")
        .u32(sys::NFTNL_EXPR_PAYLOAD_BASE, base.number())
        .u32(sys::NFTNL_EXPR_PAYLOAD_OFFSET, offset)
        .u32(sys::NFTNL_EXPR_PAYLOAD_LEN, len)
        .register(sys::NFTNL_EXPR_PAYLOAD_DREG, dreg)
}

/// The form with a source register, or with a checksum to fix, changes the packet and is not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<5>::exactly(data)?;
    Some(Expr::Payload {
        base: PayloadBase::from_number(fields.u32(BASE)?),
        offset: fields.u32(OFFSET)?,
        len: fields.u32(LEN)?,
        dreg: register(&fields, DREG)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn bytes_of_a_header_are_read_from_an_offset_on() {
        // th dport
        both_ways(
            &Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: Register::ONE },
            "0c000100 7061796c 6f616400
             24000280
             08000100 00000001
             08000200 00000002
             08000300 00000002
             08000400 00000002",
        );
    }
}
