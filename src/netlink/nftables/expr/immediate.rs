//! `immediate` with a verdict, and verdicts elsewhere.

use super::{Draft, Fields, register};
use crate::netlink::nftables::problem::Problem;
use crate::netlink::nftables::verdict;
use crate::netlink::wire::uapi::data;
use crate::ruleset::{Expr, Register, Verdict};
use nftnl_sys as sys;

const DREG: u16 = 1;
const DATA: u16 = 2;

pub(super) fn draft<'a>(verdict: &Verdict) -> Result<Draft<'a>, Problem> {
    let (code, chain) = verdict::parts(verdict);
    let draft = Draft::new(c"immediate")
        .register(sys::NFTNL_EXPR_IMM_DREG, Register::Verdict)
        .u32(sys::NFTNL_EXPR_IMM_VERDICT, code.cast_unsigned());
    match chain {
        Some(chain) => draft.text(sys::NFTNL_EXPR_IMM_CHAIN, chain),
        None => Ok(draft),
    }
}

/// An `immediate` that loads data is not ours.
pub(super) fn decode(bytes: &[u8]) -> Option<Expr> {
    let fields = Fields::<3>::exactly(bytes)?;
    (register(&fields, DREG)? == Register::Verdict).then_some(())?;
    let loaded = Fields::<{ data::END }>::exactly(fields.get(DATA)?)?;
    verdict::decode(loaded.get(data::VERDICT)?).map(Expr::Verdict)
}
