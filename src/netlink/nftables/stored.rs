//! A table as bytes that outlive this process: the messages that would make it.
//!
//! Netlink's form of a table is the kernel's promise, so what one version of palisade keeps every later one can read.
//! Anonymous sets are written as a dump has them, under numbered names, and are read back into their rules.

use super::decode::Assembler;
use super::encode::encode;
use super::handles::Handles;
use super::problem::Problem;
use crate::delta::delta;
use crate::netlink::wire::attr::Messages;
use crate::netlink::wire::uapi::control;
use crate::ruleset::{Expr, SetFlags, SetRef, Table, TableId};
use std::collections::BTreeMap;

/// The messages that make the table where there is none: from the batch's begin to its end, in this machine's byte order
/// as netlink has it.
///
/// # Errors
///
/// What palisade reads from the kernel and can't make: unknown expressions, objects, flowtables.
pub fn to_bytes(id: &TableId, table: &Table) -> Result<Vec<u8>, Problem> {
    if let Some(other) = table.others.first() {
        return Err(Problem::Unknown(other.clone()));
    }
    let creation = delta(id, None, Some(&numbered(table)));
    let batch = encode(&creation, &Handles::default(), 0).map_err(|error| error.problem)?;
    Ok(batch.as_bytes().to_vec())
}

/// The table that these messages make; `None` when they are not whole, or make none of that name.
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

/// The table with each anonymous set beside the named ones, under a name of its own.
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
