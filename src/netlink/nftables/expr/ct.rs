//! `ct`: a property of the packet's connection.

use super::{Draft, Fields, register};
use crate::ruleset::{CtKey, Direction, Expr, Foreign, Register};
use nftnl_sys as sys;

const DREG: u16 = 1;
const KEY: u16 = 2;
const DIRECTION: u16 = 3;
const SREG: u16 = 4;
/// `IP_CT_DIR_ORIGINAL` and `IP_CT_DIR_REPLY`.
const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;

pub(super) fn draft<'a>(key: CtKey, direction: Option<Direction>, dreg: Register) -> Draft<'a> {
    let draft = Draft::new(c"ct").u32(sys::NFTNL_EXPR_CT_KEY, key.number()).register(sys::NFTNL_EXPR_CT_DREG, dreg);
    match direction {
        Some(Direction::Original) => draft.u8(sys::NFTNL_EXPR_CT_DIR, ORIGINAL),
        Some(Direction::Reply) => draft.u8(sys::NFTNL_EXPR_CT_DIR, REPLY),
        None => draft,
    }
}

/// The form that loads the property.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<4>::exactly(data)?;
    let (key, direction) = (CtKey::from_number(fields.u32(KEY)?), direction(&fields)?);
    Some(Expr::Ct { key, direction, dreg: register(&fields, DREG)? })
}

/// The form that sets the property from a register, which palisade never writes.
pub(super) fn decode_set(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<5>::exactly(data)?;
    fields.get(DREG).is_none().then_some(())?;
    let (key, direction) = (CtKey::from_number(fields.u32(KEY)?), direction(&fields)?);
    Some(Foreign::SetCt { key, direction, sreg: register(&fields, SREG)? })
}

/// The optional direction; the outer `None` stands for one that is not understood.
fn direction<const N: usize>(fields: &Fields<'_, N>) -> Option<Option<Direction>> {
    match fields.get(DIRECTION) {
        None => Some(None),
        Some([ORIGINAL]) => Some(Some(Direction::Original)),
        Some([REPLY]) => Some(Some(Direction::Reply)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{both_ways, read_as};
    use super::*;

    #[test]
    fn a_property_of_a_connection_is_read_with_or_without_a_direction_and_set() {
        // ct state
        both_ways(
            &Expr::Ct { key: CtKey::State, direction: None, dreg: Register::ONE },
            "07000100 63740000
             14000280
             08000200 00000000
             08000100 00000001",
        );
        // ct original proto-dst
        both_ways(
            &Expr::Ct { key: CtKey::ProtoDst, direction: Some(Direction::Original), dreg: Register::ONE },
            "07000100 63740000
             1c000280
             08000200 0000000c
             08000100 00000001
             05000300 00000000",
        );
        // ct reply ip saddr
        both_ways(
            &Expr::Ct { key: CtKey::SrcIp, direction: Some(Direction::Reply), dreg: Register::ONE },
            "07000100 63740000
             1c000280
             08000200 00000013
             08000100 00000001
             05000300 01000000",
        );
        // ct mark set
        read_as(
            "07000100 63740000
             14000280
             08000200 00000003
             08000400 00000001",
            Foreign::SetCt { key: CtKey::Mark, direction: None, sreg: Register::ONE },
        );
    }
}
