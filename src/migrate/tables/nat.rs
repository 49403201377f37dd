//! Rules that rewrite the sources of what leaves, in the forms that a line of `nat` can say.

use super::Of;
use super::taken::Taken;
use crate::explain::owner_of;
use crate::migrate::names::Names;
use crate::migrate::service::written;
use crate::net::{IfName, IfPattern, Version, header, number, prefix_len};
use crate::ruleset::registers::{Content, Field, Registers};
use crate::ruleset::{Cmp, CtKey, Expr, Family, Foreign, Hook, MetaKey, PayloadBase, Rule, Table, snat};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The lines of `nat`, and the rules that they say.
#[derive(Default)]
pub(super) struct Nat {
    pub(super) lines: Vec<String>,
    pub(super) rules: BTreeSet<Of>,
}

/// What a rule rewrites.
struct Line {
    from: Option<String>,
    to: IfPattern,
    address: Option<IpAddr>,
}

/// The lines for all tables that are no engine's.
pub(super) fn nat(taken: &Taken) -> Nat {
    let mut nat = Nat::default();
    let mut names = Names::default();
    for (id, table) in &taken.tables {
        if id.family != Family::Ip || table.chains.keys().any(|chain| owner_of(id, chain, None).is_some()) {
            continue;
        }
        for (name, chain) in &table.chains {
            let is_last = |hook: Hook| hook == Hook::Postrouting;
            if !chain.base.as_ref().is_some_and(|base| base.kind == "nat" && is_last(base.hook)) {
                continue;
            }
            // The first rule that matches decides: what stands behind one that is not understood is not said either.
            let lines = chain.rules.iter().enumerate().map_while(|(at, rule)| Some((at, line(table, rule)?)));
            for (at, line) in lines {
                let from = line.from.unwrap_or_else(|| "any".to_owned());
                let address = line.address.map(|address| format!(", as: {address}")).unwrap_or_default();
                let to = written(&line.to);
                let named = names.free(&format!("out-{}", line.to.name));
                nat.lines.push(format!("{named}: {{ from: {from}, to: {{ interface: {to} }}{address} }}"));
                nat.rules.insert((id.clone(), name.clone(), at));
            }
        }
    }
    nat
}

/// Reads a rule that says by which interface, and perhaps from which network, and nothing else.
fn line(table: &Table, rule: &Rule) -> Option<Line> {
    let mut registers = Registers::new(&table.sets);
    let (mut from, mut to, mut rewrites) = (None, None, false);
    for expr in &rule.exprs {
        match expr {
            Expr::Cmp { op: Cmp::Eq, sreg, data } => {
                let read = registers.read(*sreg, data.len());
                let [part] = read.as_slice() else { return None };
                match &part.content {
                    Content::Field(Field::Meta(MetaKey::Oifname)) if data.len() == IfName::LOOPBACK.bytes().len() => {
                        to = Some(IfPattern { name: IfName::text(data), wildcard: false });
                    }
                    Content::Field(Field::Meta(MetaKey::Nfproto)) if *data == [Version::V4.nfproto()] => {}
                    content => from = Some(network(content, data)?),
                }
            }
            Expr::Foreign(Foreign::Masquerade { ports: [None, None], flags: 0 }) => rewrites = true,
            Expr::Foreign(Foreign::Nat(nat)) if nat.ports == [None, None] && !nat.destination => {
                rewrites = snat(rule).is_some();
            }
            Expr::Foreign(Foreign::Target(target)) if target.name == "MASQUERADE" => rewrites = true,
            Expr::Meta { .. }
            | Expr::Payload { .. }
            | Expr::Bitwise { .. }
            | Expr::Counter { .. }
            | Expr::Foreign(Foreign::Immediate { .. }) => {}
            _ => return None,
        }
        registers.run(expr);
    }
    let line = Line { from, to: to?, address: snat(rule) };
    rewrites.then_some(line)
}

/// The network of a test of the source.
fn network(content: &Content<'_>, data: &[u8]) -> Option<String> {
    let (field, mask) = match content {
        Content::Field(field) => (field, None),
        Content::Masked { field, mask, xor } if xor.iter().all(|byte| *byte == 0) => (field, Some(*mask)),
        Content::Masked { .. } | Content::Computed(_) | Content::Mapped(_) | Content::Constant(_) => return None,
    };
    let source = header::ipv4::SOURCE;
    let is_source = match field {
        Field::Payload { base: PayloadBase::Network, offset, len } => source.begins(*offset, *len),
        Field::Ct(CtKey::SrcIp, _) => true,
        Field::Payload { .. } | Field::Meta(_) | Field::Ct(..) | Field::Fib(..) => false,
    };
    let bits = match mask {
        None => u32::try_from(data.len()).ok()? * 8,
        Some(mask) => prefix_len(mask)?,
    };
    let filled: Vec<u8> = data.iter().copied().chain(std::iter::repeat(0)).take(4).collect();
    let first = number(Version::V4.address_in(&filled)?);
    let last = first | u128::from(u32::MAX.checked_shr(bits).unwrap_or_default());
    is_source.then(|| Version::V4.words(first, last))
}
