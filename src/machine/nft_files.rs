//! Finds `flush ruleset` in files for stock nft.

use crate::files::read_text_bounded;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where nft looks for a relative `include`.
const INCLUDES: &str = "/etc";
/// How deep includes are followed; nft has the same limit.
const MAX_DEPTH: usize = 16;

/// The longest file of rules that is read, in bytes. Sets may have many elements.
const MAX_RULES: u64 = 64 << 20;

/// A line that flushes the ruleset of all programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// The first line that flushes the ruleset of all programs, in a file of rules or in one that it includes; `None` if
/// there is none.
///
/// # Errors
/// The file, or one that it includes, can't be read: a clause that names it.
pub fn flushes(file: &Path) -> Result<Option<Flush>, String> {
    look(file, &mut BTreeSet::new(), 0)
}

fn look(file: &Path, seen: &mut BTreeSet<PathBuf>, depth: usize) -> Result<Option<Flush>, String> {
    if depth > MAX_DEPTH || !seen.insert(file.to_owned()) {
        return Ok(None);
    }
    let text = read_text_bounded(file, MAX_RULES);
    let text = text.map_err(|error| format!("{} can't be read: {error}", file.display()))?;
    for (number, statement) in statements(&text) {
        match statement {
            Statement::Flush => return Ok(Some(Flush { file: file.to_owned(), line: number })),
            Statement::Include(pattern) => {
                for path in matching(&Path::new(INCLUDES).join(pattern)) {
                    if let Some(found) = look(&path, seen, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
    }
    Ok(None)
}

#[derive(Debug, PartialEq, Eq)]
enum Statement {
    Flush,
    Include(String),
}

/// The flushes and includes of a file, each with its line.
fn statements(text: &str) -> Vec<(usize, Statement)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for statement in without_comment(line).split(';') {
            let mut words = statement.split_whitespace();
            match (words.next(), words.next()) {
                (Some("flush"), Some("ruleset")) => found.push((index + 1, Statement::Flush)),
                (Some("include"), Some(_)) => {
                    let name = statement.trim().trim_start_matches("include").trim();
                    found.push((index + 1, Statement::Include(name.trim_matches(['"', '\'']).to_owned())));
                }
                _ => {}
            }
        }
    }
    found
}

/// Cuts a comment off. A `#` inside quotes does not begin one.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return line.get(..at).unwrap_or_default(),
            _ => {}
        }
    }
    line
}

/// The files that match a path with `*` and `?`, in order.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let inside = |folder: &PathBuf| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let named = entries.filter(|entry| {
                let entry = entry.file_name();
                let entry = entry.to_string_lossy();
                // As in a shell, a wildcard matches a hidden file only after a literal dot.
                (!entry.starts_with('.') || name.starts_with('.')) && matches(name.as_bytes(), entry.as_bytes())
            });
            let mut paths: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
            paths.sort();
            paths
        };
        found = found.iter().flat_map(inside).collect();
    }
    found
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, name.get(skipped..).unwrap_or(&[]))),
        ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
        ([one, rest @ ..], [other, name @ ..]) => one == other && matches(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_is_found_where_it_stands_and_not_in_a_comment() {
        let text =
            "#!/usr/sbin/nft -f\n# flush ruleset\ndefine a = 1; flush  ruleset inet\nadd rule t c comment \"#; x\"\n";
        assert_eq!(statements(text), [(3, Statement::Flush)]);
        assert_eq!(statements("flush table inet mine\n"), []);
        let include = "  include \"/etc/nftables.d/*.nft\" # all\n";
        assert_eq!(statements(include), [(1, Statement::Include("/etc/nftables.d/*.nft".to_owned()))]);
    }

    #[test]
    fn includes_are_followed_and_a_circle_of_them_ends() {
        let scratch = tempfile::tempdir().expect("a folder for a test");
        let [main, folder] = ["main.nft", "more"].map(|name| scratch.path().join(name));
        fs::create_dir(&folder).expect("a folder in a fresh one");
        let include = |what: &Path| format!("include \"{}\"\n", what.display());
        fs::write(&main, format!("table inet a {{}}\n{}", include(&folder.join("*.nft")))).expect("it is writable");
        fs::write(folder.join("1.nft"), include(&main)).expect("it is writable");
        assert_eq!(flushes(&main), Ok(None));
        fs::write(folder.join("2.nft"), "\nflush ruleset\n").expect("it is writable");
        assert_eq!(flushes(&main), Ok(Some(Flush { file: folder.join("2.nft"), line: 2 })));
        fs::remove_file(&main).expect("it is there");
        let why = format!("{} can't be read: No such file or directory (os error 2)", main.display());
        assert_eq!(flushes(&main), Err(why));
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_they_do_in_a_shell() {
        let is = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
        assert!(is("*.nft", "a.nft") && is("??-*", "10-x") && is("*", ""));
        assert!(!is("*.nft", "a.nft.bak") && !is("?", "") && !is("a*b", "ac"));
    }
}
