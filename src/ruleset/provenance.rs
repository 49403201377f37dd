//! The format of palisade's comments: `palisade: SENTENCE (ORIGIN)`.
//!
//! Rules are compared with their sentences, but without their origins: lines move without a rule changing.

use std::fmt;

/// The beginning of every comment of palisade.
pub const PREFIX: &str = "palisade: ";
/// Separates the policy's file name from the time at which its table was loaded.
const LOADED: &str = ", loaded ";
/// Follows the policy's file name if the policy is silent.
const BY_DEFAULT: &str = ", by default";
const ALWAYS: &str = "always";

/// A comment, split into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// What is done, and to which packets.
    pub sentence: &'a str,
    /// The origin of the rule, chain, set or table.
    pub origin: Origin<'a>,
}

/// The origin of a rule, a chain, a set or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The policy as a whole: `policy.yaml`.
    File(&'a str),
    /// The policy as a whole, with the time at which its table was loaded: `policy.yaml, loaded 2026-11-22T15:04:05Z`.
    Loaded(&'a str, &'a str),
    /// A line of the policy: `policy.yaml:17`.
    Line(&'a str, u32),
    /// A default that applies because the policy is silent: `policy.yaml, by default`.
    Default(&'a str),
    /// Needed by every machine, whatever the policy says: `always`.
    BuiltIn,
}

impl<'a> Provenance<'a> {
    /// Parses a comment; `None` if it is not palisade's, or names no origin.
    #[must_use]
    pub fn read(comment: &'a str) -> Option<Self> {
        let (sentence, origin) = comment.strip_prefix(PREFIX)?.strip_suffix(')')?.rsplit_once(" (")?;
        Some(Self { sentence, origin: Origin::read(origin) })
    }

    /// Removes the origin from one of palisade's comments and keeps the prefix: `palisade: service ssh`. Returns any
    /// other comment whole.
    #[must_use]
    pub fn without_origin(comment: &str) -> &str {
        let sentence = Provenance::read(comment).map(|provenance| PREFIX.len() + provenance.sentence.len());
        sentence.and_then(|len| comment.get(..len)).unwrap_or(comment)
    }

    /// The length of a comment with that origin and an empty sentence.
    #[must_use]
    pub fn len_without_sentence(origin: Origin<'_>) -> usize {
        Provenance { sentence: "", origin }.to_string().len()
    }
}

impl fmt::Display for Provenance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{} ({})", self.sentence, self.origin)
    }
}

impl<'a> Origin<'a> {
    /// Parses an origin. A text in no other form is a file.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        if text == ALWAYS {
            return Self::BuiltIn;
        }
        if let Some(file) = text.strip_suffix(BY_DEFAULT) {
            return Self::Default(file);
        }
        if let Some((file, time)) = text.split_once(LOADED) {
            return Self::Loaded(file, time);
        }
        let line = text.rsplit_once(':').filter(|(_, line)| line.bytes().all(|byte| byte.is_ascii_digit()));
        match line.and_then(|(file, line)| Some((file, line.parse().ok()?))) {
            Some((file, line)) => Self::Line(file, line),
            None => Self::File(text),
        }
    }

    /// The line of the policy.
    #[must_use]
    pub const fn line(self) -> Option<u32> {
        match self {
            Self::Line(_, line) => Some(line),
            Self::File(_) | Self::Loaded(..) | Self::Default(_) | Self::BuiltIn => None,
        }
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Loaded(file, time) => write!(f, "{file}{LOADED}{time}"),
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Default(file) => write!(f, "{file}{BY_DEFAULT}"),
            Self::BuiltIn => f.write_str(ALWAYS),
        }
    }
}

/// A comment without the prefix of palisade's comments.
#[must_use]
pub fn without_prefix(comment: &str) -> &str {
    comment.strip_prefix(PREFIX).unwrap_or(comment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_origin_is_what_stands_in_the_last_parentheses_of_our_own_comments() {
        let read = Provenance::read("palisade: a (b) c (p.yaml:3)");
        assert_eq!(read, Some(Provenance { sentence: "a (b) c", origin: Origin::Line("p.yaml", 3) }));
        for other in ["palisade: a", "", "a (p.yaml:3)", "palisade: "] {
            assert_eq!(Provenance::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_comment_without_its_origin_keeps_what_says_that_it_is_ours() {
        let comments = ["palisade: a (b) c (p.yaml:3)", "palisade: a", "a (p.yaml:3)"];
        assert_eq!(comments.map(Provenance::without_origin), ["palisade: a (b) c", "palisade: a", "a (p.yaml:3)"]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            sentence in "[ -~]{0,60}",
            file in "[a-z._-]{1,20}\\.yaml",
            line in any::<u32>(),
            form in 0..5,
        ) {
            let time = "2026-11-22T15:04:05Z";
            let origins = [
                Origin::File(&file),
                Origin::Loaded(&file, time),
                Origin::Line(&file, line),
                Origin::Default(&file),
                Origin::BuiltIn,
            ];
            let written = Provenance { sentence: &sentence, origin: origins[form as usize] };
            let comment = written.to_string();
            prop_assert_eq!(Provenance::read(&comment), Some(written));
        }

        #[test]
        fn what_is_read_is_written_as_it_was(comment in "palisade: [ -~]{0,40} \\([ -~]{0,20}\\)") {
            if let Some(read) = Provenance::read(&comment)
                // `p.yaml:007` is line 7.
                && read.origin.line().is_none()
            {
                prop_assert_eq!(read.to_string(), comment);
            }
        }
    }
}
