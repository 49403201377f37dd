//! `objref`: a stateful object of the table, by name or by a map.

use super::{Fields, register};
use crate::ruleset::{Foreign, SetRef};

const IMM_TYPE: u16 = 1;
const IMM_NAME: u16 = 2;
const MAP_SREG: u16 = 3;
const MAP_NAME: u16 = 4;

/// The form that names one object.
pub(super) fn decode(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(data)?;
    Some(Foreign::Object { kind: fields.u32(IMM_TYPE)?, name: fields.string(IMM_NAME)? })
}

/// The form that looks the object up in a map, which is named even if it is anonymous: only the whole table shows that.
pub(super) fn decode_map(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<6>::exactly(data)?;
    [IMM_TYPE, IMM_NAME].into_iter().all(|kind| fields.get(kind).is_none()).then_some(())?;
    Some(Foreign::ObjectMap { set: SetRef::Named(fields.string(MAP_NAME)?), sreg: register(&fields, MAP_SREG)? })
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
