//! Out-of-band changes of palisade's table, one row a kind: `diff` names each, and `apply` mends it.
//!
//! `UPDATE_GOLDEN=1` writes into `tests/drift` what came out.

mod support;

use support::drift::{lab, rows, run, write};

/// Fails unless each row of `tests/drift/FILE` comes out as it is written.
#[track_caller]
fn assert_rows_hold(file: &str) {
    let path = format!("{}/tests/drift/{file}", env!("CARGO_MANIFEST_DIR"));
    let expected = rows(&std::fs::read_to_string(&path).expect("the rows are there"));
    let (mut lab, mut found, mut wrong) = (lab(), Vec::new(), String::new());
    for row in expected {
        let came_out = run(&lab, &row).unwrap_or_else(|why| {
            wrong.push_str(&format!("== {}\n{why}\n", row.kind));
            lab = support::drift::lab();
            row.clone()
        });
        if came_out != row {
            wrong.push_str(&format!("-- expected\n{}-- came out\n{}\n", write([&row]), write([&came_out])));
        }
        found.push(came_out);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, write(&found)).expect("the rows can be written");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_change_of_a_rule_is_named_and_mended() {
    assert_rows_hold("rules.txt");
}

#[test]
fn every_change_of_an_element_is_named_and_mended() {
    assert_rows_hold("elements.txt");
}

#[test]
fn every_change_of_a_set_or_map_is_named_and_mended() {
    assert_rows_hold("sets.txt");
}

#[test]
fn every_change_of_a_chain_is_named_and_mended() {
    assert_rows_hold("chains.txt");
}

#[test]
fn every_change_of_the_table_is_named_and_mended() {
    assert_rows_hold("table.txt");
}

#[test]
fn what_is_no_change_of_the_policy_is_left_alone() {
    assert_rows_hold("not-drift.txt");
}
