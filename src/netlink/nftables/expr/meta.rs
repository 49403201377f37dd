//! `meta`: a property of the packet or its interfaces.

use super::{Draft, Fields, register};
use crate::ruleset::{Expr, Foreign, MetaKey, Register};
use nftnl_sys as sys;

const DREG: u16 = 1;
const KEY: u16 = 2;
const SREG: u16 = 3;

pub(super) fn draft<'a>(key: MetaKey, dreg: Register) -> Draft<'a> {
    Draft::new(c"meta").u32(sys::NFTNL_EXPR_META_KEY, key.number()).register(sys::NFTNL_EXPR_META_DREG, dreg)
}

/// The form that loads the property.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<3>::exactly(data)?;
    Some(Expr::Meta { key: MetaKey::from_number(fields.u32(KEY)?), dreg: register(&fields, DREG)? })
}

/// The form that sets the property from a register, which palisade never writes.
pub(super) fn decode_set(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<4>::exactly(data)?;
    fields.get(DREG).is_none().then_some(())?;
    Some(Foreign::SetMeta { key: MetaKey::from_number(fields.u32(KEY)?), sreg: register(&fields, SREG)? })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{both_ways, read_as};
    use super::*;

    #[test]
    fn meta_is_read_into_a_register_and_set_from_one() {
        // meta l4proto
        both_ways(
            &Expr::Meta { key: MetaKey::L4proto, dreg: Register::ONE },
            "09000100 6d657461 00000000
             14000280
             08000200 00000010
             08000100 00000001",
        );
        // meta mark set
        read_as(
            "09000100 6d657461 00000000
             14000280
             08000200 00000003
             08000300 00000001",
            Foreign::SetMeta { key: MetaKey::Mark, sreg: Register::ONE },
        );
    }
}
