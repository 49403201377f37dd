//! Lines of the policy, each of which knows its file.

use super::Resolved;
use crate::policy::Span;
use serde::{Serialize, Serializer};
use std::path::Path;

/// A line of the policy, or of a file that it includes: the origin of a rule in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The file: 0 is the policy itself, and the others are those of [`Resolved::included`], counted from 1.
    pub source: usize,
    /// The line in it, counted from 1.
    pub number: u32,
}

impl Line {
    /// A line of the policy itself.
    #[must_use]
    pub const fn of_policy(number: u32) -> Self {
        Self { source: 0, number }
    }
}

impl Serialize for Line {
    /// The number alone: whoever prints a line names its file beside it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number)
    }
}

impl From<Span> for Line {
    fn from(span: Span) -> Self {
        Self { source: span.source, number: span.line }
    }
}

/// A line where the policy itself is spoken of, which includes these files.
pub(super) fn line_in_words(included: &[String], line: Line) -> String {
    match line.source.checked_sub(1).and_then(|index| included.get(index)) {
        Some(file) => format!("{file}:{}", line.number),
        None => format!("line {}", line.number),
    }
}

impl Resolved {
    /// The file of a line, if it is not the policy itself: its path relative to the folder of the policy.
    #[must_use]
    pub fn included_file(&self, line: Line) -> Option<&str> {
        self.included.get(line.source.checked_sub(1)?).map(String::as_str)
    }

    /// The file of a line, as comments in the kernel name it.
    #[must_use]
    pub fn file_of(&self, line: Line) -> &str {
        self.included_file(line).unwrap_or(&self.file)
    }

    /// The path of the file of a line, for a policy at that path.
    #[must_use]
    pub fn path_of(&self, policy: &str, line: Line) -> String {
        let beside = |file| Path::new(policy).with_file_name(file).display().to_string();
        self.included_file(line).map_or_else(|| policy.to_owned(), beside)
    }

    /// A line as it is named to people: `policy.yaml:4`, `shared/groups.yaml:4`.
    #[must_use]
    pub fn place(&self, line: Line) -> String {
        format!("{}:{}", self.file_of(line), line.number)
    }

    /// A line where the policy itself is spoken of: `line 4`, `shared/groups.yaml:4`.
    #[must_use]
    pub fn line_in_words(&self, line: Line) -> String {
        line_in_words(&self.included, line)
    }
}
