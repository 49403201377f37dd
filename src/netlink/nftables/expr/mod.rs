//! Expressions: one file each, with encoding and decoding side by side.
//!
//! `draft` lists the libnftnl attributes that make an expression. `decode` reads the kernel's attributes; it returns
//! `None` for a form with any attribute that it does not understand, which then becomes [`Expr::Unknown`]. Values
//! that the kernel adds in a dump (a lookup's `flags 0`, a `log`'s level) count as absent.

mod bitwise;
mod build;
#[cfg(test)]
mod bytes;
mod cmp;
mod compat;
mod counter;
mod ct;
mod dynset;
mod fib;
mod foreign;
mod immediate;
mod limit;
mod log;
mod lookup;
mod meta;
mod nat;
mod object;
mod payload;
mod range;
mod reject;

pub(in crate::netlink) use build::{Built, Draft};

use super::problem::Problem;
use crate::netlink::wire::attr::{Attributes, Fields, string};
use crate::netlink::wire::uapi;
use crate::ruleset::{Expr, Register};

/// The description of an expression for libnftnl. `set_ids` yields the batch's ids of the anonymous sets in the
/// rule's lookups, in the order of the lookups.
pub(in crate::netlink) fn draft<'a>(
    expr: &'a Expr,
    set_ids: &mut impl Iterator<Item = u32>,
) -> Result<Draft<'a>, Problem> {
    match expr {
        Expr::Meta { key, dreg } => Ok(meta::draft(*key, *dreg)),
        Expr::Ct { key, direction, dreg } => Ok(ct::draft(*key, *direction, *dreg)),
        Expr::Payload { base, offset, len, dreg } => Ok(payload::draft(*base, *offset, *len, *dreg)),
        Expr::Cmp { op, sreg, data } => cmp::draft(*op, *sreg, data),
        Expr::Bitwise { sreg, dreg, mask, xor } => bitwise::draft(*sreg, *dreg, mask, xor),
        Expr::Lookup { set, sreg, dreg, inverted } => lookup::draft(set, *sreg, *dreg, *inverted, set_ids),
        Expr::Dynset { set, op, sreg_key, timeout_ms, exprs } => {
            dynset::draft(set, *op, *sreg_key, *timeout_ms, exprs, set_ids)
        }
        Expr::Fib { result, flags, dreg } => Ok(fib::draft(*result, *flags, *dreg)),
        Expr::Verdict(verdict) => immediate::draft(verdict),
        Expr::Counter { packets, bytes } => Ok(counter::draft(*packets, *bytes)),
        Expr::Limit(limit) => Ok(limit::draft(*limit)),
        Expr::Log(log) => log::draft(log),
        Expr::Reject(reject) => Ok(reject::draft(*reject)),
        Expr::Foreign(foreign) => foreign::draft(foreign),
        Expr::Unknown { name, .. } => Err(Problem::Unknown(format!("expression `{name}`"))),
    }
}

/// Decodes one expression: its name, and the attributes of that name.
pub(in crate::netlink) fn decode(bytes: &[u8]) -> Expr {
    let Some(fields) = Fields::<{ uapi::expr::END }>::read(bytes) else {
        return Expr::Unknown { name: String::new(), attributes: bytes.to_vec() };
    };
    let name = fields.get(uapi::expr::NAME).map(string).unwrap_or_default();
    let data = fields.get(uapi::expr::DATA).unwrap_or_default();
    let known = match name.as_str() {
        "meta" => meta::decode(data),
        "ct" => ct::decode(data),
        "payload" => payload::decode(data),
        "cmp" => cmp::decode(data),
        "bitwise" => bitwise::decode(data),
        "lookup" => lookup::decode(data),
        "dynset" => dynset::decode(data),
        "fib" => fib::decode(data),
        "immediate" => immediate::decode(data),
        "counter" => counter::decode(data),
        "limit" => limit::decode(data),
        "log" => log::decode(data),
        "reject" => reject::decode(data),
        _ => None,
    };
    let known = known.or_else(|| foreign::decode(&name, data).map(Expr::Foreign));
    known.unwrap_or_else(|| Expr::Unknown { name, attributes: data.to_vec() })
}

/// Decodes a list of expressions; a malformed rest becomes one unknown expression.
pub(in crate::netlink) fn decode_list(bytes: &[u8]) -> Vec<Expr> {
    let exprs = Attributes::new(bytes).map(|attribute| match attribute {
        Ok((_, payload)) => decode(payload),
        Err(_) => Expr::Unknown { name: String::new(), attributes: bytes.to_vec() },
    });
    exprs.collect()
}

/// The stateful expressions of a set's element.
pub(in crate::netlink) fn of_element(fields: &Fields<'_, { uapi::elem::END }>) -> Vec<Expr> {
    match (fields.get(uapi::elem::EXPR), fields.get(uapi::elem::EXPRESSIONS)) {
        (Some(one), _) => vec![decode(one)],
        (None, Some(several)) => decode_list(several),
        (None, None) => Vec::new(),
    }
}

/// The register in an attribute.
fn register<const N: usize>(fields: &Fields<'_, N>, kind: u16) -> Option<Register> {
    Register::from_number(fields.u32(kind)?)
}

/// An optional register; the outer `None` stands for a malformed one.
fn maybe_register<const N: usize>(fields: &Fields<'_, N>, kind: u16) -> Option<Option<Register>> {
    match fields.get(kind) {
        None => Some(None),
        Some(_) => register(fields, kind).map(Some),
    }
}

/// A number; 0 if absent, `None` if malformed.
fn number<const N: usize>(fields: &Fields<'_, N>, kind: u16) -> Option<u32> {
    fields.get(kind).map_or(Some(0), |_| fields.u32(kind))
}

/// The bytes of an attribute that contains `NFTA_DATA_VALUE` alone.
fn value<'a, const N: usize>(fields: &Fields<'a, N>, kind: u16) -> Option<&'a [u8]> {
    Fields::<{ uapi::data::VALUE as usize + 1 }>::exactly(fields.get(kind)?)?.get(uapi::data::VALUE)
}
