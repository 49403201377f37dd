//! What is advised for bad policies is done to them as it stands: then the problem is gone, and no other comes.
//!
//! Of each problem of `tests/bad-policies` the parts of its help in backquotes are tried: in the place of what is
//! underlined, as a line of the policy, and as a key beside it; what is to be removed or left out is. The problems that
//! none of these mends are listed in `tests/bad-policies-by-hand.txt`; `UPDATE_GOLDEN=1` writes it.

#[path = "support/merged.rs"]
#[allow(dead_code, unreachable_pub)]
mod merged;

use palisade::desired::{Loaded, load_and_prove};
use palisade::names::Names;
use palisade::policy::{Diagnostic, Problems, Span};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A policy whose every reading takes its time.
const NOT_TRIED: &str = "alias-bomb";
/// Of longer files nothing is tried.
const TOO_LONG: usize = 16 << 10;

#[test]
fn what_is_advised_for_a_bad_policy_mends_it_unless_it_is_listed_as_done_by_hand() {
    std::panic::set_hook(Box::new(|_| {}));
    let (mut by_hand, mut mended) = (String::new(), 0);
    for case in cases() {
        let copy = copied(&case);
        let Some(problems) = problems_of(copy.path()) else { continue };
        for problem in &problems.diagnostics {
            let Some(help) = &problem.help else { continue };
            let is_tried = !case.ends_with(NOT_TRIED);
            if is_tried && is_mended(copy.path(), &problems, problem, help) {
                mended += 1;
            } else {
                let name = case.file_name().expect("a name").to_string_lossy().into_owned();
                let folder = format!("{}/", copy.path().display());
                by_hand.push_str(&format!("{name}: {}\n    {help}\n", problem.message.replace(&folder, "")));
            }
        }
    }
    let _ = std::panic::take_hook();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-policies-by-hand.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &by_hand).expect("the golden can be written");
    }
    eprintln!("{mended} were mended");
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let more: Vec<_> = lines(&by_hand).difference(&lines(&expected)).cloned().collect();
    let fewer: Vec<_> = lines(&expected).difference(&lines(&by_hand)).cloned().collect();
    assert_eq!((more, fewer), (Vec::new(), Vec::new()), "no longer mended, and mended now");
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-policies");
    let entries = fs::read_dir(folder).expect("the cases exist");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

/// A copy of a case, since a checkout may lie in a folder that others can write.
fn copied(case: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder for the copy");
    for entry in fs::read_dir(case).expect("the case exists") {
        let from = entry.expect("an entry").path();
        write(&copy.path().join(from.file_name().expect("a name")), &fs::read(&from).expect("a file"));
    }
    copy
}

fn write(path: &Path, text: &[u8]) {
    fs::write(path, text).expect("the copy can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
}

fn problems_of(folder: &Path) -> Option<Problems> {
    match load_and_prove(&folder.join("policy.yaml"), &Names::default()) {
        Ok(Loaded { unmet, .. }) => unmet,
        Err(problems) => Some(problems),
    }
}

/// Whether one of the edits that the help stands for leaves fewer problems, this one not among them.
fn is_mended(folder: &Path, problems: &Problems, problem: &Diagnostic, help: &str) -> bool {
    // What is said of the whole file is mended at its beginning.
    let span = problem.span.unwrap_or_default();
    let Some(source) = problems.sources.0.get(span.source).filter(|source| source.text.len() < TOO_LONG) else {
        return false;
    };
    let name = Path::new(&source.name).file_name().expect("a name");
    let path = folder.join(name);
    let Ok(original) = fs::read(&path) else { return false };
    let text = source.text.to_string();
    let same = |diagnostics: &[Diagnostic]| diagnostics.iter().filter(|one| one.message == problem.message).count();
    let mended = edits(&text, span, help).into_iter().any(|edited| {
        write(&path, edited.as_bytes());
        let left = problems_of(folder).map(|problems| problems.diagnostics).unwrap_or_default();
        left.len() < problems.diagnostics.len() && same(&left) < same(&problems.diagnostics)
    });
    write(&path, &original);
    mended
}

/// The texts that a person could mean who does as the help says.
fn edits(text: &str, span: Span, help: &str) -> Vec<String> {
    let mut edits = Vec::new();
    let (Some(before), Some(wrong), Some(behind)) =
        (text.get(..span.start), text.get(span.start..span.end), text.get(span.end..))
    else {
        return edits;
    };
    let parts: Vec<&str> = help.split('`').skip(1).step_by(2).collect();
    for part in &parts {
        edits.push(format!("{before}{part}{behind}"));
        edits.push(format!("{before}\"{part}\"{behind}"));
        if part.contains(": ") {
            // A line of the policy, or a key beside what is underlined.
            edits.extend(catch_unwind(|| merged::with_line(text, part)).ok());
            edits.extend(behind.find('{').map(|at| {
                let (name, rest) = behind.split_at(at + 1);
                format!("{before}{wrong}{name} {part},{rest}")
            }));
            edits.push(with_line_below(text, span, part));
        }
    }
    let says = |word: &str| {
        help.starts_with(word) || help.contains(&format!(", {word}")) || help.contains(&format!("or {word}"))
    };
    if says("remove") || says("leave") || says("take") {
        edits.push(format!("{before}{behind}"));
        edits.extend(without_entry(text, span));
        edits.push(without_lines(text, span));
        for key in &parts {
            edits.extend(without_key(text, span, key));
        }
    }
    edits
}

/// The text with another key below the line of the span, indented as what follows it.
fn with_line_below(text: &str, span: Span, part: &str) -> String {
    let line = usize::try_from(span.line).expect("a line");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let depth = lines.get(line).map_or(4, |next| next.len() - next.trim_start().len());
    lines.insert(line.min(lines.len()), format!("{}{part}", " ".repeat(depth)));
    lines.join("\n") + "\n"
}

/// The text without the lines of the span.
fn without_lines(text: &str, span: Span) -> String {
    let (first, last) = (text[..span.start].matches('\n').count(), text[..span.end].matches('\n').count());
    let kept = text.lines().enumerate().filter(|(at, _)| !(first..=last).contains(at));
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

/// The text without the item, or the key and value, around the span, with one comma.
fn without_entry(text: &str, span: Span) -> Option<String> {
    let is_edge = |c: char| ",[{\n".contains(c);
    let begin = text.get(..span.start)?.rfind(is_edge)?;
    let end = span.end + text.get(span.end..)?.find(|c| ",]}\n".contains(c))?;
    let by_comma = text.get(begin..=begin)? == ",";
    let (begin, end) = match (by_comma, text.get(end..=end)?) {
        (true, _) => (begin, end),
        (false, ",") => (begin + 1, end + 1),
        (false, _) => (begin + 1, end),
    };
    Some(format!("{}{}", text.get(..begin)?, text.get(end..)?))
}

/// The text without a key of the line of the span, or of the lines around it.
fn without_key(text: &str, span: Span, key: &str) -> Option<String> {
    let key = key.split(':').next()?;
    let around = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let at = around + text.get(around..)?.find(&format!("{key}:"))?;
    let end = text.get(at..)?.find(": ").map(|colon| at + colon + 2)?;
    let value = text.get(end..)?;
    let len = match value.chars().next()? {
        '[' => value.find(']')? + 1,
        '{' => value.find('}')? + 1,
        _ => value.find([',', '}', '\n'])?,
    };
    without_entry(text, Span { start: at, end: end + len, ..span })
}
