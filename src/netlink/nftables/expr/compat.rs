//! `match` and `target`: extensions of iptables. `NFTA_MATCH_*` and `NFTA_TARGET_*` have the same numbers.

use super::Fields;
use crate::netlink::wire::attr::string;
use crate::ruleset::Extension;

const NAME: u16 = 1;
const REV: u16 = 2;
const INFO: u16 = 3;

pub(super) fn decode(data: &[u8]) -> Option<Extension> {
    let fields = Fields::<4>::exactly(data)?;
    Some(Extension {
        name: fields.get(NAME).map(string)?,
        revision: fields.u32(REV)?,
        info: fields.get(INFO).unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::read_as;
    use super::*;

    use crate::ruleset::Foreign;

    #[test]
    fn an_extension_of_iptables_has_a_name_a_revision_and_its_own_bytes() {
        // -m comment
        read_as(
            "0a000100 6d617463 68000000
             20000280
             0c000100 636f6d6d 656e7400
             08000200 00000000
             07000300 07070700",
            Foreign::Match(Extension { name: "comment".to_owned(), revision: 0, info: vec![7; 3] }),
        );
        // -j LOG
        read_as(
            "0b000100 74617267 65740000
             1c000280
             08000100 4c4f4700
             08000200 00000002
             08000300 01010101",
            Foreign::Target(Extension { name: "LOG".to_owned(), revision: 2, info: vec![1; 4] }),
        );
    }
}
