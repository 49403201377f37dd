//! A transaction as nft commands.

use super::text::{name, quoted};
use super::{chain_header, rule, set, set_header, table_name};
use crate::ruleset::{Op, Transaction};
use std::fmt::Write;

/// The equivalent nft commands, in order, for people to read. One with many elements takes several lines.
///
/// nft deletes rules by handle, but a transaction has no handles: the command names the rule by its index and shows
/// the rule after a `#`. The same goes for a rule that is inserted before another.
#[must_use]
pub fn commands(transaction: &Transaction) -> Vec<String> {
    transaction.ops.iter().map(|op| command(transaction, op)).collect()
}

/// [`commands`] as one text, with a line break after each.
#[must_use]
pub fn transaction(transaction: &Transaction) -> String {
    commands(transaction).into_iter().map(|command| command + "\n").collect()
}

fn command(transaction: &Transaction, op: &Op) -> String {
    let family = transaction.table.family;
    let table = table_name(&transaction.table);
    match op {
        Op::AddTable { flags, comment } => {
            let mut properties = String::new();
            if let Some(comment) = comment {
                let _ = write!(properties, " comment {};", quoted(comment));
            }
            if !flags.is_empty() {
                let _ = write!(properties, " flags {flags};");
            }
            if properties.is_empty() {
                format!("add table {table}")
            } else {
                format!("add table {table} {{{properties} }}")
            }
        }
        Op::DeleteTable => format!("delete table {table}"),
        Op::AddChain { name: chain, base, comment } => {
            add(&table, &chain_header(family, chain, base.as_ref(), comment.as_deref()))
        }
        Op::SetPolicy { name: chain, base } => {
            format!("add chain {table} {} {{ policy {}; }}", name(chain), base.policy)
        }
        Op::DeleteChain { name: chain } => format!("delete chain {table} {}", name(chain)),
        Op::AddSet { name: set, spec } => add(&table, &set_header(set, spec)),
        Op::DeleteSet { name: set } => format!("delete set {table} {}", name(set)),
        Op::AddElements { set, spec, elements } => {
            format!("add element {table} {} {}", name(set), set::braced(spec, elements, ""))
        }
        Op::DeleteElements { set, spec, elements } => {
            format!("delete element {table} {} {}", name(set), set::braced(spec, elements, ""))
        }
        Op::AddRule { chain, rule: new, before: None } => {
            format!("add rule {table} {} {}", name(chain), rule(family, new))
        }
        Op::AddRule { chain, rule: new, before: Some(index) } => {
            format!("insert rule {table} {} {} # before index {index}", name(chain), rule(family, new))
        }
        Op::DeleteRule { chain, index, rule: old } => {
            format!("delete rule {table} {} # index {index}: {}", name(chain), rule(family, old))
        }
    }
}

/// `add chain inet palisade service-ssh` for `chain service-ssh`: a command has the table between noun and name.
fn add(table: &str, header: &str) -> String {
    match header.split_once(' ') {
        Some((noun, rest)) => format!("add {noun} {table} {rest}"),
        None => format!("add {header}"),
    }
}
