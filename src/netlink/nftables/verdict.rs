//! Verdicts in rules and in verdict maps.

use crate::netlink::wire::attr::Fields;
use crate::netlink::wire::uapi::data;
use crate::netlink::wire::write::Writer;
use crate::ruleset::Verdict;

const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const CONTINUE: i32 = -1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;
const RETURN: i32 = -5;

/// The code of a verdict, and the target chain.
pub(super) fn parts(verdict: &Verdict) -> (i32, Option<&str>) {
    match verdict {
        Verdict::Accept => (ACCEPT, None),
        Verdict::Drop => (DROP, None),
        Verdict::Continue => (CONTINUE, None),
        Verdict::Return => (RETURN, None),
        Verdict::Jump(chain) => (JUMP, Some(chain)),
        Verdict::Goto(chain) => (GOTO, Some(chain)),
        Verdict::Other(code) => (*code, None),
    }
}

/// Writes `NFTA_DATA_VERDICT`.
pub(super) fn write(writer: &mut Writer<'_>, verdict: &Verdict) {
    let (code, chain) = parts(verdict);
    let nest = writer.open(data::VERDICT);
    writer.u32(data::VERDICT_CODE, code.cast_unsigned());
    if let Some(chain) = chain {
        writer.text(data::VERDICT_CHAIN, chain);
    }
    writer.close(&nest);
}

/// Reads the attributes of a verdict.
pub(super) fn decode(bytes: &[u8]) -> Option<Verdict> {
    let fields = Fields::<{ data::VERDICT_END }>::exactly(bytes)?;
    Some(match fields.u32(data::VERDICT_CODE)?.cast_signed() {
        ACCEPT => Verdict::Accept,
        DROP => Verdict::Drop,
        CONTINUE => Verdict::Continue,
        RETURN => Verdict::Return,
        JUMP => Verdict::Jump(fields.string(data::VERDICT_CHAIN)?),
        GOTO => Verdict::Goto(fields.string(data::VERDICT_CHAIN)?),
        code => Verdict::Other(code),
    })
}
