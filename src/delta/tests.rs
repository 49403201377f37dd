use super::{Difference, cost, delta, model, replace};
use crate::ruleset::{
    BaseChain, Chain, DynsetOp, Element, Expr, Hook, KeyType, MapValue, Op, Policy, Register, Rule, Set, SetFlags,
    SetRef, SetSpec, Table, TableFlags, TableId, Transaction, Verdict,
};
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::{BTreeMap, BTreeSet};

const CHAINS: [&str; 4] = ["filter-input", "a", "b", "c"];
const SETS: [&str; 3] = ["s", "t", "m"];

/// What a rule or an element refers to, decided before its table exists: indices into whatever the table will have.
#[derive(Clone, Debug)]
enum Part {
    Counter,
    Accept,
    Jump(usize),
    Lookup(usize),
    Vmap(usize),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::Counter),
        Just(Part::Accept),
        (0..8_usize).prop_map(Part::Jump),
        (0..8_usize).prop_map(Part::Lookup),
        (0..8_usize).prop_map(Part::Vmap),
    ]
}

fn base() -> impl Strategy<Value = Option<BaseChain>> {
    proptest::option::of((prop_oneof![Just(Hook::Input), Just(Hook::Forward)], -1..1_i32, any::<bool>())).prop_map(
        |base| {
            base.map(|(hook, priority, drop)| BaseChain {
                kind: "filter".to_owned(),
                hook,
                priority,
                policy: if drop { Policy::Drop } else { Policy::Accept },
                devices: BTreeSet::new(),
            })
        },
    )
}

