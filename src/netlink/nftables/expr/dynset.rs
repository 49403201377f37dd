//! `dynset`: the packet path changes a set.

use super::{Draft, Fields, decode as decode_expr, draft as draft_expr, number, register};
use crate::netlink::nftables::problem::Problem;
use crate::netlink::wire::attr::Attributes;
use crate::netlink::wire::uapi;
use crate::ruleset::{DynsetOp, Expr, Register};
use nftnl_sys as sys;

const SET_NAME: u16 = 1;
const OP: u16 = 3;
const SREG_KEY: u16 = 4;
const SREG_DATA: u16 = 5;
const TIMEOUT: u16 = 6;
const EXPR: u16 = 7;
const FLAGS: u16 = 9;
const EXPRESSIONS: u16 = 10;
/// `NFT_DYNSET_F_EXPR`: more than one expression.
const SEVERAL: u32 = 2;

/// Indexed by their kernel numbers.
const OPS: [DynsetOp; 3] = [DynsetOp::Add, DynsetOp::Update, DynsetOp::Delete];

pub(super) fn draft<'a>(
    set: &str,
    op: DynsetOp,
    sreg_key: Register,
    timeout_ms: u64,
    exprs: &'a [Expr],
    set_ids: &mut impl Iterator<Item = u32>,
) -> Result<Draft<'a>, Problem> {
    let mut draft = Draft::new(c"dynset")
        .text(sys::NFTNL_EXPR_DYNSET_SET_NAME, set)?
        .register(sys::NFTNL_EXPR_DYNSET_SREG_KEY, sreg_key)
        .u32(sys::NFTNL_EXPR_DYNSET_OP, op as u32);
    if timeout_ms > 0 {
        draft = draft.u64(sys::NFTNL_EXPR_DYNSET_TIMEOUT, timeout_ms);
    }
    if exprs.len() > 1 {
        draft = draft.u32(sys::NFTNL_EXPR_DYNSET_FLAGS, SEVERAL);
    }
    for expr in exprs {
        if !matches!(expr, Expr::Counter { .. } | Expr::Limit(_)) {
            return Err(Problem::Unknown("expression of a dynset that is neither counter nor limit".to_owned()));
        }
        draft = draft.nest(draft_expr(expr, set_ids)?);
    }
    Ok(draft)
}

/// Maps (with a data register), and the inverted form, are not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<11>::exactly(data)?;
    let flags = number(&fields, FLAGS)?;
    if fields.get(SREG_DATA).is_some() || flags & !SEVERAL != 0 {
        return None;
    }
    let exprs = match (fields.get(EXPR), fields.get(EXPRESSIONS)) {
        (None, None) => Vec::new(),
        (Some(expr), None) => vec![stateful(expr)?],
        (None, Some(list)) => Attributes::new(list).map(|expr| stateful(expr.ok()?.1)).collect::<Option<Vec<_>>>()?,
        (Some(_), Some(_)) => return None,
    };
    Some(Expr::Dynset {
        set: fields.string(SET_NAME)?,
        op: *OPS.get(fields.u32(OP)? as usize)?,
        sreg_key: register(&fields, SREG_KEY)?,
        timeout_ms: fields.get(TIMEOUT).map_or(Some(0), |_| fields.u64(TIMEOUT))?,
        exprs,
    })
}

/// An expression that a dynset may hold. Checks the name first: otherwise nested dynsets would be followed as deep as
/// their bytes go.
fn stateful(bytes: &[u8]) -> Option<Expr> {
    let name = Fields::<{ uapi::expr::END }>::read(bytes)?.string(uapi::expr::NAME)?;
    matches!(name.as_str(), "counter" | "limit")
        .then(|| decode_expr(bytes))
        .filter(|expr| matches!(expr, Expr::Counter { .. } | Expr::Limit(_)))
}

#[cfg(test)]
mod tests {
    use super::super::bytes::both_ways;
    use super::*;

    use crate::ruleset::{Limit, LimitUnit};

    #[test]
    fn a_packet_adds_to_a_set_with_a_timeout_and_a_limit() {
        let limit = Expr::Limit(Limit { rate: 10, unit: LimitUnit::Minute, burst: 5, over: true });
        // add @s { ip saddr timeout 1m limit rate over 10/minute burst 5 packets }
        both_ways(
            &Expr::Dynset {
                set: "s".to_owned(),
                op: DynsetOp::Add,
                sreg_key: Register::ONE,
                timeout_ms: 60_000,
                exprs: vec![limit],
            },
            "0b000100 64796e73 65740000
             6c000280
             08000400 00000001
             08000300 00000000
             0c000600 00000000 0000ea60
             06000100 73000000
             44000780 0a000100 6c696d69 74000000 34000280 0c000100 00000000 0000000a 0c000200 00000000 0000003c 08000300 00000005 08000400 00000000 08000500 00000001",
        );
    }
}
