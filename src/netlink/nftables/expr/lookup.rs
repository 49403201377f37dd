//! `lookup`: looks a register up in a set or a map.

use super::{Draft, Fields, register};
use crate::netlink::nftables::problem::{Problem, anonymous_name};
use crate::ruleset::{Expr, Register, SetRef};
use nftnl_sys as sys;

const SET: u16 = 1;
const SREG: u16 = 2;
const DREG: u16 = 3;
const FLAGS: u16 = 5;
const INVERTED: u32 = 1;

/// An anonymous set precedes its rule in the same batch, under a name that the kernel numbers; the id links them.
pub(super) fn draft<'a>(
    set: &SetRef,
    sreg: Register,
    dreg: Option<Register>,
    inverted: bool,
    set_ids: &mut impl Iterator<Item = u32>,
) -> Result<Draft<'a>, Problem> {
    let mut draft = Draft::new(c"lookup").register(sys::NFTNL_EXPR_LOOKUP_SREG, sreg);
    if let Some(dreg) = dreg {
        draft = draft.register(sys::NFTNL_EXPR_LOOKUP_DREG, dreg);
    }
    if inverted {
        draft = draft.u32(sys::NFTNL_EXPR_LOOKUP_FLAGS, INVERTED);
    }
    match set {
        SetRef::Named(name) => draft.text(sys::NFTNL_EXPR_LOOKUP_SET, name),
        SetRef::Anonymous(set) => {
            let id = set_ids.next().ok_or_else(|| Problem::Unknown("nested anonymous set".to_owned()))?;
            draft
                .text(sys::NFTNL_EXPR_LOOKUP_SET, anonymous_name(set))
                .map(|d| d.u32(sys::NFTNL_EXPR_LOOKUP_SET_ID, id))
        }
    }
}

/// Names the set even if it is anonymous: only the whole table shows that.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<6>::exactly(data)?;
    let inverted = match fields.get(FLAGS) {
        None | Some([0, 0, 0, 0]) => false,
        Some([0, 0, 0, 1]) => true,
        Some(_) => return None,
    };
    let dreg = match fields.get(DREG) {
        None => None,
        Some(_) => Some(register(&fields, DREG)?),
    };
    Some(Expr::Lookup { set: SetRef::Named(fields.string(SET)?), sreg: register(&fields, SREG)?, dreg, inverted })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn a_register_is_looked_up_in_a_set_and_in_a_map() {
        // != @s
        both_ways(
            &Expr::Lookup { set: SetRef::Named("s".to_owned()), sreg: Register::ONE, dreg: None, inverted: true },
            "0b000100 6c6f6f6b 75700000
             1c000280
             08000200 00000001
             06000100 73000000
             08000500 00000001",
        );
        // vmap @m
        both_ways(
            &Expr::Lookup {
                set: SetRef::Named("m".to_owned()),
                sreg: Register::ONE,
                dreg: Some(Register::Verdict),
                inverted: false,
            },
            "0b000100 6c6f6f6b 75700000
             1c000280
             08000200 00000001
             08000300 00000000
             06000100 6d000000",
        );
    }
}