prop_compose! {
    /// Tables with few names, so that two of them have much in common.
    fn table()(
        chains in subsequence(CHAINS.to_vec(), 0..=4),
        sets in subsequence(SETS.to_vec(), 0..=3),
        bases in proptest::collection::vec(base(), 4),
        comments in proptest::collection::vec(proptest::option::of("[xy]"), 4),
        bodies in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(part(), 1..3), 0..6), 4),
        interval in proptest::collection::vec(any::<bool>(), 3),
        elements in proptest::collection::vec(proptest::collection::btree_map(0..6_u8, 0..8_usize, 0..6), 3),
        flags in 0..2_u32,
        other in proptest::option::weighted(0.1, Just("counter hits".to_owned())),
    ) -> Table {
        // Only chains without a hook can be jumped to.
        let targets: Vec<&str> =
            chains.iter().zip(&bases).filter(|(_, base)| base.is_none()).map(|(name, _)| *name).collect();
        let target = |index: usize| (!targets.is_empty()).then(|| targets[index % targets.len()].to_owned());
        let rule = |parts: &Vec<Part>| Rule {
            exprs: parts.iter().map(|part| match part {
                Part::Jump(index) => target(*index).map_or(Expr::Verdict(Verdict::Return), |chain| Expr::Verdict(Verdict::Jump(chain))),
                Part::Lookup(index) if !sets.is_empty() => Expr::Lookup {
                    set: SetRef::Named(sets[index % sets.len()].to_owned()),
                    sreg: Register::ONE,
                    dreg: None,
                    inverted: false,
                },
                Part::Vmap(index) => Expr::Lookup {
                    set: SetRef::Anonymous(Box::new(Set {
                        spec: SetSpec { value: Some(MapValue::Verdict), ..SetSpec::new(KeyType::CT_STATE, SetFlags::CONSTANT) },
                        elements: vec![Element::single(&[0, 0, 0, 1])
                            .with_verdict(target(*index).map_or(Verdict::Drop, Verdict::Goto))].into(),
                    })),
                    sreg: Register::ONE,
                    dreg: Some(Register::Verdict),
                    inverted: false,
                },
                Part::Accept => Expr::Verdict(Verdict::Accept),
                Part::Counter | Part::Lookup(_) => Expr::Counter { packets: 0, bytes: 0 },
            }).collect(),
            comment: None,
        };
        let chain = |(index, name): (usize, &&str)| {
            let rules = bodies[index].iter().map(rule).collect();
            ((*name).to_owned(), Chain { base: bases[index].clone(), comment: comments[index].clone(), rules })
        };
        let set = |(index, name): (usize, &&str)| {
            let is_map = *name == "m";
            let flags = if interval[index] { SetFlags::INTERVAL } else { SetFlags::default() };
            let value = is_map.then_some(MapValue::Verdict);
            let elements = elements[index].iter().map(|(key, to)| {
                let element = Element::single(&[0, *key]);
                if is_map {
                    element.with_verdict(target(*to).map_or(Verdict::Drop, Verdict::Jump))
                } else {
                    element
                }
            });
            let spec = SetSpec { value, ..SetSpec::new(KeyType::INET_SERVICE, flags) };
            ((*name).to_owned(), Set { spec, elements: elements.collect() })
        };
        Table {
            flags: TableFlags(flags),
            comment: None,
            chains: chains.iter().enumerate().map(chain).collect(),
            sets: sets.iter().enumerate().map(set).collect(),
            others: other.into_iter().collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The delta of any two tables is accepted operation by operation, gives the second table, and takes no more
    /// operations than replacing everything.
    #[test]
    fn a_delta_applied_to_the_first_table_gives_the_second(live in table(), desired in table()) {
        let desired = Table { others: BTreeSet::new(), ..desired };
        let transaction = delta(&TableId::palisade(), Some(&live), Some(&desired));
        let result = model::apply(Some(&live), &transaction).map_err(TestCaseError::fail)?;
        prop_assert_eq!(result.map(|table| table.canonical()), Some(desired.canonical()));
        prop_assert!(cost(&transaction.ops) <= cost(&replace(&desired)));
    }

    /// The fewest operations are accepted even if replacing the table would take fewer still, so the choice between
    /// the two is only one of cost.
    #[test]
    fn the_least_operations_give_the_second_table_whatever_they_cost(live in table(), desired in table()) {
        let others = BTreeSet::new();
        let (live, desired) = (Table { others: others.clone(), ..live }, Table { others, ..desired });
        let ops = Difference::new(&live, &desired).ops();
        let transaction = Transaction { table: TableId::palisade(), ops };
        let result = model::apply(Some(&live), &transaction).map_err(TestCaseError::fail)?;
        prop_assert_eq!(result.map(|table| table.canonical()), Some(desired.canonical()));
    }

    /// An absent table is created, an unwanted one is deleted, equal ones are left alone.
    #[test]
    fn a_delta_makes_deletes_and_leaves_alone(table in table()) {
        let table = Table { others: BTreeSet::new(), ..table };
        let id = TableId::palisade();
        let made = model::apply(None, &delta(&id, None, Some(&table))).map_err(TestCaseError::fail)?;
        prop_assert_eq!(made.as_ref(), Some(&table));
        prop_assert_eq!(delta(&id, Some(&table), Some(&table)).ops, vec![]);
        prop_assert_eq!(model::apply(Some(&table), &delta(&id, Some(&table), None)), Ok(None));
    }
}

fn rule(comment: &str) -> Rule {
    let exprs = vec![Expr::Counter { packets: 0, bytes: 0 }, Expr::Verdict(Verdict::Accept)];
    Rule { exprs, comment: Some(comment.to_owned()) }
}

fn chain_of(comments: &[&str]) -> Table {
    let rules = comments.iter().map(|comment| rule(comment)).collect();
    Table { chains: BTreeMap::from([("a".to_owned(), Chain { rules, ..Chain::default() })]), ..Table::default() }
}

#[test]
fn rules_that_stay_keep_their_place_and_new_ones_are_put_before_the_next_that_stays() {
    let live = chain_of(&["1", "2", "x", "3", "4"]);
    let desired = chain_of(&["1", "p", "q", "2", "3", "4", "5"]);
    let name = || "a".to_owned();
    let expected = vec![
        Op::DeleteRule { chain: name(), index: 2, rule: rule("x") },
        Op::AddRule { chain: name(), rule: rule("p"), before: Some(1) },
        Op::AddRule { chain: name(), rule: rule("q"), before: Some(1) },
        Op::AddRule { chain: name(), rule: rule("5"), before: None },
    ];
    assert_eq!(delta(&TableId::palisade(), Some(&live), Some(&desired)).ops, expected);
}

#[test]
fn a_line_that_moved_and_a_counter_that_ran_are_no_difference() {
    let mut live = chain_of(&["palisade: ssh from anyone (policy.yaml:4)"]);
    if let Some(Expr::Counter { packets, .. }) =
        live.chains.get_mut("a").and_then(|chain| chain.rules[0].exprs.first_mut())
    {
        *packets = 17;
    }
    let desired = chain_of(&["palisade: ssh from anyone (policy.yaml:9)"]);
    assert_eq!(delta(&TableId::palisade(), Some(&live), Some(&desired)).ops, vec![]);
}

#[test]
fn one_address_more_in_a_group_is_one_element_more_in_its_set() {
    let with = |addresses: &[[u8; 4]]| Table {
        sets: BTreeMap::from([(
            "trusted-v4".to_owned(),
            Set {
                spec: SetSpec::new(KeyType::IPV4_ADDR, SetFlags::INTERVAL),
                elements: addresses.iter().map(|address| Element::single(address)).collect(),
            },
        )]),
        ..Table::default()
    };
    let transaction =
        delta(&TableId::palisade(), Some(&with(&[[1, 1, 1, 1]])), Some(&with(&[[1, 1, 1, 1], [1, 1, 1, 2]])));
    let expected = vec![Op::AddElements {
        set: "trusted-v4".to_owned(),
        spec: SetSpec::new(KeyType::IPV4_ADDR, SetFlags::INTERVAL),
        elements: vec![Element::single(&[1, 1, 1, 2])].into(),
    }];
    assert_eq!(transaction.ops, expected);
}

#[test]
fn what_the_kernel_deletes_with_a_rule_is_not_deleted_by_name() {
    let desired = chain_of(&["1"]);
    let mut live = chain_of(&["1", "2", "3"]);
    let leading = Expr::Verdict(Verdict::Jump("__chain7".to_owned()));
    let metering = Expr::Dynset {
        set: "flood".to_owned(),
        op: DynsetOp::Add,
        sreg_key: Register::ONE,
        timeout_ms: 0,
        exprs: Vec::new(),
    };
    let rules = &mut live.chains.get_mut("a").expect("it was made").rules;
    rules[1].exprs.push(leading);
    rules[2].exprs.push(metering);
    let (second, third) = (rules[1].clone(), rules[2].clone());
    live.chains.insert("__chain7".to_owned(), Chain { rules: vec![rule("x")], ..Chain::default() });
    let spec = SetSpec::new(KeyType::IPV4_ADDR, SetFlags::ANONYMOUS.with(SetFlags::DYNAMIC));
    live.sets.insert("flood".to_owned(), Set { spec, elements: Vec::new().into() });

    let gone = |index, rule| Op::DeleteRule { chain: "a".to_owned(), index, rule };
    let transaction = delta(&TableId::palisade(), Some(&live), Some(&desired));
    assert_eq!(transaction.ops, vec![gone(1, second), gone(2, third)]);
}

#[test]
fn a_table_that_somebody_else_made_is_replaced_so_that_its_comment_is_ours() {
    let live = Table { comment: Some("mine".to_owned()), ..chain_of(&["1", "x"]) };
    let desired = Table { comment: Some("palisade: a table (policy.yaml)".to_owned()), ..chain_of(&["1"]) };
    let id = TableId::palisade();
    assert_eq!(delta(&id, Some(&live), Some(&desired)).ops, replace(&desired));

    let stamped = Some("palisade: a table (policy.yaml, loaded 2026-11-22T15:04:05Z)".to_owned());
    let ours = Table { comment: stamped, ..live };
    assert_eq!(cost(&delta(&id, Some(&ours), Some(&desired)).ops), 1);
}
