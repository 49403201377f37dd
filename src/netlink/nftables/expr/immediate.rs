//! `immediate`: a verdict, or bytes for a register.

use super::{Draft, Fields, register, value};
use crate::netlink::nftables::problem::Problem;
use crate::netlink::nftables::verdict;
use crate::netlink::wire::uapi::data;
use crate::ruleset::{Expr, Foreign, Register, Verdict};
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

/// The form with a verdict.
pub(super) fn decode(bytes: &[u8]) -> Option<Expr> {
    let fields = Fields::<3>::exactly(bytes)?;
    (register(&fields, DREG)? == Register::Verdict).then_some(())?;
    let loaded = Fields::<{ data::END }>::exactly(fields.get(DATA)?)?;
    verdict::decode(loaded.get(data::VERDICT)?).map(Expr::Verdict)
}

/// The form that loads bytes.
pub(super) fn draft_data(dreg: Register, data: &[u8]) -> Result<Draft<'_>, Problem> {
    Draft::new(c"immediate").register(sys::NFTNL_EXPR_IMM_DREG, dreg).data(sys::NFTNL_EXPR_IMM_DATA, data)
}

/// The form that loads bytes.
pub(super) fn decode_data(bytes: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(bytes)?;
    let (dreg, data) = (register(&fields, DREG)?, value(&fields, DATA)?);
    matches!(dreg, Register::Data(_)).then(|| Foreign::Immediate { dreg, data: data.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    #[test]
    fn a_verdict_may_name_a_chain_and_bytes_are_loaded_into_a_register() {
        // accept
        both_ways(
            &Expr::Verdict(Verdict::Accept),
            "0e000100 696d6d65 64696174 65000000
             1c000280
             08000100 00000000
             10000280 0c000280 08000100 00000001",
        );
        // jump c
        both_ways(
            &Expr::Verdict(Verdict::Jump("c".to_owned())),
            "0e000100 696d6d65 64696174 65000000
             24000280
             08000100 00000000
             18000280 14000280 08000100 fffffffd 06000200 63000000",
        );
        // immediate reg 1 0x0a000001
        both_ways(
            &Expr::Foreign(Foreign::Immediate { dreg: Register::ONE, data: vec![10, 0, 0, 1] }),
            "0e000100 696d6d65 64696174 65000000
             18000280
             08000100 00000001
             0c000280 08000100 0a000001",
        );
    }
}
