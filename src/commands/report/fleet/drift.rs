//! In what a host differs from its policy, in the words of policies.

use serde_json::Value;

/// How many lines are told of a host.
const MOST_LINES: usize = 40;

/// Who has access that the policy does not give, and who lacks it; then what differs in the rules.
pub(super) fn lines(diff: &Value) -> Vec<String> {
    let list = |field: &str| diff.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = list("access").iter().filter_map(access).collect();
    lines.extend(list("changes").iter().filter_map(change));
    if let Some(more) = lines.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        lines.truncate(MOST_LINES);
        lines.push(format!("and {more} more: `palisade diff` there"));
    }
    lines
}

/// A change of access. What the policy would take away is what somebody has now.
fn access(change: &Value) -> Option<String> {
    let word = |field: &str| change.get(field).and_then(Value::as_str);
    let words = |field: &str| {
        let items = change.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let port = match change.get("port") {
        Some(Value::Number(port)) => format!("{port}/"),
        Some(Value::String(ports)) => format!("{ports}/"),
        _ => String::new(),
    };
    let mut line = match word("direction") {
        Some("out") => "out ".to_owned(),
        Some("through") => "through ".to_owned(),
        _ => String::new(),
    };
    line.push_str(&format!("{port}{}", word("proto")?));
    for (field, before) in [("from", " from "), ("by", " by "), ("to", " to ")] {
        line.extend(word(field).map(|word| format!("{before}{word}")));
    }
    if change.get("published").and_then(Value::as_bool) == Some(true) {
        line.push_str(" (published)");
    }
    let said = [("loses", "open to"), ("gains", "shut to"), ("unknown", "not known of")];
    let said = said.into_iter().map(|(field, what)| (what, words(field))).filter(|(_, who)| !who.is_empty());
    let said: Vec<String> = said.map(|(what, who)| format!("{what} {who}")).collect();
    (!said.is_empty()).then(|| format!("{line}: {}", said.join("; ")))
}

fn change(change: &Value) -> Option<String> {
    let word = |field: &str| change.get(field).and_then(Value::as_str);
    let what = match word("op")? {
        "add" => "missing",
        "remove" => "added by somebody",
        _ => "changed",
    };
    let text = word("text").or_else(|| word("name")).unwrap_or_default();
    Some(format!("{what}: {} {}", word("object").unwrap_or_default(), text.lines().next().unwrap_or_default().trim()))
}
