//! A table as bytes that outlive this process: the messages that would create it.
//!
//! The kernel guarantees netlink's form of a table, so every later version can read what one version of palisade
//! stored. Anonymous sets are written as in a dump, under numbered names, and are moved back into their rules when
//! read.

use super::decode::Assembler;
use super::encode::encode;
use super::handles::Handles;
use super::problem::Problem;
use crate::delta::delta;
use crate::netlink::wire::attr::Messages;
use crate::netlink::wire::uapi::control;
use crate::ruleset::{Expr, SetFlags, SetRef, Table, TableId};
use std::collections::BTreeMap;

/// The messages that create the table from nothing: a batch from its begin to its end, in netlink's byte order on
/// this machine.
///
/// # Errors
///
/// The table holds something that palisade can read but not create: unknown expressions, objects, flowtables.
pub fn to_bytes(id: &TableId, table: &Table) -> Result<Vec<u8>, Problem> {
    if let Some(other) = table.others.first() {
        return Err(Problem::Unknown(other.clone()));
    }
    let creation = delta(id, None, Some(&numbered(table)));
    let batch = encode(&creation, &Handles::default(), 0).map_err(|error| error.problem)?;
    Ok(batch.as_bytes().to_vec())
}

/// The table that these messages create; `None` if they are incomplete, or create no table of that name.
#[must_use]
pub fn from_bytes(id: &TableId, bytes: &[u8]) -> Option<Table> {
    let mut assembler = Assembler::new(id.clone());
    let mut last = None;
    for message in Messages::new(bytes) {
        assembler.accept(&message)?;
        last = Some(message.kind);
    }
    if last != Some(control::BATCH_END) {
        return None;
    }
    assembler.finish().0
}

/// The table with its anonymous sets moved beside the named ones, each under its own name.
fn numbered(table: &Table) -> Table {
    let mut numbered = table.clone();
    let mut sets = BTreeMap::new();
    let mut names = (0_u64..).map(|number| format!("__set{number}")).filter(|name| !table.sets.contains_key(name));
    for expr in numbered.chains.values_mut().flat_map(|chain| &mut chain.rules).flat_map(|rule| &mut rule.exprs) {
        if let Expr::Lookup { set: reference @ SetRef::Anonymous(_), .. } = expr
            && let Some(name) = names.next()
            && let SetRef::Anonymous(mut set) = std::mem::replace(reference, SetRef::Named(name.clone()))
        {
            set.spec.flags = set.spec.flags.with(SetFlags::ANONYMOUS);
            sets.insert(name, *set);
        }
    }
    numbered.sets.extend(sets);
    numbered
}
