//! Expressions that palisade reads, and writes only for translations: which file has which.
//!
//! As everywhere, an expression with an attribute that is not understood becomes `Unknown`.

use super::{Draft, compat, ct, immediate, log, meta, nat, object, payload, range, reject};
use crate::netlink::nftables::problem::Problem;
use crate::ruleset::Foreign;

/// The description of a translation, or of the bytes that it needs, for libnftnl.
pub(super) fn draft(foreign: &Foreign) -> Result<Draft<'_>, Problem> {
    match foreign {
        Foreign::Immediate { dreg, data } => immediate::draft_data(*dreg, data),
        Foreign::Nat(nat) => Ok(nat::draft(*nat)),
        Foreign::Masquerade { ports: [None, None], flags: 0 } => Ok(Draft::new(c"masq")),
        _ => Err(Problem::Unknown("expression that is not palisade's".to_owned())),
    }
}

/// Decodes an expression by its name and attributes.
pub(super) fn decode(name: &str, data: &[u8]) -> Option<Foreign> {
    match name {
        "immediate" => immediate::decode_data(data),
        "meta" => meta::decode_set(data),
        "ct" => ct::decode_set(data),
        "range" => range::decode(data),
        "nat" => nat::decode(data),
        "masq" => nat::decode_masquerade(data),
        "redir" => nat::decode_redirect(data),
        "reject" => reject::decode_foreign(data),
        "log" => log::decode_foreign(data),
        "objref" => object::decode(data).or_else(|| object::decode_map(data)),
        "payload" => payload::decode_set(data),
        "notrack" => data.is_empty().then_some(Foreign::Notrack),
        "match" => compat::decode(data).map(Foreign::Match),
        "target" => compat::decode(data).map(Foreign::Target),
        _ => None,
    }
}
