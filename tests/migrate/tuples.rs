//! The lines of ufw's files one by one.

use super::{imported, loaded, ufw};
use std::fs;
use std::path::Path;

const GOLDEN: &str = "tests/migrate/tuples.txt";

/// What a line becomes: its services, what is said of it, and what palisade thinks of the policy.
fn becomes(line: &str) -> String {
    let of = |six: bool| {
        let family = if six { "6 " } else { "4 " };
        line.split(" && ").filter_map(|part| part.strip_prefix(family)).collect::<Vec<_>>()
    };
    let (four, six) = (of(false), of(true));
    let made = imported(&four, &six, ufw::defaults("DROP", "ACCEPT", "DROP", true));
    let (_, services) = made.policy.split_once("\nlog:\n  denied: 3/minute\n").expect("it logs");
    let services = services.split("\n# Made from ufw's rules").next().unwrap_or_default().trim_start();
    let problems = loaded(&made.policy).err().unwrap_or_default();
    let report = made.report.text().as_str().replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    format!("{services}--\n{report}{problems}\n")
}

#[test]
fn each_line_becomes_the_lines_of_policy_that_mean_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let golden = fs::read_to_string(&path).expect("it is there");
    let lines = golden.lines().filter_map(|line| line.strip_prefix("=== "));

    let now: String = lines.map(|line| format!("=== {line}\n{}", becomes(line))).collect();

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).expect("it can be written");
    }
    assert!(now == golden, "it should be\n{now}");
}
