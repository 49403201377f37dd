//! Explains the YAML reader's errors in plain words.

use super::diagnostic::{Diagnostic, Span, quote};
use super::lines::{before, is_break, lines, number_at};
use super::place::{MAX_DEPTH, MAX_NODES, span_of};
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource, budget::BudgetBreach};

/// Translates an error of the reader; `text` is what it read.
pub(super) fn explain(error: &Error, text: &str) -> Diagnostic {
    let span = error.location().map_or_else(|| end_of(text), |location| visible(span_of(location, text), text));
    let too_deep = || {
        Diagnostic::at(span, format!("lists and mappings are nested more than {MAX_DEPTH} deep here"))
            .help("a policy needs no more than five levels: check the indentation and the brackets")
    };
    let too_much = || {
        Diagnostic::at(span, format!("the file has more than {MAX_NODES} values once its aliases are written out"))
            .help("name each alias (`*name`) fewer times, or put long lists into a file: `{ file: PATH }`")
    };
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => explain(error, text),
        Error::MultipleDocuments { .. } => Diagnostic::at(span, "a second document begins here")
            .help("a policy is one document: remove the `---` and join the two"),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        Error::AliasReplayStackDepthExceeded { .. } => too_deep(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => too_much(),
        Error::UnknownAnchor { .. } => unknown_anchor(span),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Diagnostic::at(span, "this alias is inside its own anchor").help("write the value out")
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => Diagnostic::at(span, "what `<<` merges has to be a mapping")
            .help("write `<<: *name`, for a mapping's anchor"),
        Error::UnsupportedTag { tag, .. } => tag_refused(span, tag),
        Error::InvalidScalar { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. } => tag_refused(span, "!!"),
        Error::ExternalMessage { source, msg, .. } => match &**source {
            ExternalMessageSource::Parser(error) => explain_scan(error.kind(), span, msg, text),
            _ => Diagnostic::at(span, format!("this is not valid YAML: {msg}")),
        },
        Error::Eof { .. } => unclosed(span),
        other => Diagnostic::at(span, format!("this is not valid YAML: {}", first_line(&other.to_string()))),
    }
}

/// Gives common scanner errors a message of their own.
fn explain_scan(kind: &ErrorKind, span: Span, message: &str, text: &str) -> Diagnostic {
    of_tabs(kind, span, text)
        .or_else(|| of_brackets(kind, span, text))
        .or_else(|| of_levels(kind, span))
        .or_else(|| of_characters(kind, span))
        .unwrap_or_else(|| Diagnostic::at(span, format!("this is not valid YAML: {}", first_line(message))))
}

fn of_tabs(kind: &ErrorKind, span: Span, text: &str) -> Option<Diagnostic> {
    let is_tab = matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    );
    (is_tab || in_indentation_with_tab(text, span))
        .then(|| Diagnostic::at(span, "a tab can't indent YAML").help("indent with spaces, two for each level"))
}

