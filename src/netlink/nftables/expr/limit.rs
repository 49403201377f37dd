//! `limit` in packets.

use super::{Draft, Fields, number};
use crate::ruleset::{Expr, Limit, LimitUnit};
use nftnl_sys as sys;

const RATE: u16 = 1;
const UNIT: u16 = 2;
const BURST: u16 = 3;
const TYPE: u16 = 4;
const FLAGS: u16 = 5;
/// `NFT_LIMIT_PKTS`.
const PACKETS: u32 = 0;
const INVERTED: u32 = 1;

pub(super) fn draft<'a>(limit: Limit) -> Draft<'a> {
    Draft::new(c"limit")
        .u64(sys::NFTNL_EXPR_LIMIT_RATE, limit.rate)
        .u64(sys::NFTNL_EXPR_LIMIT_UNIT, limit.unit.seconds())
        .u32(sys::NFTNL_EXPR_LIMIT_BURST, limit.burst)
        .u32(sys::NFTNL_EXPR_LIMIT_TYPE, PACKETS)
        .u32(sys::NFTNL_EXPR_LIMIT_FLAGS, if limit.over { INVERTED } else { 0 })
}

/// A limit in bytes, or of another unit, is not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<7>::exactly(data)?;
    fields.is_default(TYPE, PACKETS.into()).then_some(())?;
    let unit = fields.u64(UNIT)?;
    let over = match number(&fields, FLAGS)? {
        0 => false,
        INVERTED => true,
        _ => return None,
    };
    Some(Expr::Limit(Limit {
        rate: fields.u64(RATE)?,
        unit: LimitUnit::ALL.into_iter().find(|known| known.seconds() == unit)?,
        burst: fields.u32(BURST)?,
        over,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn packets_are_limited_per_unit_of_time() {
        // limit rate over 10/minute burst 5 packets
        both_ways(
            &Expr::Limit(Limit { rate: 10, unit: LimitUnit::Minute, burst: 5, over: true }),
            "0a000100 6c696d69 74000000
             34000280
             0c000100 00000000 0000000a
             0c000200 00000000 0000003c
             08000300 00000005
             08000400 00000000
             08000500 00000001",
        );
    }
}
