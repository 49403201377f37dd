//! A ruleset as JSON, for programs that read `show --format json`.
//!
//! Rules and elements are nft text, as written by [`super::rule`] and [`super::element`]; names and comments are as
//! in the kernel. A key without a value is left out, except for lists.

use super::{element, hook_name, set};
use crate::ruleset::{Chain, Family, Rule, Ruleset, Set, Table, TableId};
use serde::Serialize;
use serde_json::Value;

/// `{"tables": [...]}`, each as written by [`table`].
#[must_use]
pub fn ruleset(ruleset: &Ruleset) -> Value {
    serde_json::json!({ "tables": ruleset.tables.iter().map(|(id, one)| table(id, one)).collect::<Vec<_>>() })
}

/// A table: `family`, `name`, `comment`, `flags` (`NFT_TABLE_F_*`, unless 0), `chains`, `sets`, `maps`, and `others`,
/// descriptions of the things in the table that palisade does not know.
#[must_use]
pub fn table(id: &TableId, table: &Table) -> Value {
    let (maps, sets) = table.sets.iter().partition::<Vec<_>, _>(|(_, set)| set.spec.value.is_some());
    let table = JsonTable {
        family: id.family.to_string(),
        name: &id.name,
        comment: table.comment.as_deref(),
        flags: (!table.flags.is_empty()).then_some(table.flags.0),
        sets: sets.into_iter().map(|(name, set)| JsonSet::new(name, set)).collect(),
        maps: maps.into_iter().map(|(name, set)| JsonSet::new(name, set)).collect(),
        chains: table.chains.iter().map(|(name, chain)| JsonChain::new(id.family, name, chain)).collect(),
        others: table.others.iter().map(String::as_str).collect(),
    };
    // Only strings, numbers and lists under string keys, so the conversion can't fail.
    serde_json::to_value(table).unwrap_or(Value::Null)
}

#[derive(Serialize)]
struct JsonTable<'a> {
    family: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    sets: Vec<JsonSet<'a>>,
    maps: Vec<JsonSet<'a>>,
    chains: Vec<JsonChain<'a>>,
    others: Vec<&'a str>,
}

#[derive(Serialize)]
struct JsonChain<'a> {
    name: &'a str,
    #[serde(flatten)]
    base: Option<JsonBase<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    rules: Vec<JsonRule<'a>>,
}

#[derive(Serialize)]
struct JsonBase<'a> {
    r#type: &'a str,
    hook: String,
    priority: i32,
    policy: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<&'a str>,
}

#[derive(Serialize)]
struct JsonRule<'a> {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonSet<'a> {
    name: &'a str,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    flags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    elements: Vec<String>,
}

impl<'a> JsonChain<'a> {
    fn new(family: Family, name: &'a str, chain: &'a Chain) -> Self {
        let base = chain.base.as_ref().map(|base| JsonBase {
            r#type: &base.kind,
            hook: hook_name(family, base.hook),
            priority: base.priority,
            policy: base.policy.to_string(),
            devices: base.devices.iter().map(String::as_str).collect(),
        });
        let rules = chain.rules.iter().map(|rule| JsonRule::new(family, rule)).collect();
        Self { name, base, comment: chain.comment.as_deref(), rules }
    }
}

impl<'a> JsonRule<'a> {
    fn new(family: Family, rule: &'a Rule) -> Self {
        Self { text: super::expressions(family, &rule.exprs), comment: rule.comment.as_deref() }
    }
}

impl<'a> JsonSet<'a> {
    fn new(name: &'a str, set: &'a Set) -> Self {
        Self {
            name,
            r#type: set::key_type(set.spec.key),
            value: set::value_type(&set.spec),
            flags: set::flags(set.spec.flags),
            size: set.spec.size,
            timeout_ms: set.spec.timeout_ms,
            comment: set.spec.comment.as_deref(),
            elements: set.elements.iter().map(|one| element(&set.spec, &one)).collect(),
        }
    }
}
