//! A ruleset as nft text.
//!
//! `nft -f` (1.0.6 and 1.1) reads the text of everything that palisade compiles, and builds the same expressions from
//! it. Expressions that palisade does not compile but may find in its table are written as closely as possible. Those
//! without any text appear in angle brackets, `<unknown expression "quota">`, which nft refuses. Nothing panics, and
//! no control character from the kernel gets through.

pub mod changes;
mod field;
mod foreign;
mod gaps;
pub mod json;
mod set;
mod statement;
mod text;
mod transaction;
mod value;

pub use set::{element, set_header};
pub use statement::expressions;
pub use transaction::{commands, transaction};

use crate::printable::printable;
use crate::ruleset::{BaseChain, Chain, Family, Hook, Rule, Ruleset, Set, Table, TableId, Verdict};
use std::fmt::Write;
use text::{name, quoted};

/// All tables, separated by blank lines. Empty for a ruleset without tables.
#[must_use]
pub fn ruleset(ruleset: &Ruleset) -> String {
    ruleset.tables.iter().map(|(id, one)| table(id, one)).collect::<Vec<_>>().join("\n")
}

/// A whole table in the layout of `nft list table`, ending in a newline.
///
/// Objects that have no text here follow at the end as comments.
#[must_use]
pub fn table(id: &TableId, table: &Table) -> String {
    let mut sections = Vec::new();
    let mut properties = String::new();
    if let Some(comment) = &table.comment {
        let _ = writeln!(properties, "\tcomment {}", quoted(comment));
    }
    if !table.flags.is_empty() {
        let _ = writeln!(properties, "\tflags {}", table.flags);
    }
    if !properties.is_empty() {
        sections.push(properties);
    }
    sections.extend(table.sets.iter().map(|(set_name, set)| set_block(set_name, set)));
    sections.extend(table.chains.iter().map(|(chain_name, chain)| chain_block(id.family, chain_name, chain)));
    if !table.others.is_empty() {
        sections.push(
            table.others.iter().fold(String::new(), |lines, other| lines + &format!("\t# {}\n", printable(other))),
        );
    }
    format!("table {} {{\n{}}}\n", table_name(id), sections.join("\n"))
}

/// One rule: its statements and its comment, on one line, without its chain.
#[must_use]
pub fn rule(family: Family, rule: &Rule) -> String {
    let mut text = expressions(family, &rule.exprs);
    if let Some(comment) = &rule.comment {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "comment {}", quoted(comment));
    }
    text
}

/// A chain without its rules, on one line: `chain filter-input { type filter hook input priority filter - 1; policy
/// drop; }`, or `chain service-ssh` for a chain with neither hook nor comment.
#[must_use]
pub fn chain_header(family: Family, chain_name: &str, base: Option<&BaseChain>, comment: Option<&str>) -> String {
    let mut header = format!("chain {}", name(chain_name));
    let properties = chain_properties(family, base, comment);
    if !properties.is_empty() {
        let _ = write!(header, " {{ {}; }}", properties.join("; "));
    }
    header
}

/// A verdict: `accept`, `goto service-ssh`.
#[must_use]
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Continue => "continue".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(chain) => format!("jump {}", name(chain)),
        Verdict::Goto(chain) => format!("goto {}", name(chain)),
        Verdict::Other(code) => format!("<unknown verdict {code}>"),
    }
}

/// `table inet palisade`.
#[must_use]
pub fn table_title(id: &TableId) -> String {
    format!("table {}", table_name(id))
}

/// An nft command about a table, in backquotes: `nft list table inet filter`. A table whose name a shell or nft would
/// misread is given by its handle.
#[must_use]
pub fn table_command(verb: &str, id: &TableId) -> String {
    if id.name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name(&id.name) == id.name {
        return format!("`nft {verb} table {}`", table_name(id));
    }
    let family = id.family;
    format!(
        "`nft {verb} table {family} handle HANDLE`, with the handle of it that `nft -a list tables {family}` shows,"
    )
}

/// `inet palisade`.
fn table_name(id: &TableId) -> String {
    format!("{} {}", id.family, name(&id.name))
}

fn set_block(set_name: &str, set: &Set) -> String {
    let mut block = format!("\t{} {} {{\n", set::noun(&set.spec), name(set_name));
    for property in set::properties(&set.spec) {
        let _ = writeln!(block, "\t\t{property}");
    }
    if !set.elements.is_empty() {
        let _ = writeln!(block, "\t\telements = {}", set::braced(&set.spec, &set.elements, "\t\t"));
    }
    block + "\t}\n"
}

fn chain_block(family: Family, chain_name: &str, chain: &Chain) -> String {
    let mut block = format!("\tchain {} {{\n", name(chain_name));
    for property in chain_properties(family, chain.base.as_ref(), chain.comment.as_deref()) {
        // nft 1.0.6 requires a semicolon or a newline after each property. Its own listing has both after the policy.
        let end = if property.starts_with("type ") { ";" } else { "" };
        let _ = writeln!(block, "\t\t{property}{end}");
    }
    for one in &chain.rules {
        let _ = writeln!(block, "\t\t{}", rule(family, one));
    }
    block + "\t}\n"
}

/// The comment and the attachment to a hook, if present.
fn chain_properties(family: Family, base: Option<&BaseChain>, comment: Option<&str>) -> Vec<String> {
    let comment = comment.map(|comment| format!("comment {}", quoted(comment)));
    let base = base.map(|base| {
        let devices: Vec<String> = base.devices.iter().map(|device| quoted(device)).collect();
        let devices = match devices.as_slice() {
            [] => String::new(),
            [one] => format!(" device {one}"),
            several => format!(" devices = {{ {} }}", several.join(", ")),
        };
        let hook = hook_name(family, base.hook);
        let priority = priority(family, base.hook, base.priority);
        format!("type {} hook {hook}{devices} priority {priority}; policy {}", name(&base.kind), base.policy)
    });
    comment.into_iter().chain(base).collect()
}

/// The name of a hook. The same number is another hook in another family.
#[must_use]
pub fn hook_name(family: Family, hook: Hook) -> String {
    match (family, hook.number()) {
        (Family::Netdev, 0) | (Family::Inet, 5) => "ingress".to_owned(),
        (Family::Netdev, 1) => "egress".to_owned(),
        (Family::Arp, 0) => "input".to_owned(),
        (Family::Arp, 1) => "output".to_owned(),
        _ => hook.to_string(),
    }
}

/// A priority, by name if nft accepts one at that hook: 1.0.6 refuses `dstnat` except at prerouting.
#[must_use]
pub fn priority(family: Family, hook: Hook, priority: i32) -> String {
    const NAMES: [(i32, &str, Option<Hook>); 6] = [
        (-300, "raw", None),
        (-150, "mangle", None),
        (-100, "dstnat", Some(Hook::Prerouting)),
        (0, "filter", None),
        (50, "security", None),
        (100, "srcnat", Some(Hook::Postrouting)),
    ];
    let nearest = NAMES.into_iter().find(|(value, _, only_at)| {
        matches!(family, Family::Inet | Family::Ip | Family::Ip6)
            && only_at.is_none_or(|only| only == hook)
            && value.abs_diff(priority) <= 10
    });
    match nearest {
        None => priority.to_string(),
        Some((value, name, _)) if value == priority => name.to_owned(),
        Some((value, name, _)) if value < priority => format!("{name} + {}", value.abs_diff(priority)),
        Some((value, name, _)) => format!("{name} - {}", value.abs_diff(priority)),
    }
}
