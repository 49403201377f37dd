//! Rulesets after the forms of well-known programs and their test suites, with real connections through each, both ways:
//! where the simulator says what becomes of one, the kernel does the same.
//!
//! `PROPTEST_RNG_SEED` chooses the rulesets; each test prints its own.
#![allow(missing_docs)]

mod answers;
mod corpus;
mod support;

use answers::range::compare;
use corpus::rulesets;

#[test]
fn beside_rulesets_of_every_form_a_connection_comes_to_the_end_that_the_simulator_says() {
    compare(30, rulesets(), true);
}

#[test]
#[ignore = "takes minutes"]
fn beside_four_hundred_rulesets_a_connection_comes_to_the_end_that_the_simulator_says() {
    compare(400, rulesets(), true);
}
