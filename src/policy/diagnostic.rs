//! Problems and warnings of a policy: what is wrong, where, and what to write instead.

use super::lines::{before, floor, is_break, lines, outside_break};
use crate::printable::{is_invisible, printable, visible};
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// How many characters of a long line are shown before and after the underlined text.
const CONTEXT: usize = 2_000;

/// How many problems are shown to people. Programs get them all.
const MAX_SHOWN: usize = 100;

/// A run of bytes in one of the [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The source's index; 0 is the policy itself.
    pub source: usize,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// The line of the first byte, counted from 1. Rules keep it after the text is gone.
    pub line: u32,
}

/// How bad something is. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A problem: the policy can't be used.
    Error,
    /// The policy can be used, and does probably not what its author wants.
    Warning,
    /// Nothing is wrong, and there is something to know.
    Note,
}

impl Severity {
    const fn level(self) -> Level<'static> {
        match self {
            Self::Error => Level::ERROR,
            Self::Warning => Level::WARNING,
            Self::Note => Level::NOTE,
        }
    }

    /// What a rendered diagnostic of it begins with.
    const fn title(self) -> &'static str {
        match self {
            Self::Error => "error: ",
            Self::Warning => "warning: ",
            Self::Note => "note: ",
        }
    }
}

/// One problem, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// Where it is; `None` if the problem concerns a whole file, which the message then names.
    pub span: Option<Span>,
    /// A few words beside the underlined text.
    pub label: Option<String>,
    /// A second place that explains the first, and its label.
    pub note: Option<(Span, String)>,
    /// What to write or do instead.
    pub help: Option<String>,
    /// A packet's steps that show the problem, in words.
    pub path: Vec<String>,
}

impl Diagnostic {
    /// A problem with a place.
    #[must_use]
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: printable(&message.into()).into_owned(),
            span: Some(span),
            label: None,
            note: None,
            help: None,
            path: Vec::new(),
        }
    }

    /// A problem of a whole file or of the machine, without a place.
    #[must_use]
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: printable(&message.into()).into_owned(),
            span: None,
            label: None,
            note: None,
            help: None,
            path: Vec::new(),
        }
    }

    /// Makes a warning of it.
    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Makes a note of it.
    #[must_use]
    pub fn as_note(self) -> Self {
        Self { severity: Severity::Note, ..self }
    }

    /// Adds words beside the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(printable(&label.into()).into_owned());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn note(mut self, span: Span, note: impl Into<String>) -> Self {
        self.note = Some((span, printable(&note.into()).into_owned()));
        self
    }

    /// Adds the steps of a packet that show the problem.
    #[must_use]
    pub fn path(mut self, steps: impl IntoIterator<Item = String>) -> Self {
        self.path = steps.into_iter().map(|step| printable(&step).into_owned()).collect();
        self
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()).into_owned());
        self
    }
}

/// A text that spans point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name to show: the path as the user typed it.
    pub name: String,
    /// The text, without a byte order mark.
    pub text: Arc<str>,
}

/// The texts that were read: the policy first, then the files it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// The name of the source that a problem is in. Without a place, the policy's name.
    #[must_use]
    pub fn name(&self, span: Option<Span>) -> &str {
        self.0.get(span.map_or(0, |span| span.source)).map_or("", |source| &source.name)
    }

    /// The text that a span points into.
    fn text(&self, span: Span) -> &str {
        self.0.get(span.source).map_or("", |source| &source.text)
    }

    /// The spans of the policy's lines without their indentation, the first line first.
    pub fn lines(&self) -> impl Iterator<Item = Span> {
        let mut end = 0;
        let policy = self.0.first().map_or("", |source| &source.text);
        (1..).zip(lines(policy)).map(move |(line, whole)| {
            let words = whole.trim();
            let start = end + (whole.len() - whole.trim_start().len());
            end += whole.len();
            Span { source: 0, start, end: start + words.len(), line }
        })
    }

    /// The column of a span's first character, in characters counted from 1.
    #[must_use]
    pub fn column(&self, span: Span) -> usize {
        1 + before(self.text(span), span.start).chars().count()
    }
}

/// A problem or a warning as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// The file.
    pub file: String,
    /// The line, counted from 1; `None` when the whole file is meant.
    pub line: Option<u32>,
    /// The column in characters, counted from 1.
    pub column: Option<usize>,
    /// What to write instead.
    pub help: Option<String>,
    /// A packet's steps that show the problem; empty if there is no such packet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

