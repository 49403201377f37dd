//! The tables of verdicts in `docs/containers.md` are complete, and say what must be. That they say what is, the engines and
//! kernel tiers tell.

mod support;

use std::collections::BTreeSet;
use support::rows::{Must, Rows, Without};
use support::verdict_table::{ENGINES, Key, Kind, NOTHING, UFW};

/// Whether a column's engine has a userland proxy.
fn has_proxy(column: &str) -> bool {
    !column.contains("direct") && !column.starts_with("Podman")
}

fn what_is_wrong(kind: Kind) -> Vec<String> {
    let table = kind.read();
    let mut wrong = Vec::new();
    for column in kind.columns {
        if !table.columns.iter().any(|found| found == column) {
            wrong.push(format!("there is no column {column}"));
        }
    }
    let found: Vec<&Key> = table.rows.iter().map(|(key, _)| key).collect();
    if found != kind.keys().iter().collect::<Vec<_>>() {
        wrong.push("its rows are not those of the tests".to_owned());
    }
    for ((title, line), cells) in &table.rows {
        let Some(section) = kind.sections.iter().find(|section| section.title == title) else { continue };
        let rows = Rows::new(section.rows);
        let Some(row) = rows.iter().find(|row| row.label == *line) else { continue };
        for (column, cell) in table.columns.iter().zip(cells) {
            // A replay has no daemon and no name server; Podman has no daemon whose containers outlive it.
            let may_be_empty = cell == NOTHING && (column.starts_with("29.7") || column.starts_with("Podman"));
            if !may_be_empty && !is_right(row.must, row.without, has_proxy(column), cell) {
                wrong.push(format!("{line}: {cell} beside {column}"));
            }
        }
    }
    wrong
}

fn is_right(must: Must, without: Without, proxy: bool, cell: &str) -> bool {
    let right = |both: &str| {
        let &[before, with] = both.as_bytes() else { return false };
        let open = before == b'+';
        let expected = match without {
            Without::Open => open,
            Without::OpenByProxy => open || !proxy,
            Without::Closed => !open,
            Without::Any => true,
        };
        let verdict = match must {
            Must::Denied => with == b'-',
            Must::Same => before == with,
            Must::Allowed if without == Without::OpenByProxy => before == with,
            Must::Allowed => with == b'+',
        };
        expected && verdict
    };
    cell.split(',').all(right)
}

#[test]
fn the_table_of_engines_is_complete_and_says_what_must_be() {
    assert_eq!(what_is_wrong(ENGINES), Vec::<String>::new());
}

#[test]
fn the_table_beside_ufw_is_complete_and_says_what_must_be() {
    assert_eq!(what_is_wrong(UFW), Vec::<String>::new());
}

#[test]
fn each_row_of_a_section_has_a_name_of_its_own() {
    for kind in [ENGINES, UFW] {
        let keys = kind.keys();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }
}
