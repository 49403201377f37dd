//! `meta`: a property of the packet or its interfaces.

use super::{Draft, Fields, register};
use crate::ruleset::{Expr, MetaKey, Register};
use nftnl_sys as sys;

const DREG: u16 = 1;
const KEY: u16 = 2;

pub(super) fn draft<'a>(key: MetaKey, dreg: Register) -> Draft<'a> {
    Draft::new(c"meta").u32(sys::NFTNL_EXPR_META_KEY, key.number()).register(sys::NFTNL_EXPR_META_DREG, dreg)
}

/// The form with a source register, which sets the property, is not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<3>::exactly(data)?;
    Some(Expr::Meta { key: MetaKey::from_number(fields.u32(KEY)?), dreg: register(&fields, DREG)? })
}
