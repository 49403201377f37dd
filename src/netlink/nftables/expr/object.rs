//! `objref`: a stateful object of the table, by name.

use super::Fields;
use crate::ruleset::Foreign;

const IMM_TYPE: u16 = 1;
const IMM_NAME: u16 = 2;

/// The form that looks the object's name up in a map is left out.
pub(super) fn decode(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(data)?;
    Some(Foreign::Object { kind: fields.u32(IMM_TYPE)?, name: fields.string(IMM_NAME)? })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::read_as;
    use super::*;

    #[test]
    fn an_object_is_named_with_its_kind() {
        // counter name "c"
        read_as(
            "0b000100 6f626a72 65660000
             14000280
             08000100 00000001
             06000200 63000000",
            Foreign::Object { kind: 1, name: "c".to_owned() },
        );
    }
}
