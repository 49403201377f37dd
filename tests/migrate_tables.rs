//! Live tables become a policy that gives the same access: recorded rulesets, and random ones.
#![allow(missing_docs)]

#[path = "migrate/tables/recorded.rs"]
mod recorded;

use palisade::desired::{Loaded, compile_bytes};
use palisade::migrate::Imported;
use palisade::migrate::tables::{Input, Program, import};
use palisade::names::Names;
use palisade::ruleset::Table;
use recorded::{Recorded, names, with_machine};
use std::fs;
use std::path::Path;

/// The policy's table, if it is valid and is what it expects to be.
fn compiled(policy: &str) -> Result<Table, String> {
    let compiled = compile_bytes(policy.as_bytes(), Path::new("policy.yaml"), &Names::default());
    let loaded = Loaded::from(compiled.map_err(|problems| format!("{policy}\n{}", problems.render(false)))?);
    match &loaded.unmet {
        Some(problems) => Err(format!("{policy}\n{}", problems.render(false))),
        None => Ok(loaded.table),
    }
}

fn imported(recorded: &Recorded) -> Result<Imported, String> {
    let program = if recorded.is_iptables { Program::Iptables } else { Program::Nft };
    with_machine(recorded, |machine| import(&Input { machine, program, compile: &compiled }))
}

fn printed(made: &Result<Imported, String>) -> String {
    match made {
        Err(why) => format!("error: {why}\n"),
        Ok(made) => {
            let exit = if made.report.needs_reading() { 2 } else { 0 };
            let report = anstream::adapter::strip_str(made.report.text().as_str()).to_string();
            format!("{}--- exit status {exit}\n{report}", made.policy)
        }
    }
}

#[test]
fn each_recorded_ruleset_becomes_the_policy_and_the_report_beside_it() {
    let mut different = Vec::new();
    for name in names() {
        let now = printed(&imported(&Recorded::read(&name)));
        let path = recorded::folder().join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it can be written");
        }
        if fs::read_to_string(&path).unwrap_or_default() != now {
            different.push(format!("{name}:\n{now}"));
        }
    }

    assert!(different.is_empty(), "{}", different.join("\n"));
}
