//! The text of a policy, changed at places of its tree. `None` is a form that is not expected.

use super::super::lines::{before, is_break};
use super::super::yaml::{Node, Value};
use std::ops::Range;

/// A text and its tree.
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) root: &'a Node,
}

impl<'a> Document<'a> {
    /// A section: its key and its value.
    pub(super) fn section(&self, name: &str) -> Option<&'a (Node, Node)> {
        entry(self.root, name)
    }

    /// The value of an entry of a section.
    pub(super) fn entry(&self, section: &str, name: &str) -> Option<&'a Node> {
        let (_, of) = self.section(section)?;
        entry(of, name).map(|(_, value)| value)
    }

    /// The names of a section's entries.
    pub(super) fn names(&self, section: &str) -> Vec<&'a str> {
        let Some((_, Node { value: Value::Mapping(entries), .. })) = self.section(section) else { return Vec::new() };
        entries.iter().filter_map(|(key, _)| text_of(key)).collect()
    }

    /// With a service, written over several lines if the last one is.
    pub(super) fn with_service(&self, name: &str, fields: &[(&str, String)]) -> Option<String> {
        let flow: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let last = match self.section("services").map(|(_, of)| &of.value) {
            Some(Value::Mapping(entries)) => entries.last().map(|(_, value)| value),
            _ => None,
        };
        match last {
            Some(last @ Node { value: Value::Mapping(fields), .. }) if !self.is_flow(last) => {
                let (first, _) = fields.first()?;
                let indent = self.indent(first)?;
                let lines: Vec<String> =
                    flow.iter().map(|field| format!("{}{indent}{field}", self.line_break())).collect();
                self.with_entry("services", name, &lines.concat())
            }
            _ => self.with_entry("services", name, &format!("{{ {} }}", flow.join(", "))),
        }
    }

    /// With an entry as the last one of a section. `value` begins on the line of its key, or with a line break.
    pub(super) fn with_entry(&self, section: &str, name: &str, value: &str) -> Option<String> {
        let line = self.line_break();
        let written =
            if value.starts_with(is_break) { format!("{name}:{value}") } else { format!("{name}: {value}") };
        let Some((key, of)) = self.section(section) else {
            let ended = if self.text.is_empty() || self.text.ends_with(is_break) { "" } else { line };
            return Some(format!("{}{ended}{line}{section}:{line}  {written}{line}", self.text));
        };
        match &of.value {
            Value::Empty => self.with_line_after(key.span.end, &format!("{}  {written}", self.indent(key)?)),
            Value::Mapping(entries) if self.is_flow(of) => match entries.last() {
                Some((key, value)) => self.replaced(end_of(key, value)..end_of(key, value), &format!(", {written}")),
                None => self.replaced(of.span.start..of.span.end, &format!("{{ {written} }}")),
            },
            Value::Mapping(entries) => {
                let ((first, _), (key, value)) = (entries.first()?, entries.last()?);
                self.with_line_after(end_of(key, value), &format!("{}{written}", self.indent(first)?))
            }
            Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Without a service.
    pub(super) fn without_service(&self, name: &str) -> Option<String> {
        let (_, services) = self.section("services")?;
        let (key, value) = entry(services, name)?;
        let range = key.span.start..end_of(key, value);
        if self.is_flow(services) {
            self.without_item(range)
        } else {
            self.indent(key)?;
            self.without_lines(range)
        }
    }

    /// With a peer at the end of a group.
    pub(super) fn with_peer(&self, group: &Node, peer: &str) -> Option<String> {
        let Node { span, value, .. } = group;
        match value {
            Value::List(items) if self.is_flow(group) => match items.last() {
                Some(last) => self.replaced(last.span.end..last.span.end, &format!(", {peer}")),
                None => self.replaced(span.start..span.end, &format!("[{peer}]")),
            },
            Value::List(items) => {
                let last = items.last()?;
                self.with_line_after(last.span.end, &format!("{}{peer}", self.dash(last)?))
            }
            Value::Text(_) | Value::Mapping(_) => {
                let one = self.text.get(span.start..span.end)?;
                self.replaced(span.start..span.end, &format!("[{one}, {peer}]"))
            }
            Value::Empty => None,
        }
    }

    /// Without one of a group's peers.
    pub(super) fn without_peer(&self, group: &Node, at: usize) -> Option<String> {
        let Value::List(items) = &group.value else { return None };
        let item = items.get(at)?;
        let range = item.span.start..item.span.end;
        if self.is_flow(group) {
            self.without_item(range)
        } else {
            self.dash(item)?;
            self.without_lines(range)
        }
    }

    /// Without an item in brackets or braces, and the comma that parts it from another.
    fn without_item(&self, Range { start, end }: Range<usize>) -> Option<String> {
        let is_blank = |c: char| c == ' ' || c == '\t';
        let rest = self.text.get(end..)?;
        let Some(behind) = rest.trim_start_matches(is_blank).strip_prefix(',') else {
            let head = self.text.get(..start)?;
            let head = head.trim_end_matches(is_blank);
            return self.replaced(head.strip_suffix(',').unwrap_or(head).len()..end, "");
        };
        let line = behind.split(is_break).next().unwrap_or_default().trim_matches(is_blank);
        if before(self.text, start).trim_matches(is_blank).is_empty() && (line.is_empty() || line.starts_with('#')) {
            return self.without_lines(start..end);
        }
        let behind = behind.trim_start_matches(is_blank);
        self.replaced(start..self.text.len().checked_sub(behind.len())?, "")
    }

    /// Without the whole lines of a range.
    fn without_lines(&self, Range { start, end }: Range<usize>) -> Option<String> {
        let from = start.checked_sub(before(self.text, start).len())?;
        self.replaced(from..self.line_end(end)?, "")
    }

    /// With a line below that of an offset.
    fn with_line_after(&self, offset: usize, line: &str) -> Option<String> {
        let at = self.line_end(offset)?;
        let (head, tail) = self.text.split_at_checked(at)?;
        let ended = if head.ends_with(is_break) { "" } else { self.line_break() };
        Some(format!("{head}{ended}{line}{}{tail}", self.line_break()))
    }

    /// The end of the line of what ends at an offset, behind its break.
    fn line_end(&self, offset: usize) -> Option<usize> {
        let (head, _) = self.text.split_at_checked(offset)?;
        let at = head.trim_end().len();
        let rest = self.text.get(at..)?;
        let line = super::super::lines::lines(rest).next().unwrap_or_default();
        Some(at + line.len())
    }

    fn replaced(&self, Range { start, end }: Range<usize>, by: &str) -> Option<String> {
        Some(format!("{}{by}{}", self.text.get(..start)?, self.text.get(end..)?))
    }

    /// The blanks before a key that begins its line.
    fn indent(&self, key: &Node) -> Option<&'a str> {
        let head = before(self.text, key.span.start);
        head.chars().all(|c| c == ' ').then_some(head)
    }

    /// The blanks and the dash before an item of a list that has its own lines.
    fn dash(&self, item: &Node) -> Option<&'a str> {
        let head = before(self.text, item.span.start);
        (head.trim_matches(' ') == "-").then_some(head)
    }

    /// Whether a list or a mapping is in brackets or braces.
    fn is_flow(&self, node: &Node) -> bool {
        self.text.get(node.span.start..).is_some_and(|rest| rest.starts_with(['[', '{']))
    }

    /// The line break of this text.
    fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }
}

fn end_of(key: &Node, value: &Node) -> usize {
    key.span.end.max(value.span.end)
}

fn entry<'a>(of: &'a Node, name: &str) -> Option<&'a (Node, Node)> {
    let Value::Mapping(entries) = &of.value else { return None };
    entries.iter().find(|(key, _)| text_of(key) == Some(name))
}

fn text_of(key: &Node) -> Option<&str> {
    match &key.value {
        Value::Text(text) => Some(text),
        Value::Empty | Value::List(_) | Value::Mapping(_) => None,
    }
}
