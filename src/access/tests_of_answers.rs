//! A connection is proved open only if the answer gets back, and what follows it gets through.

use super::diff::{access_changes, lines};
use super::expect::unmet;
use super::tests::compiled;
use crate::facts::Facts;
use crate::policies::Written;
use crate::policy::parse;
use crate::resolve::resolve;
use crate::ruleset::{
    BaseChain, Chain, Cmp, CtKey, Element, Expr, Hook, KeyType, PayloadBase, Policy, Register, Rule, Set, SetFlags,
    SetRef, SetSpec, Table, TableId, Verdict, ct_state,
};
use std::collections::{BTreeMap, BTreeSet};

const R: Register = Register::ONE;
const POLICY: &str =
    "version: 1\nservices:\n  web: { ports: 8080/tcp, from: any }\nexpect: [{ allow: 8080/tcp, from: 1.1.1.1 }]\n";

fn without_facts(text: &str) -> Table {
    compiled(&Written { text: text.to_owned(), files: BTreeMap::new() })
}

/// What is said of the expectations of [`POLICY`] beside that table.
fn said(table: &Table) -> Vec<String> {
    let policy = parse(POLICY, "policy.yaml").policy.expect("a policy");
    let resolved = resolve(&policy, &Facts::default()).expect("a valid one");
    unmet(&TableId::palisade(), table, &resolved.expectations).into_iter().map(|problem| problem.message).collect()
}

fn base(hook: Hook, priority: i32, rules: Vec<Vec<Expr>>) -> Chain {
    let base =
        BaseChain { kind: "filter".to_owned(), hook, priority, policy: Policy::Accept, devices: BTreeSet::new() };
    let rules = rules.into_iter().map(|exprs| Rule { exprs, comment: None }).collect();
    Chain { base: Some(base), comment: None, rules }
}

fn drops_sources(network: [u8; 2]) -> Vec<Expr> {
    vec![
        Expr::Payload { base: PayloadBase::Network, offset: 12, len: 2, dreg: R },
        Expr::Cmp { op: Cmp::Eq, sreg: R, data: network.to_vec() },
        Expr::Verdict(Verdict::Drop),
    ]
}

fn is_ipv4() -> [Expr; 2] {
    let nfproto = Expr::Meta { key: crate::ruleset::MetaKey::Nfproto, dreg: R };
    [nfproto, Expr::Cmp { op: Cmp::Eq, sreg: R, data: vec![2] }]
}

/// The policy's table, with one more chain.
fn with(hook: Hook, priority: i32, rule: Vec<Expr>) -> Table {
    let mut table = without_facts(POLICY);
    table.chains.insert("more".to_owned(), base(hook, priority, vec![rule]));
    table
}

#[test]
fn a_drop_of_what_containers_send_leaves_their_ports_unproved_whatever_the_client() {
    let private = [&is_ipv4()[..], &drops_sources([172, 17])].concat();
    let public = [&is_ipv4()[..], &drops_sources([203, 0])].concat();

    assert_eq!(said(&without_facts(POLICY)), [""; 0]);
    assert_eq!(
        said(&with(Hook::Prerouting, -300, private)),
        ["it can't be proved that 1.1.1.1, where a container publishes the port, reaches 8080/tcp: the answer of a \
          container at 172.17.0.2 is denied"]
    );
    assert_eq!(said(&with(Hook::Prerouting, -300, public)), [""; 0]);
}

#[test]
fn an_answer_of_this_machine_that_its_own_table_drops_opens_nothing() {
    let to_client = vec![
        Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, dreg: R },
        Expr::Cmp { op: Cmp::Eq, sreg: R, data: vec![1, 1, 1, 1] },
        Expr::Verdict(Verdict::Drop),
    ];
    let drops = |to: u8| {
        let mut rule = [&is_ipv4()[..], &to_client].concat();
        rule[3] = Expr::Cmp { op: Cmp::Eq, sreg: R, data: vec![1, 1, 1, to] };
        with(Hook::Output, -300, rule)
    };
    let id = TableId::palisade();

    assert_eq!(said(&drops(1)), ["1.1.1.1 is expected to reach 8080/tcp, and the answer is denied"]);
    assert_eq!(said(&drops(2)), [""; 0]);
    let changes = lines(&access_changes(&id, Some(&without_facts(POLICY)), Some(&drops(1))));
    assert_eq!(
        changes.iter().filter(|line| line.contains("8080/tcp")).collect::<Vec<_>>(),
        ["access: 8080/tcp: 1.1.1.1 loses"]
    );
}

#[test]
fn an_answer_from_some_of_this_machines_addresses_that_is_dropped_is_told() {
    let drops = |hook| with(hook, -300, [&is_ipv4()[..], &drops_sources([10, 5])].concat());
    let id = TableId::palisade();

    for hook in [Hook::Output, Hook::Postrouting] {
        let changes = lines(&access_changes(&id, Some(&without_facts(POLICY)), Some(&drops(hook))));
        assert_eq!(
            changes.iter().filter(|line| line.starts_with("access: 8080/tcp: ")).collect::<Vec<_>>(),
            ["access: 8080/tcp: 0.0.0.0/0 loses"]
        );
    }
}

#[test]
fn who_accepts_new_connections_and_nothing_else_has_opened_nothing() {
    let new = vec![
        Expr::Ct { key: CtKey::State, direction: None, dreg: R },
        Expr::Bitwise { sreg: R, dreg: R, mask: ct_state::NEW.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::Cmp { op: Cmp::Neq, sreg: R, data: vec![0; 4] },
        Expr::Verdict(Verdict::Accept),
    ];
    let mut chain = base(Hook::Input, 0, vec![new]);
    chain.base.iter_mut().for_each(|base| base.policy = Policy::Drop);
    let mut table = without_facts(POLICY);
    table.chains.insert("more".to_owned(), chain);

    assert_eq!(said(&table), ["1.1.1.1 is expected to reach 8080/tcp, and what follows the answer is denied"]);
}

#[test]
fn a_set_that_is_asked_for_containers_is_looked_through_for_the_one_that_is_hit() {
    let spec = SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default());
    let element = Element::single(&[10, 88, 0, 7]);
    let mut table = with(
        Hook::Prerouting,
        -300,
        [
            &is_ipv4()[..],
            &[
                Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: R },
                Expr::Lookup { set: SetRef::Named("some".to_owned()), sreg: R, dreg: None, inverted: false },
                Expr::Verdict(Verdict::Drop),
            ],
        ]
        .concat(),
    );
    table.sets.insert("some".to_owned(), Set { spec, elements: vec![element].into() });

    assert_eq!(
        said(&table),
        ["it can't be proved that 1.1.1.1, where a container publishes the port, reaches 8080/tcp: the answer of a \
          container at 10.88.0.7 is denied"]
    );
}
