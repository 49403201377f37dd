//! `ct`: a property of the packet's connection.

use super::{Draft, Fields, register};
use crate::ruleset::{CtKey, Direction, Expr, Register};
use nftnl_sys as sys;

const DREG: u16 = 1;
const KEY: u16 = 2;
const DIRECTION: u16 = 3;

pub(super) fn draft<'a>(key: CtKey, direction: Option<Direction>, dreg: Register) -> Draft<'a> {
    let draft = Draft::new(c"ct").u32(sys::NFTNL_EXPR_CT_KEY, key.number()).register(sys::NFTNL_EXPR_CT_DREG, dreg);
    match direction {
        Some(Direction::Original) => draft.u8(sys::NFTNL_EXPR_CT_DIR, 0),
        Some(Direction::Reply) => draft.u8(sys::NFTNL_EXPR_CT_DIR, 1),
        None => draft,
    }
}

/// The form with a source register, which sets the property, is not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<4>::exactly(data)?;
    let direction = match fields.get(DIRECTION) {
        None => None,
        Some([0]) => Some(Direction::Original),
        Some([1]) => Some(Direction::Reply),
        Some(_) => return None,
    };
    Some(Expr::Ct { key: CtKey::from_number(fields.u32(KEY)?), direction, dreg: register(&fields, DREG)? })
}
