//! The tables of verdicts in `docs/containers.md`: a row for each line of verdicts, a column for each engine.
//!
//! A test compares its engine's column, and writes it there instead when `UPDATE_GOLDEN` is set.

use super::probe::Outcome;
use super::rows::{Outcomes, Rows};
use super::verdicts::{BESIDE_UFW, COLUMNS, COLUMNS_BESIDE_UFW, SECTIONS, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// One of the document's tables.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What its markers call it.
    name: &'static str,
    pub sections: &'static [Section],
    pub columns: &'static [&'static str],
}

pub const ENGINES: Kind = Kind { name: "verdicts", sections: &SECTIONS, columns: &COLUMNS };
pub const UFW: Kind = Kind { name: "verdicts beside ufw", sections: &[BESIDE_UFW], columns: &COLUMNS_BESIDE_UFW };

/// In the place of a cell when an engine has nothing to try, and when no test has written it yet.
pub const NOTHING: &str = "..";
pub const UNKNOWN: &str = "?";

/// A row of a table: its section's title, and its line.
pub type Key = (String, String);
/// Its cells, by column.
type Cells = BTreeMap<String, String>;

/// A table as it stands in the document: columns and rows in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<(Key, Vec<String>)>,
}

/// What came of one engine's rows.
#[derive(Default)]
pub struct Column(BTreeMap<Key, BTreeSet<String>>);

impl Column {
    /// Adds what came of a section's rows.
    pub fn add(&mut self, section: &Section, without: &Outcomes, with: &Outcomes) {
        for row in Rows::new(section.rows).iter() {
            let both = without.get(&row.probe).zip(with.get(&row.probe));
            if let Some((without, with)) = both {
                let key = (section.title.to_owned(), row.label.clone());
                self.0.entry(key).or_default().insert(format!("{}{}", sign(*without), sign(*with)));
            }
        }
    }

    fn cell(&self, key: &Key) -> String {
        let found = self.0.get(key).into_iter().flatten().map(String::as_str);
        let found: Vec<&str> = found.collect();
        if found.is_empty() { NOTHING.to_owned() } else { found.join(",") }
    }
}

impl Kind {
    /// Every row that the table must have.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for section in self.sections {
            for row in Rows::new(section.rows).iter() {
                let key = (section.title.to_owned(), row.label.clone());
                if keys.last() != Some(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// The table as the document has it.
    pub fn read(&self) -> Table {
        parse(&self.split(&document()).1)
    }

    /// Sentences about what the document says otherwise than an engine's column; with `UPDATE_GOLDEN` the column is written
    /// there. An engine that the document has no column for is new: its rows were judged, and that is said.
    pub fn compare(&self, title: &str, column: &Column) -> Vec<String> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let old = self.read();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let text = document();
            let (before, _, after) = self.split(&text);
            let table = self.with_column(&old, title, column).to_string();
            fs::write(path(), format!("{before}{table}{after}")).expect("docs/containers.md is writable");
            return Vec::new();
        }
        let Some(at) = old.columns.iter().position(|column| column == title) else {
            assert!(!self.columns.contains(&title), "docs/containers.md lacks the column {title}: UPDATE_GOLDEN=1");
            return Vec::new();
        };
        let keys = self.keys();
        let written = old.rows.iter().filter(|(key, _)| !keys.contains(key)).map(|(key, _)| key);
        let mut differing: Vec<String> = written.map(|(_, line)| format!("no test has the row {line:?}")).collect();
        for key in &keys {
            let documented = old.rows.iter().find(|(of, _)| of == key).map_or(UNKNOWN, |(_, cells)| &cells[at]);
            let found = column.cell(key);
            if found != documented {
                differing.push(format!("{} / {}: {documented} in the document, {found} here", key.0, key.1));
            }
        }
        differing
    }

