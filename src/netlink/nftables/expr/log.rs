//! `log` to the kernel's log or an NFLOG group.

use super::{Draft, Fields};
use crate::netlink::nftables::problem::Problem;
use crate::ruleset::{Expr, Foreign, Log};
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

/// The form without a level, flags, and NFLOG options other than the group.
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

/// The form with a level and flags, which palisade never writes.
pub(super) fn decode_foreign(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<7>::exactly(data)?;
    let to_nflog = [GROUP, SNAPLEN, QTHRESHOLD].into_iter().any(|kind| fields.get(kind).is_some());
    (!to_nflog).then_some(())?;
    let optional = |kind| match fields.get(kind) {
        None => Some(None),
        Some(_) => fields.u32(kind).map(Some),
    };
    let prefix = fields.string(PREFIX).unwrap_or_default();
    Some(Foreign::Log { prefix, level: optional(LEVEL)?, flags: optional(FLAGS)? })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{both_ways, read_as};
    use super::*;

    #[test]
    fn a_packet_is_logged_with_a_prefix_to_the_log_or_to_a_group() {
        // log prefix "x"
        both_ways(
            &Expr::Log(Log { prefix: "x".to_owned(), group: None }),
            "08000100 6c6f6700
             0c000280
             06000200 78000000",
        );
        // log prefix "x" group 2
        both_ways(
            &Expr::Log(Log { prefix: "x".to_owned(), group: Some(2) }),
            "08000100 6c6f6700
             14000280
             06000200 78000000
             06000100 00020000",
        );
        // log prefix "x" level debug flags all
        read_as(
            "08000100 6c6f6700
             1c000280
             06000200 78000000
             08000500 00000007
             08000600 0000001f",
            Foreign::Log { prefix: "x".to_owned(), level: Some(7), flags: Some(0x1f) },
        );
    }
}
