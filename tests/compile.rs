//! What a policy compiles to: a sentence of intent, a policy, and the chains and sets that the sentence is about.
//!
//! Each file of `tests/compile` begins with the intent as a comment and a line `# show: NAME ...`, which names the
//! chains, sets and maps to be shown; `# kernel: RELEASE` is for another kernel than the newest; then comes the policy, and behind a line `---` the whole expected text of those.
//! `UPDATE_GOLDEN=1` writes that part anew.
#![allow(missing_docs)]

use palisade::facts::{Facts, Kernel};
use palisade::policy::parse;
use palisade::render;
use palisade::resolve::resolve;
use palisade::ruleset::{Ruleset, Table, TableId};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn compiled(policy: &str, kernel: Kernel) -> Table {
    let parsed = parse(policy, "policy.yaml");
    assert_eq!(parsed.problems, []);
    let resolved = resolve(&parsed.policy.expect("it has no problems"), &Facts { kernel, ..Facts::default() })
        .expect("it has a meaning");
    let Ruleset { mut tables } = palisade::compile::compile(&resolved);
    tables.remove(&TableId::palisade()).expect("the one table")
}

/// The table with nothing in it but what is named, without the line of the table's own comment.
fn shown(mut table: Table, names: &BTreeSet<&str>) -> String {
    for name in names {
        let there = table.chains.contains_key(*name) || table.sets.contains_key(*name);
        assert!(there, "{name} is not compiled; use `none NAME` for what must not be");
    }
    table.comment = None;
    table.chains.retain(|name, _| names.contains(name.as_str()));
    table.sets.retain(|name, _| names.contains(name.as_str()));
    render::table(&TableId::palisade(), &table)
}

#[test]
fn each_sentence_of_a_policy_becomes_the_rules_that_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile");
    let mut cases: Vec<_> = fs::read_dir(folder).expect("it is there").map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 15);
    let mut wrong = Vec::new();
    for path in cases {
        let text = fs::read_to_string(&path).expect("a case can be read");
        let (input, expected) = text.split_once("\n---\n").unwrap_or((&text, ""));
        let kernel = input.lines().find_map(|line| line.strip_prefix("# kernel: "));
        let table = compiled(&format!("{input}\n"), kernel.map_or(Kernel::NEWEST, Kernel::of_release));
        let directive = |key: &str| {
            let line = input.lines().find_map(|line| line.strip_prefix(key));
            line.map(|names| names.split_whitespace().collect::<BTreeSet<_>>()).unwrap_or_default()
        };
        for name in directive("# none:") {
            assert!(!table.chains.contains_key(name) && !table.sets.contains_key(name), "{}: {name}", path.display());
        }
        let found = shown(table, &directive("# show:"));
        if found != expected {
            wrong.push(format!("{}\n{found}", path.display()));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, format!("{input}\n---\n{found}")).expect("a case can be written");
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
