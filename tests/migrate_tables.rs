//! Live tables become a policy that gives the same access: recorded rulesets, and random ones.
#![allow(missing_docs)]

#[path = "support/arbitrary.rs"]
mod arbitrary;
#[path = "migrate/tables/dump.rs"]
mod dump;
#[path = "support/policies.rs"]
mod policies;
#[path = "migrate/tables/random.rs"]
mod random;
#[path = "migrate/tables/recorded.rs"]
mod recorded;

use palisade::access::{AccessChange, Direction, access_changes};
use palisade::desired::{Loaded, compile_bytes};
use palisade::migrate::Imported;
use palisade::migrate::tables::{Input, Program, import};
use palisade::names::Names;
use palisade::ruleset::{Family, Hook, Table, TableId};
use policies::config_of;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use random::{Ruleset, ruleset};
use recorded::{Recorded, names, with_machine};
use std::cell::Cell;
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
    with_machine(recorded, |machine| {
        import(&Input { machine, program, forwards: recorded.forwards, compile: &compiled })
    })
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
        let path = dump::folder().join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &now).expect("it can be written");
        }
        if fs::read_to_string(&path).unwrap_or_default() != now {
            different.push(format!("{name}:\n{now}"));
        }
    }

    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// What people lose or gain by a policy in the place of a ruleset, as the proof of access tells, without containers, which no
/// machine here has, and without what palisade lets in whatever a policy says.
fn changes(theirs: &Ruleset, ours: &Table) -> Vec<AccessChange> {
    let (_, table) = theirs.table();
    let is_essential = |change: &AccessChange| {
        let text = change.to_string();
        ["67-68/udp", "67/udp", "68/udp", "546/udp", "2/proto"].iter().any(|port| text.starts_with(port))
    };
    let by_containers = |change: &AccessChange| {
        let names = change.by.clone().unwrap_or_default();
        change.published || ["containers", "docker0", "br-*", "virbr*"].iter().any(|one| names.contains(one))
    };
    let all = access_changes(&TableId::palisade(), Some(&table), Some(ours)).into_iter();
    all.filter(|change| change.direction.is_none() && !is_essential(change) && !by_containers(change)).collect()
}

fn checked(ruleset: &Ruleset) -> Result<bool, TestCaseError> {
    let recorded =
        Recorded { tables: vec![ruleset.table()], is_iptables: false, has_containers: false, forwards: false };
    let made = imported(&recorded).map_err(TestCaseError::fail)?;
    let ours = compiled(&made.policy).map_err(TestCaseError::fail)?;
    let context = || format!("{}{}", made.policy, made.report.text().as_str());
    let changes = changes(&ruleset.without_limits(), &ours);
    let unknown_or_gained = changes.iter().filter(|change| !change.gains.is_empty() || !change.unknown.is_empty());
    let gains: Vec<String> = unknown_or_gained.map(ToString::to_string).collect();
    prop_assert_eq!(gains, Vec::<String>::new(), "{}", context());
    if !made.report.needs_reading() {
        let all: Vec<String> = changes.iter().map(ToString::to_string).collect();
        prop_assert_eq!(all, Vec::<String>::new(), "{}", context());
    }
    Ok(made.report.needs_reading())
}

fn try_rulesets(count: u32, limits: bool) -> u32 {
    let needed_reading = Cell::new(0);
    let outcome = TestRunner::new(config_of(count)).run(&ruleset(limits), |ruleset| {
        let needs = checked(&ruleset)?;
        needed_reading.set(needed_reading.get() + u32::from(needs));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    needed_reading.get()
}

#[test]
fn a_random_ruleset_and_its_policy_give_the_same_access_or_the_report_says_what_is_closed() {
    let needed = try_rulesets(80, false);

    assert!(needed < 24, "{needed} of 80 policies are not what the rules were");
}

#[test]
fn where_a_rate_decides_the_policy_is_of_what_keeps_to_it_and_the_report_says_so() {
    try_rulesets(25, true);
}

#[test]
#[ignore = "takes minutes"]
fn five_thousand_rulesets_and_their_policies_give_the_same_access() {
    try_rulesets(4_000, false);
    try_rulesets(1_000, true);
}

/// What this machine may open, by the proof of access.
#[test]
fn what_this_machine_may_open_by_the_rules_it_may_open_by_the_policy() {
    let recorded = Recorded::read("outgoing");
    let made = imported(&recorded).expect("it filters");
    let ours = compiled(&made.policy).expect("it is valid");
    let (_, theirs) = recorded.tables.first().expect("one table");
    let all = access_changes(&TableId::palisade(), Some(theirs), Some(&ours)).into_iter();
    // It always reaches its containers, and asks for addresses and groups of multicast.
    let is_free = |change: &AccessChange| {
        let text = change.to_string();
        change.to.as_deref() == Some("containers")
            || text.starts_with("out 547/udp")
            || text.starts_with("out 2/proto")
    };
    let sent = all.filter(|change| change.direction == Some(Direction::Out) && !is_free(change));
    let sent = sent.map(|change| change.to_string());

    assert_eq!(sent.collect::<Vec<String>>(), Vec::<String>::new());
}

/// No table makes the import panic, or print what is no policy.
#[test]
fn whatever_a_table_holds_the_import_is_a_policy_that_compiles_or_says_that_nothing_filters() {
    let outcome = TestRunner::new(config_of(12)).run(&arbitrary::table(), |mut table| {
        for (name, chain) in &mut table.chains {
            if let Some(base) = chain.base.as_mut().filter(|_| name.len() % 2 == 0) {
                base.hook = Hook::Input;
            }
        }
        let id = TableId { family: Family::Inet, name: "filter".to_owned() };
        let recorded =
            Recorded { tables: vec![(id, table)], is_iptables: false, has_containers: true, forwards: true };
        if let Err(why) = imported(&recorded) {
            prop_assert!(why.starts_with("no table of the kernel filters"), "{why}");
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