/// The problems and warnings of a policy, with the texts that they point into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The problems and warnings, by file and position.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts.
    pub sources: Sources,
}

impl Problems {
    /// Sorts by file and position. Keeps a problem found twice (through an alias) once.
    #[must_use]
    pub fn new(mut diagnostics: Vec<Diagnostic>, sources: Sources) -> Self {
        diagnostics.sort_by(|a, b| (a.span, a.severity, &a.message).cmp(&(b.span, b.severity, &b.message)));
        diagnostics.dedup();
        Self { diagnostics, sources }
    }

    /// Adds other diagnostics that point into the same texts.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        self.diagnostics.extend(others.diagnostics.iter().cloned());
        Self::new(self.diagnostics, self.sources)
    }

    /// Renders all of them for people, each with its source text underlined. `color` adds ANSI escapes.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render(&self.diagnostics, &self.sources, color)
    }

    /// Renders each one of that severity as [`Problems::render`] does, without colour. For logs, which say the
    /// severity themselves.
    #[must_use]
    pub fn for_log(&self, severity: Severity) -> Vec<String> {
        let of_it: Vec<Diagnostic> = self.of(severity).cloned().collect();
        let rendered = rendered(&of_it, &self.sources, false);
        rendered.map(|text| text.strip_prefix(severity.title()).unwrap_or(&text).to_owned()).collect()
    }

    /// All problems for programs.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.for_programs(Severity::Error)
    }

    /// All warnings for programs.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        self.for_programs(Severity::Warning)
    }

    /// All notes for programs.
    #[must_use]
    pub fn notes(&self) -> Vec<Problem> {
        self.for_programs(Severity::Note)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(move |diagnostic| diagnostic.severity == severity)
    }

    fn for_programs(&self, severity: Severity) -> Vec<Problem> {
        let mut before: Option<(Span, usize)> = None;
        let mut column = |span: Span| {
            // Counts on from the previous problem: one line of a megabyte may hold thousands of problems.
            let between = before
                .filter(|(last, _)| (last.source, last.line) == (span.source, span.line))
                .and_then(|(last, column)| Some((column, self.sources.text(span).get(last.start..span.start)?)));
            let column = between.map_or_else(|| self.sources.column(span), |(at, text)| at + text.chars().count());
            before = Some((span, column));
            column
        };
        let problem = |d: &Diagnostic| Problem {
            message: d.message.clone(),
            file: self.sources.name(d.span).to_owned(),
            line: d.span.map(|span| span.line),
            column: d.span.map(&mut column),
            help: d.help.clone(),
            path: d.path.clone(),
        };
        self.of(severity).map(problem).collect()
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// Renders problems for people, separated by empty lines: the first hundred, then the number of the rest.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    rendered(diagnostics, sources, color).map(|text| text + "\n").collect::<Vec<_>>().join("\n")
}

fn rendered(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> impl Iterator<Item = String> {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let hidden = diagnostics.get(MAX_SHOWN..).unwrap_or_default();
    let rest = hidden.iter().map(|diagnostic| diagnostic.severity).min().map(|worst| {
        let what = match worst {
            Severity::Error => "problems",
            Severity::Warning => "warnings",
            Severity::Note => "notes",
        };
        let rest = Diagnostic::general(format!("{} more {what} are not shown", hidden.len()));
        Diagnostic { severity: worst, ..rest }
    });
    let shown = diagnostics.iter().take(MAX_SHOWN).cloned().chain(rest);
    shown.map(move |diagnostic| render_one(&diagnostic, sources, &renderer))
}

fn render_one(diagnostic: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let mut group = Group::with_title(diagnostic.severity.level().primary_title(&diagnostic.message));
    if let Some((span, excerpt)) = diagnostic.span.and_then(|span| Some((span, excerpt(sources, span)?))) {
        let primary = AnnotationKind::Primary.span(excerpt.range.clone()).label(diagnostic.label.as_deref());
        group = with_snippet(group, span, excerpt, primary, sources);
    }
    if let Some((span, text, excerpt)) =
        diagnostic.note.as_ref().and_then(|(span, text)| Some((*span, text, excerpt(sources, *span)?)))
    {
        let context = AnnotationKind::Context.span(excerpt.range.clone()).label(text.as_str());
        group = with_snippet(group, span, excerpt, context, sources);
    }
    let path = diagnostic.path.iter().map(|step| format!("\n{step}")).collect::<String>();
    if !path.is_empty() {
        group = group.element(Level::NOTE.message(format!("the packet's path{path}")));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

fn with_snippet<'a>(
    group: Group<'a>,
    span: Span,
    excerpt: Excerpt<'a>,
    annotation: Annotation<'a>,
    sources: &'a Sources,
) -> Group<'a> {
    let name = sources.name(Some(span));
    let snippet = Snippet::source(excerpt.text).line_start(span.line as usize).annotation(annotation);
    if excerpt.whole {
        return group.element(snippet.path(name));
    }
    // The renderer would count the column from the cut.
    group.element(Origin::path(name).line(span.line as usize).char_column(sources.column(span))).element(snippet)
}

/// The first line of a span, cut where it is long, and the span's place in it.
struct Excerpt<'a> {
    text: Cow<'a, str>,
    /// Whether it begins at the beginning of its line.
    whole: bool,
    range: std::ops::Range<usize>,
}