/// Errors about brackets, including a file that ends inside them.
fn of_brackets(kind: &ErrorKind, span: Span, text: &str) -> Option<Diagnostic> {
    Some(match kind {
        ErrorKind::UnclosedFlowCollection { open } => {
            let close = if *open == '[' { ']' } else { '}' };
            Diagnostic::at(span, format!("the bracket `{open}` is never closed"))
                .help(format!("close it with `{close}` after its last item"))
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            Diagnostic::at(span, format!("the bracket `{open}` is closed by `{close}`")).help(if *open == '[' {
                "close it with `]`"
            } else {
                "close it with `}`"
            })
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            Diagnostic::at(span, "this bracket closes nothing").help("remove it, or open it where the list begins")
        }
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::ExpectedFlowMappingSeparator
            if let Some(open) = open_bracket(text, span) =>
        {
            Diagnostic::at(span, format!("the bracket of line {} is still open here", open.line))
                .note(open, "opened here")
                .help("close it after its last item")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => Diagnostic::at(span, "a comma or `]` is missing before this")
            .help("separate the items of a list with commas and close it with `]`"),
        ErrorKind::ExpectedFlowMappingSeparator => Diagnostic::at(span, "a comma or `}` is missing before this")
            .help("separate the entries with commas and close the mapping with `}`"),
        ErrorKind::RecursionLimitExceeded => {
            Diagnostic::at(span, format!("lists and mappings are nested more than {MAX_DEPTH} deep here"))
                .help("a policy needs no more than five levels: check the indentation and the brackets")
        }
        ErrorKind::UnexpectedEof
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnexpectedEofBlockMapping
        | ErrorKind::UnexpectedEofBlockSequence => unclosed(span),
        _ => return None,
    })
}

/// Errors about keys, colons and indentation.
fn of_levels(kind: &ErrorKind, span: Span) -> Option<Diagnostic> {
    Some(match kind {
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey => Diagnostic::at(span, "the colon or the indentation is not right here").help(
            "write each key on its own line as `key: value`, under the keys of its level; put a text with `: ` in quotes",
        ),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidFlowScalarIndent => {
            Diagnostic::at(span, "this line's indentation fits none of the lines above it")
                .help("what belongs together begins in the same column")
        }
        _ => return None,
    })
}

/// Errors about quotes, aliases, and characters that can't begin a value.
fn of_characters(kind: &ErrorKind, span: Span) -> Option<Diagnostic> {
    Some(match kind {
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            Diagnostic::at(span, "a quote is opened and never closed").help("close it on the same line")
        }
        ErrorKind::UnknownAnchor => unknown_anchor(span),
        ErrorKind::MissingAnchorOrAliasName => Diagnostic::at(span, "there is a `*` or `&` without a name here")
            .help("put a text that begins with `*` or `&` in quotes; everyone is called `any`"),
        ErrorKind::InvalidTrailingDoubleQuotedScalar | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            Diagnostic::at(span, "there is something after the closing quote")
                .help("separate the items of a list with commas, or put the quotes around the whole value")
        }
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            let typed = quote(&character.to_string());
            Diagnostic::at(span, format!("the invisible character {typed} stands here")).help("remove it")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            let typed = quote(&character.to_string());
            Diagnostic::at(span, format!("no value can begin with {typed}")).help("put the value in quotes")
        }
        ErrorKind::BomInsideDocument => Diagnostic::at(span, "a byte order mark is inside the file")
            .help("remove it: it is invisible, and it is left behind when files are joined"),
        ErrorKind::UnknownQuotedScalarEscape => Diagnostic::at(span, "no such escape is known in double quotes")
            .help("use single quotes, which take a backslash as it is"),
        _ => return None,
    })
}

fn unknown_anchor(span: Span) -> Diagnostic {
    Diagnostic::at(span, "this alias names an anchor that does not exist").help(
        "write `&name` before the value that is meant, above this line; put a text that begins with `*` in quotes",
    )
}

fn tag_refused(span: Span, _tag: &str) -> Diagnostic {
    Diagnostic::at(span, "a policy has no tags (`!name`)")
        .help("remove the tag, or put a text that begins with `!` in quotes")
}

fn unclosed(span: Span) -> Diagnostic {
    Diagnostic::at(span, "the file ends in the middle of something").help("close the last bracket or quote")
}

/// The last bracket opened on an earlier line and still open at a span. A guess: it does not follow quotes across
/// lines.
fn open_bracket(text: &str, span: Span) -> Option<Span> {
    let mut open = Vec::new();
    let mut start = 0;
    for (number, line) in (1..span.line).zip(lines(text)) {
        let mut quote = None;
        let mut previous = ' ';
        for (at, c) in line.char_indices() {
            match (quote, c) {
                (Some(mark), _) if mark == c => quote = None,
                (Some(_), _) => {}
                (None, '#') if previous.is_whitespace() => break,
                (None, '"' | '\'') if " [{,".contains(previous) => quote = Some(c),
                (None, '[' | '{') => {
                    open.push(Span { source: 0, start: start + at, end: start + at + 1, line: number });
                }
                (None, ']' | '}') => {
                    open.pop();
                }
                _ => {}
            }
            previous = c;
        }
        start += line.len();
    }
    open.pop()
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or("")
}

/// Whether the span's indentation contains a tab, with only blanks before the span on its line.
fn in_indentation_with_tab(text: &str, span: Span) -> bool {
    let line = before(text, span.start);
    let blank = line.chars().all(|c| c == ' ' || c == '\t');
    blank && (line.contains('\t') || text.get(span.start..).is_some_and(|rest| rest.starts_with('\t')))
}

/// The span of the text's last character.
fn end_of(text: &str) -> Span {
    let end = text.trim_end().len();
    let start = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
    Span { source: 0, start, end, line: number_at(text, start) }
}

/// Extends an empty span to one character, so that there is something to underline.
fn visible(span: Span, text: &str) -> Span {
    let rest = text.get(span.start..).unwrap_or("");
    if rest.trim().is_empty() {
        return end_of(text);
    }
    if span.end > span.start {
        return span;
    }
    let width = rest.chars().next().filter(|&c| !is_break(c)).map_or(0, char::len_utf8);
    Span { end: span.start + width, ..span }
}
