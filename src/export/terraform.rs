//! What all of Terraform's JSON has in common: its comment, names of resources, and strings without templates.

use super::remark::Remark;
use serde_json::{Value, json};

/// A document with resources, and at its head what it does not say. The lines of the policy are left out: they move without
/// a change of what it says.
pub(super) fn document(resources: Value, remarks: &[Remark], file: &str) -> Value {
    let head = format!("made from {file} by palisade export; edit the policy instead");
    let head: Vec<String> = std::iter::once(head).chain(remarks.iter().map(ToString::to_string)).collect();
    json!({ "//": head.iter().map(|line| without_templates(line)).collect::<Vec<_>>(), "resource": resources })
}

/// A name as the label of a resource.
pub(super) fn label(name: &str) -> String {
    let text = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    let text: String = text.collect();
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) { text } else { format!("_{text}") }
}

/// A text in which nothing begins a template.
pub(super) fn without_templates(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// A value in whose texts nothing begins a template.
pub(super) fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => without_templates(&text).into(),
        Value::Array(all) => all.into_iter().map(escaped).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, escaped(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_begins_a_template_and_a_label_is_an_identifier() {
        assert_eq!(
            escaped(json!({ "a": ["${x}", "5%{if}", "$5 50%"] })),
            json!({ "a": ["$${x}", "5%%{if}", "$5 50%"] })
        );
        assert_eq!(["web.1", "1st", "a-2"].map(label), ["web_1", "_1st", "a-2"]);
    }
}
