//! The policy as text.

use super::service::Service;
use std::collections::BTreeMap;

/// Where a line breaks.
const WIDE: usize = 110;
/// With so many exceptions in two services or more, they get a group.
const MANY: usize = 2;

/// The lines of a policy's head that are typed when it has been read.
pub(super) const CHECK: &str = "  palisade check";
pub(super) const APPLY: &str = "  palisade apply --confirm 60s     # and `palisade confirm` in a new connection";

/// A part of the policy under a key of its own, each line as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    /// Whose rules they were.
    pub(super) firewall: &'static str,
    /// Lines at the top, without `# `.
    pub(super) head: Vec<String>,
    /// `key: value` below `defaults`.
    pub(super) defaults: Vec<(&'static str, String)>,
    /// `containers: { host }`.
    pub(super) host: Option<&'static str>,
    /// `log: { denied }`.
    pub(super) denied: Option<String>,
    pub(super) services: Vec<Service>,
    /// Names for lists of peers, the longest first. Those that services have get a group.
    pub(super) named: Vec<(String, Vec<String>)>,
    /// Paragraphs behind the services, without `# `.
    pub(super) offers: [Vec<String>; 2],
    /// Rules of `outgoing` and of `forward`.
    pub(super) outgoing: Vec<Rule>,
    pub(super) forward: Vec<Rule>,
    /// Lines of `nat`.
    pub(super) nat: Vec<String>,
    pub(super) expect: Vec<String>,
}

/// A rule of `outgoing` or `forward`, each value as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) ports: Vec<String>,
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
    pub(super) on: Vec<String>,
    pub(super) action: Option<&'static str>,
    pub(super) log: bool,
    pub(super) comment: Option<String>,
    pub(super) places: Vec<String>,
}

impl Document {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.head {
            text.push_str(&comment_line("", line));
        }
        text.push_str("version: 1\n");
        if !self.defaults.is_empty() {
            text.push_str("\ndefaults:\n");
        }
        for (key, value) in &self.defaults {
            text.push_str(&format!("  {key}: {value}\n"));
        }
        if let Some(host) = self.host {
            text.push_str(&format!("\ncontainers:\n  host: {host}\n"));
        }
        if let Some(denied) = &self.denied {
            text.push_str(&format!("\nlog:\n  denied: {denied}\n"));
        }
        self.write_services(&mut text);
        for lines in self.offers.iter().filter(|lines| !lines.is_empty()) {
            text.push('\n');
            lines.iter().for_each(|line| text.push_str(&comment_line("", line)));
        }
        for (key, rules) in [("outgoing", &self.outgoing), ("forward", &self.forward)] {
            if !rules.is_empty() {
                text.push_str(&format!("\n{key}:\n"));
            }
            for (at, rule) in rules.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "\n" });
                text.push_str(&rule.text());
            }
        }
        if !self.nat.is_empty() {
            text.push_str("\nnat:\n");
        }
        for line in &self.nat {
            text.push_str(&format!("  {line}\n"));
        }
        if !self.expect.is_empty() {
            text.push_str(&format!(
                "\n# Made from {}'s rules, and not from the services above. `palisade check` proves it.\nexpect:\n",
                self.firewall
            ));
        }
        for line in &self.expect {
            text.push_str(&format!("  - {line}\n"));
        }
        text
    }

    fn write_services(&self, text: &mut String) {
        let (services, named) = self.with_names();
        let groups = groups(&services);
        if !groups.is_empty() || !named.is_empty() {
            text.push_str("\ngroups:\n");
        }
        for (name, members) in named {
            text.push_str(&list("  ", name, members));
        }
        for (members, name) in &groups {
            text.push_str(&list("  ", name, members));
        }
        if !self.services.is_empty() {
            text.push_str("\nservices:\n");
        }
        for (at, service) in services.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "\n" });
            text.push_str(&self.service(service, &groups));
        }
    }

    /// The services with the names of groups in place of their members, and the groups that are named so.
    fn with_names(&self) -> (Vec<Service>, Vec<&(String, Vec<String>)>) {
        let mut services = self.services.clone();
        let mut used = Vec::new();
        for group in &self.named {
            let (name, members) = group;
            let mut is_used = false;
            let lists = services.iter_mut().flat_map(|service| [&mut service.from, &mut service.except]);
            for list in lists.filter(|list| members.iter().all(|member| list.contains(member))) {
                let first = list.iter().position(|one| members.contains(one)).unwrap_or_default();
                list.retain(|one| !members.contains(one));
                list.insert(first, name.clone());
                is_used = true;
            }
            used.extend(is_used.then_some(group));
        }
        (services, used)
    }

    fn service(&self, service: &Service, groups: &BTreeMap<Vec<String>, String>) -> String {
        let mut text = format!("  {}:{}\n", service.name, places(&service.places));
        text.push_str(&list("    ", "ports", &service.ports));
        text.push_str(&list("    ", "from", &service.from));
        match groups.get(&service.except) {
            Some(name) => text.push_str(&format!("    except: {name}\n")),
            None if service.except.is_empty() => {}
            None => text.push_str(&list("    ", "except", &service.except)),
        }
        for (key, values) in [("to", &service.to), ("on", &service.on)] {
            if !values.is_empty() {
                text.push_str(&list("    ", key, values));
            }
        }
        if let Some(action) = service.action {
            text.push_str(&format!("    action: {action}\n"));
        }
        if service.limit {
            text.push_str("    limit: 5/minute\n");
        }
        if !service.forward_to.is_empty() {
            text.push_str(&list("    ", "forward_to", &service.forward_to));
        }
        text.push_str(&last(service.log, service.comment.as_deref()));
        text
    }
}

