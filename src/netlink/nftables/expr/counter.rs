//! `counter`.

use super::{Draft, Fields};
use crate::ruleset::Expr;
use nftnl_sys as sys;

const BYTES: u16 = 1;
const PACKETS: u16 = 2;

pub(super) fn draft<'a>(packets: u64, bytes: u64) -> Draft<'a> {
    Draft::new(c"counter").u64(sys::NFTNL_EXPR_CTR_PACKETS, packets).u64(sys::NFTNL_EXPR_CTR_BYTES, bytes)
}

pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<4>::exactly(data)?;
    Some(Expr::Counter { packets: fields.u64(PACKETS)?, bytes: fields.u64(BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn packets_and_bytes_are_counted() {
        // counter packets 3 bytes 180
        both_ways(
            &Expr::Counter { packets: 3, bytes: 180 },
            "0c000100 636f756e 74657200
             1c000280
             0c000100 00000000 000000b4
             0c000200 00000000 00000003",
        );
    }
}
