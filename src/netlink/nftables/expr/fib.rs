//! `fib`: looks an address up in the routing tables.

use super::{Draft, Fields, register};
use crate::ruleset::{Expr, FibResult, Register};
use nftnl_sys as sys;

const DREG: u16 = 1;
const RESULT: u16 = 2;
const FLAGS: u16 = 3;

pub(super) fn draft<'a>(result: FibResult, flags: u32, dreg: Register) -> Draft<'a> {
    Draft::new(c"fib")
        .u32(sys::NFTNL_EXPR_FIB_RESULT, result.number())
        .u32(sys::NFTNL_EXPR_FIB_FLAGS, flags)
        .register(sys::NFTNL_EXPR_FIB_DREG, dreg)
}

pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<4>::exactly(data)?;
    let result = FibResult::from_number(fields.u32(RESULT)?)?;
    Some(Expr::Fib { result, flags: fields.u32(FLAGS)?, dreg: register(&fields, DREG)? })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    use crate::ruleset::fib_flags;

    #[test]
    fn the_routing_tables_are_asked_for_the_type_of_an_address_and_for_the_way_back() {
        // fib daddr type
        both_ways(
            &Expr::Fib { result: FibResult::Type, flags: fib_flags::DADDR, dreg: Register::ONE },
            "08000100 66696200
             1c000280
             08000300 00000002
             08000200 00000003
             08000100 00000001",
        );
        let back = fib_flags::SADDR | fib_flags::IIF | fib_flags::PRESENT;
        // fib saddr . iif oif missing
        both_ways(
            &Expr::Fib { result: FibResult::Oif, flags: back, dreg: Register::ONE },
            "08000100 66696200
             1c000280
             08000300 00000029
             08000200 00000001
             08000100 00000001",
        );
    }
}
