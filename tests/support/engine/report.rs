//! What was found, as a table: a row for each line of verdicts, a column for each engine.

use crate::support::probe::Outcome;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One probe's outcomes, without palisade and with.
pub struct Verdict {
    /// The line of the table that it is of.
    pub line: String,
    /// After what.
    pub when: &'static str,
    pub probe: String,
    pub both: (Outcome, Outcome),
}

/// Writes an engine's verdicts to `target/verdicts/SETTING`, one a line, and those of all engines there into the table
/// `target/verdicts.md`.
pub fn write(setting: &str, version: &str, verdicts: &[Verdict]) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let folder = target.join("verdicts");
    fs::create_dir_all(&folder).expect("target is writable");
    let mut text = format!("{setting} {version}\n");
    for Verdict { line, when, probe, both: (without, with) } in verdicts {
        text.push_str(&format!("{line}\t{} → {}\t{when}\t{probe}\n", word(*without), word(*with)));
    }
    fs::write(folder.join(setting), text).expect("target is writable");
    let paths = fs::read_dir(&folder).expect("it is there").flatten().map(|entry| entry.path());
    let paths: BTreeSet<PathBuf> = paths.collect();
    let columns: Vec<String> = paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    fs::write(target.join("verdicts.md"), table(&columns)).expect("target is writable");
}

fn table(columns: &[String]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in columns.iter().flat_map(|column| column.lines().skip(1)).filter_map(|line| line.split('\t').next()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let heads: Vec<&str> = columns.iter().filter_map(|column| column.lines().next()).collect();
    let mut text =
        format!("| without palisade → with | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for line in lines {
        let cells = columns.iter().map(|column| {
            let of_line =
                column.lines().filter_map(|found| found.strip_prefix(line)?.strip_prefix('\t')?.split('\t').next());
            of_line.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
        });
        text.push_str(&format!("| {line} | {} |\n", cells.collect::<Vec<_>>().join(" | ")));
    }
    text
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connected => "open",
        Outcome::TimedOut => "silent",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
        Outcome::NotPermitted => "forbidden",
    }
}
