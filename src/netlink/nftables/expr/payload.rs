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