/// Names for lists of exceptions that several services have.
fn groups(services: &[Service]) -> BTreeMap<Vec<String>, String> {
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for service in services.iter().filter(|service| service.except.len() >= MANY) {
        *counts.entry(service.except.clone()).or_default() += 1;
    }
    let shared: Vec<Vec<String>> =
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(members, _)| members).collect();
    let named = |(at, members): (usize, Vec<String>)| {
        (members, if at == 0 { "denied".to_owned() } else { format!("denied-{}", at + 1) })
    };
    shared.into_iter().enumerate().map(named).collect()
}

impl Rule {
    fn text(&self) -> String {
        let mut text = format!("  {}:{}\n", self.name, places(&self.places));
        for (key, values) in [("ports", &self.ports), ("from", &self.from), ("to", &self.to), ("on", &self.on)] {
            if !values.is_empty() {
                text.push_str(&list("    ", key, values));
            }
        }
        if let Some(action) = self.action {
            text.push_str(&format!("    action: {action}\n"));
        }
        text.push_str(&last(self.log, self.comment.as_deref()));
        text
    }
}

fn last(log: bool, comment: Option<&str>) -> String {
    let log = if log { "    log: true\n" } else { "" };
    let comment = comment.map(|comment| format!("    comment: \"{comment}\"\n")).unwrap_or_default();
    format!("{log}{comment}")
}

fn places(places: &[String]) -> String {
    if places.is_empty() { String::new() } else { format!("  # {}", places.join(", ")) }
}

fn comment_line(indent: &str, line: &str) -> String {
    if line.is_empty() {
        format!("{indent}#\n")
    } else {
        format!("{indent}# {}\n", crate::printable::printable(line))
    }
}

/// `key: value`, or `key: [value, value]` over as many lines as it takes.
pub(super) fn list(indent: &str, key: &str, values: &[String]) -> String {
    if let [one] = values {
        return format!("{indent}{key}: {one}\n");
    }
    let mut text = format!("{indent}{key}: [");
    let mut width = text.len();
    for (at, value) in values.iter().enumerate() {
        let comma = if at + 1 < values.len() { "," } else { "]" };
        if at > 0 && width + value.len() > WIDE {
            text.push_str(&format!("\n{indent}  "));
            width = indent.len() + 2;
        } else if at > 0 {
            text.push(' ');
        }
        text.push_str(&format!("{value}{comma}"));
        width += value.len() + 2;
    }
    text.push('\n');
    text
}
