//! The difference of two policies as one reads it in a pull request: as Markdown, and as annotations of GitHub.

use crate::access::{AccessChange, Port};
use crate::compile::line_of_origin;
use crate::delta::ChangeOp;
use crate::policy::Problems;
use crate::printable::printable;
use crate::render::changes::ChangeText;
use crate::resolve::{Line, Resolved};
use crate::ruleset::Origin;
use std::collections::BTreeMap;

/// How many changes of one line of the policy its annotation shows.
const SHOWN: usize = 5;

/// What differs, and whose it is.
pub(super) struct Difference<'a> {
    /// Who gains and loses access.
    pub(super) access: &'a [AccessChange],
    /// What the kernel would do.
    pub(super) changes: &'a [ChangeText],
    /// The same as a unified diff.
    pub(super) unified: &'a str,
    /// The new policy.
    pub(super) policy: &'a Resolved,
    /// Its path, as it was typed.
    pub(super) file: &'a str,
}

impl Difference<'_> {
    /// A comment on a pull request: who gains and loses access, and the rules folded away.
    pub(super) fn markdown(&self) -> String {
        if self.changes.is_empty() {
            return "### palisade\n\nThe rules stay as they are.\n".to_owned();
        }
        let mut text = "### palisade\n\n".to_owned();
        if self.access.is_empty() {
            text.push_str("Nobody gains or loses access.\n");
        }
        for line in crate::access::lines(self.access) {
            let line = self.policy.names.beside_addresses(&line);
            let line = line.strip_prefix("access: ").unwrap_or(&line);
            text.push_str(&format!("- {}\n", code_span(&printable(line))));
        }
        let count = match self.changes.len() {
            1 => "one change of the rules".to_owned(),
            count => format!("{count} changes of the rules"),
        };
        let fence = "`".repeat(longest_run(self.unified, '`').max(2) + 1);
        let Self { unified, .. } = self;
        text.push_str(&format!(
            "\n<details><summary>{count}</summary>\n\n{fence}diff\n{unified}{fence}\n\n</details>\n"
        ));
        text
    }

    /// Workflow commands of GitHub: an annotation for each change of access, at the line of the service whose port it is,
    /// and one for each other line of the policy that changes rules.
    pub(super) fn annotations(&self) -> String {
        let mut text = String::new();
        let mut told = Vec::new();
        for change in self.access {
            let line = self.line_of(change);
            told.extend(line);
            let level = if change.gains.is_empty() && change.unknown.is_empty() { "notice" } else { "warning" };
            let words = self.policy.names.beside_addresses(&change.to_string());
            let file = line.map_or_else(|| self.file.to_owned(), |line| self.policy.path_of(self.file, line));
            text.push_str(&annotation(level, (&file, line.map(|line| line.number), None), &words));
        }
        let mut by_line: BTreeMap<Line, Vec<&str>> = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.op != ChangeOp::Remove) {
            let origin = change.origin.as_deref().map(Origin::read);
            if let Some(line) =
                origin.and_then(|origin| line_of_origin(self.policy, origin)).filter(|line| !told.contains(line))
            {
                by_line.entry(line).or_default().push(&change.text);
            }
        }
        for (line, texts) in by_line {
            let more = texts.len().saturating_sub(SHOWN);
            let mut words = texts.into_iter().take(SHOWN).collect::<Vec<_>>().join("\n");
            if more > 0 {
                words.push_str(&format!("\nand {more} more changes"));
            }
            let file = self.policy.path_of(self.file, line);
            text.push_str(&annotation("notice", (&file, Some(line.number), None), &words));
        }
        text
    }

    /// The line of a service of the new policy that has a port of the change.
    fn line_of(&self, change: &AccessChange) -> Option<Line> {
        if change.direction.is_some() {
            return None;
        }
        let (first, last) = match change.port.as_ref()? {
            Port::One(port) => (*port, *port),
            Port::Range(range) => {
                let (first, last) = range.split_once('-')?;
                (first.parse().ok()?, last.parse().ok()?)
            }
        };
        let mut services = self.policy.services.values();
        let service = services.find(|service| {
            let mut ports = service.ports.iter();
            ports.any(|of| of.transport.name() == change.proto && of.first <= last && first <= of.last)
        });
        service.map(|service| service.line)
    }
}

/// The problems and the warnings of a policy as workflow commands of GitHub.
pub(super) fn annotated(found: &Problems) -> String {
    let of = [("error", found.problems()), ("warning", found.warnings()), ("notice", found.notes())];
    let all = of.iter().flat_map(|(level, problems)| problems.iter().map(move |problem| (*level, problem)));
    let annotated = all.map(|(level, problem)| {
        let help = problem.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
        annotation(level, (&problem.file, problem.line, problem.column), &format!("{}{help}", problem.message))
    });
    annotated.collect()
}

/// One workflow command. The place is a file, a line and a column.
fn annotation(level: &str, (file, line, column): (&str, Option<u32>, Option<usize>), message: &str) -> String {
    let line = line.map(|line| format!("line={line},")).unwrap_or_default();
    let column = column.map(|column| format!("col={column},")).unwrap_or_default();
    let file = escaped(file).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} file={file},{line}{column}title=palisade::{}\n", escaped(message))
}

/// Text in a workflow command, as GitHub's own toolkit escapes it.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A code span of Markdown, whatever is in it.
fn code_span(text: &str) -> String {
    match longest_run(text, '`') {
        0 => format!("`{text}`"),
        run => {
            let fence = "`".repeat(run + 1);
            format!("{fence} {text} {fence}")
        }
    }
}

/// The length of the longest run of a character.
fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_ends_a_workflow_command_or_begins_another() {
        assert_eq!(
            annotation("warning", ("a,b:c%.yaml", Some(7), Some(3)), "100%\r\n::error::x"),
            "::warning file=a%2Cb%3Ac%25.yaml,line=7,col=3,title=palisade::100%25%0D%0A::error::x\n"
        );
        assert_eq!(annotation("notice", ("p.yaml", None, None), "x"), "::notice file=p.yaml,title=palisade::x\n");
    }

    #[test]
    fn a_backquote_in_a_name_does_not_end_the_code_that_it_stands_in() {
        assert_eq!(["a", "a`b", "``"].map(code_span), ["`a`", "`` a`b ``", "``` `` ```"]);
    }
}