    fn with_column(&self, old: &Table, title: &str, column: &Column) -> Table {
        let mut columns: Vec<String> = self.columns.iter().map(|column| (*column).to_owned()).collect();
        if !columns.iter().any(|known| known == title) {
            columns.push(title.to_owned());
        }
        let cells_of = |key: &Key| -> Cells {
            let row = old.rows.iter().find(|(of, _)| of == key);
            let cells = row.into_iter().flat_map(|(_, cells)| old.columns.iter().cloned().zip(cells.iter().cloned()));
            cells.chain([(title.to_owned(), column.cell(key))]).collect()
        };
        let rows = self.keys().into_iter().map(|key| {
            let cells = cells_of(&key);
            let cell = |column: &String| cells.get(column).map_or(UNKNOWN, String::as_str).to_owned();
            let cells = columns.iter().map(cell).collect();
            (key, cells)
        });
        let rows = rows.collect();
        Table { columns, rows }
    }

    /// The document up to the table, the table, and what follows.
    fn split(&self, text: &str) -> (String, String, String) {
        let (begin, end) = (format!("<!-- {}: begin -->\n", self.name), format!("<!-- {}: end -->", self.name));
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/containers.md lacks {begin}"));
        let (table, after) = rest.split_once(&end).unwrap_or_else(|| panic!("docs/containers.md lacks {end}"));
        (format!("{before}{begin}"), table.to_owned(), format!("{end}{after}"))
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/containers.md")
}

fn document() -> String {
    fs::read_to_string(path()).expect("docs/containers.md is there")
}

/// Reads a table as [`Table::to_string`] writes it: two lines of column titles, one word each; then sections and rows.
fn parse(text: &str) -> Table {
    let mut table = Table::default();
    let (mut titles, mut section): (Vec<&str>, &str) = (Vec::new(), "");
    for line in text.lines().filter(|line| !line.starts_with("```") && !line.is_empty()) {
        let Some((label, cells)) = line.split_once('|') else {
            section = line.trim();
            continue;
        };
        let words = cells.split_whitespace();
        if label.trim().is_empty() && titles.is_empty() {
            titles = words.collect();
        } else if label.trim().is_empty() {
            table.columns = titles.iter().zip(words).map(|(one, other)| format!("{one} {other}")).collect();
        } else {
            let cells: Vec<String> = words.map(str::to_owned).collect();
            assert_eq!(cells.len(), table.columns.len(), "a cell for each engine: {line}");
            table.rows.push(((section.to_owned(), label.trim().to_owned()), cells));
        }
    }
    table
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles: Vec<(&str, &str)> = self.columns.iter().filter_map(|title| title.split_once(' ')).collect();
        let label = self.rows.iter().map(|((_, line), _)| line.len() + 2).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().map(|(_, cells)| cells[at].len());
                cells.chain([titles[at].0.len(), titles[at].1.len()]).max().unwrap_or(0)
            })
            .collect();
        let line = |label_text: &str, cells: &[&str]| {
            let mut text = format!("{label_text:label$} |");
            for (cell, width) in cells.iter().zip(&widths) {
                write!(text, " {cell:width$}").expect("a string takes all");
            }
            text.trim_end().to_owned()
        };
        writeln!(f, "```text")?;
        writeln!(f, "{}", line("", &titles.iter().map(|(one, _)| *one).collect::<Vec<_>>()))?;
        writeln!(f, "{}", line("", &titles.iter().map(|(_, other)| *other).collect::<Vec<_>>()))?;
        let mut section = "";
        for ((of, row), cells) in &self.rows {
            if of != section {
                writeln!(f, "\n{of}")?;
                section = of;
            }
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            writeln!(f, "{}", line(&format!("  {row}"), &cells))?;
        }
        writeln!(f, "```")
    }
}

fn sign(outcome: Outcome) -> char {
    match outcome {
        Outcome::Connected => '+',
        Outcome::TimedOut => '-',
        Outcome::Refused | Outcome::Unreachable | Outcome::NotPermitted => 'x',
    }
}
