//! `log` to the kernel's log or an NFLOG group.

use super::{Draft, Fields};
use crate::netlink::nftables::problem::Problem;
use crate::ruleset::{Expr, Log};
use nftnl_sys as sys;

const GROUP: u16 = 1;
const PREFIX: u16 = 2;
const SNAPLEN: u16 = 3;
const QTHRESHOLD: u16 = 4;
const LEVEL: u16 = 5;
const FLAGS: u16 = 6;
/// `NF_LOG_PREFIXLEN`, including the closing zero.
const MAX_PREFIX: usize = 128;
/// `LOGLEVEL_WARNING`: the kernel's default, and what it dumps, for a kernel log without a level.
const LEVEL_WARN: u64 = 4;

pub(super) fn draft<'a>(log: &Log) -> Result<Draft<'a>, Problem> {
    if log.prefix.len() >= MAX_PREFIX {
        return Err(Problem::LogPrefix(log.prefix.len()));
    }
    let mut draft = Draft::new(c"log");
    if !log.prefix.is_empty() {
        draft = draft.text(sys::NFTNL_EXPR_LOG_PREFIX, &log.prefix)?;
    }
    Ok(match log.group {
        Some(group) => draft.u16(sys::NFTNL_EXPR_LOG_GROUP, group),
        None => draft,
    })
}

/// Other levels, flags, and NFLOG options beside the group are not ours.
pub(super) fn decode(data: &[u8]) -> Option<Expr> {
    let fields = Fields::<7>::exactly(data)?;
    let group = match fields.get(GROUP) {
        None => None,
        Some(_) => Some(fields.u16(GROUP)?),
    };
    let plain = fields.is_default(LEVEL, LEVEL_WARN)
        && [SNAPLEN, QTHRESHOLD, FLAGS].into_iter().all(|kind| fields.is_default(kind, 0));
    plain.then(|| Expr::Log(Log { prefix: fields.string(PREFIX).unwrap_or_default(), group }))
}
