//! Random machines and random policies, each tried with real connections: whatever `explain`, `expect`, `exposure` and
//! `apply --dry-run` say of a connection is what becomes of it, answers included.
//!
//! `PROPTEST_RNG_SEED` chooses the machines; each test prints its own.
#![allow(missing_docs)]

mod machines;
mod support;

use machines::drawn::{Built, Drawn};
use machines::policy::policy;
use machines::said::{Compared, Sum};
use palisade::desired::compile_policy;
use palisade::names::Names;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use support::dice::Dice;
use support::policies::config_of;

/// Policies for each machine, and connections that are tried before the first and beside each.
const POLICIES: usize = 3;
const CONNECTIONS: usize = 64;

/// Draws until a policy is valid.
fn valid_policy(dice: &mut Dice, machine: &Drawn, built: &Built, sum: &mut Sum) -> String {
    loop {
        let text = policy(dice, machine);
        let path = built.lab.write_policy("policy.yaml", &text);
        match compile_policy(&path, &Names::default()) {
            Ok(_) => return text,
            Err(problems) => {
                for problem in problems.diagnostics {
                    *sum.refused.entry(problem.message.clone()).or_default() += 1;
                }
            }
        }
    }
}

/// One machine, before any policy and beside each of some.
fn compare_on_one(seed: u64, sum: &mut Sum) -> Result<(), String> {
    let mut dice = Dice::seeded(seed);
    let machine = Drawn::new(&mut dice);
    let built = Built::new(&machine);
    if !machine.rules.is_empty() {
        built.lab.host.nft_load(&machine.rules);
    }
    let mut compared = Compared::new(&machine, &built, &mut dice, CONNECTIONS);
    let mut wrong = compared.without_palisade(&mut dice, sum);
    let mut texts = Vec::new();
    for _ in 0..POLICIES {
        let text = valid_policy(&mut dice, &machine, &built, sum);
        wrong.extend(
            compared.beside(&mut dice, &text, sum).into_iter().map(|one| format!("policy {}: {one}", texts.len())),
        );
        texts.push(text);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> =
        texts.iter().enumerate().map(|(index, text)| format!("# policy {index}\n{text}")).collect();
    Err(format!(
        "{} are wrong on machine {seed}:\n{}\n{machine:#?}\n{}\n{}",
        wrong.len(),
        wrong.join("\n"),
        machine.rules,
        texts.concat()
    ))
}

/// Compares what is said with what is so on so many machines.
fn compare(machines: u32) -> Sum {
    let sum: RefCell<Sum> = RefCell::default();
    if let Some(seed) = std::env::var("PALISADE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        compare_on_one(seed, &mut sum.borrow_mut()).unwrap_or_else(|why| panic!("{why}"));
        return sum.into_inner();
    }
    // A machine takes seconds to make.
    let config = Config { max_shrink_iters: 0, ..config_of(machines) };
    let outcome = TestRunner::new(config)
        .run(&any::<u64>(), |seed| compare_on_one(seed, &mut sum.borrow_mut()).map_err(TestCaseError::fail));
    let sum = sum.into_inner();
    eprintln!("{sum:#?}");
    match outcome {
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(error) => panic!("{error}"),
        Ok(()) => sum,
    }
}

#[test]
fn whatever_is_said_of_a_connection_on_a_machine_is_what_becomes_of_it() {
    let sum = compare(4);

    assert!(sum.unknown * 100 < sum.connections * 3, "of too many nothing can be told: {sum:?}");
}

#[test]
#[ignore = "takes half an hour"]
fn whatever_is_said_of_a_connection_on_a_machine_is_what_becomes_of_it_twenty_thousand_times() {
    let sum = compare(79);

    assert!(sum.connections > 20_000, "{sum:?}");
    assert!(sum.unknown * 100 < sum.connections * 3, "of too many nothing can be told: {sum:?}");
}
