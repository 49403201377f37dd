//! The text format of Prometheus, version 0.0.4, as node_exporter reads it from a file: no timestamps, and each family in
//! one piece.

use super::{Metric, Samples};
use std::fmt::Write;

impl Samples {
    /// All samples, each family with its help and its type before them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (metric, samples) in self.families() {
            let Metric { name, kind, help, .. } = metric;
            let _ = writeln!(text, "# HELP {name} {}", escaped(help, false));
            let _ = writeln!(text, "# TYPE {name} {}", kind.name());
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{} {value}", labelled(metric, labels));
            }
        }
        text
    }
}

/// `{service="ssh"}`, or nothing without labels.
fn labelled(metric: &Metric, values: &[String]) -> String {
    let label = |(name, value): (&&str, &String)| format!("{name}=\"{}\"", escaped(value, true));
    let labels: Vec<String> = metric.labels.iter().zip(values).map(label).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

/// Text with what ends it, or a line, escaped. Only the value of a label stands in quotes.
fn escaped(text: &str, in_quotes: bool) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if in_quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}
