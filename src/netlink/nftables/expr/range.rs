//! `range`: whether a register is between two values.

use super::{Fields, register, value};
use crate::ruleset::Foreign;

const SREG: u16 = 1;
const OP: u16 = 2;
const FROM_DATA: u16 = 3;
const TO_DATA: u16 = 4;
/// `NFT_RANGE_EQ` and `NFT_RANGE_NEQ`.
const INSIDE: u32 = 0;
const OUTSIDE: u32 = 1;

pub(super) fn decode(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<5>::exactly(data)?;
    let inverted = match fields.u32(OP)? {
        INSIDE => false,
        OUTSIDE => true,
        _ => return None,
    };
    let (first, last) = (value(&fields, FROM_DATA)?.to_vec(), value(&fields, TO_DATA)?.to_vec());
    (first.len() == last.len()).then_some(())?;
    Some(Foreign::Range { inverted, sreg: register(&fields, SREG)?, first, last })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::read_as;
    use super::*;

    use crate::ruleset::Register;

    #[test]
    fn a_register_is_compared_with_a_range() {
        // th dport != 1024-2047
        read_as(
            "0a000100 72616e67 65000000
             2c000280
             08000100 00000001
             08000200 00000001
             0c000380 06000100 04000000
             0c000480 06000100 07ff0000",
            Foreign::Range { inverted: true, sreg: Register::ONE, first: vec![4, 0], last: vec![7, 255] },
        );
    }
}