/// Cuts an excerpt out before rendering, since a file may have a hundred megabytes, or one line of a megabyte. The
/// range lies within the text whatever the span says: the renderer requires that.
fn excerpt(sources: &Sources, span: Span) -> Option<Excerpt<'_>> {
    let text: &str = &sources.0.get(span.source)?.text;
    let start = outside_break(text, floor(text, span.start));
    let end = floor(text, span.end).max(start);
    let head = text.get(..start)?;
    let from = head.char_indices().rev().take(CONTEXT).take_while(|&(_, c)| !is_break(c)).last();
    let from = from.map_or(start, |(index, _)| index);
    // Only the first line of a multi-line span. The rest follows in the file, and often is all of it.
    let underlined = beginning(text.get(start..end)?);
    let tail = match underlined.chars().count() {
        CONTEXT => "",
        _ => beginning(text.get(start + underlined.len()..)?),
    };
    let range = start - from..start - from + underlined.len();
    let whole = head.get(..from).is_some_and(|before| before.is_empty() || before.ends_with(is_break));
    Some(shown(text.get(from..start + underlined.len() + tail.len())?, whole, range))
}

/// Replaces invisible characters outside ASCII. The renderer itself replaces all ASCII control characters, but only
/// some of the others.
fn shown(text: &str, whole: bool, range: std::ops::Range<usize>) -> Excerpt<'_> {
    let is_refused = |c: char| !c.is_ascii() && is_invisible(c);
    if !text.contains(is_refused) {
        return Excerpt { text: Cow::Borrowed(text), whole, range };
    }
    let replaced = |part: &str| part.replace(is_refused, "\u{fffd}");
    let [before, underlined] = [0..range.start, range.clone()].map(|part| replaced(text.get(part).unwrap_or("")));
    let after = replaced(text.get(range.end..).unwrap_or(""));
    let range = before.len()..before.len() + underlined.len();
    Excerpt { text: Cow::Owned(before + &underlined + &after), whole, range }
}

/// The first line of a text without its break, cut at [`CONTEXT`] characters.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().enumerate().find(|&(count, (_, c))| count == CONTEXT || is_break(c));
    end.and_then(|(_, (index, _))| text.get(..index)).unwrap_or(text)
}

/// Quotes user input for a message: in backquotes, on one line, shortened, without terminal control characters.
#[must_use]
pub fn quote(typed: &str) -> String {
    match typed.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", visible(typed.get(..end).unwrap_or(""))),
        None => format!("`{}`", visible(typed)),
    }
}

/// The known word nearest to a mistyped one, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    let length = typed.chars().count();
    if length > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|word| {
            // People seldom mistype the first letter.
            let begins_alike = word.to_ascii_lowercase().chars().next() == typed.chars().next();
            (strsim::osa_distance(&typed, &word.to_ascii_lowercase()), !begins_alike, word)
        })
        .filter(|&(distance, _, word)| {
            let longest = length.max(word.chars().count());
            distance <= (longest / 3).clamp(1, 3) && distance < longest
        })
        .min()
        .map(|(_, _, word)| word)
}

/// Joins known words for a message: "`a`, `b` and `c`".
#[must_use]
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(quote).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
