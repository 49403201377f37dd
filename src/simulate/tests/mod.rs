//! What the unit tests of the simulator share: packets, and tables written in a few words.

mod chains;
mod expressions;
mod index;
mod later;
mod traversal;
mod ways;

use super::*;
use crate::ruleset::{
    BaseChain, Chain, Cmp, CtKey, Direction, DynsetOp, Element, ElementKey, ElementValue, Expr, Family, Hook,
    IcmpxCode, Key, KeyType, Limit, LimitUnit, Log, MapValue, MetaKey, PayloadBase, Policy, Register, Reject, Rule,
    Set, SetFlags, SetRef, SetSpec, Verdict as Says,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const R: Register = Register::ONE;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// 203.0.113.9 asks for port 22 of this machine, on eth0.
fn ssh() -> Packet {
    Packet::to_machine(ip("203.0.113.9"), ip("203.0.113.1"), Transport::tcp(22)).coming_in_by("eth0")
}

/// 203.0.113.9 asks for port 9000, which container 172.17.0.2 answers at port 80.
fn published() -> Packet {
    let to = Translation { address: ip("172.17.0.2"), port: Some(80) };
    Packet::published(ip("203.0.113.9"), ip("203.0.113.1"), Transport::tcp(9000), to)
        .coming_in_by("eth0")
        .leaving_by("docker0")
}

fn rule(exprs: &[Expr]) -> Rule {
    Rule { exprs: exprs.to_vec(), comment: None }
}

fn says(verdict: Says) -> Expr {
    Expr::Verdict(verdict)
}

fn jump(chain: &str) -> Expr {
    says(Says::Jump(chain.to_owned()))
}

fn goto(chain: &str) -> Expr {
    says(Says::Goto(chain.to_owned()))
}

fn unknown(name: &str) -> Expr {
    Expr::Unknown { name: name.to_owned(), attributes: Vec::new() }
}

fn chain(rules: &[Rule]) -> Chain {
    Chain { rules: rules.to_vec(), ..Chain::default() }
}

fn base(hook: Hook, priority: i32, policy: Policy, rules: &[Rule]) -> Chain {
    let base = BaseChain { kind: "filter".to_owned(), hook, priority, policy, devices: BTreeSet::new() };
    Chain { base: Some(base), ..chain(rules) }
}

fn table(chains: Vec<(&str, Chain)>) -> Table {
    let chains = chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
    Table { chains, ..Table::default() }
}

fn verdict(table: &Table, packet: &Packet) -> Verdict {
    simulate_table(&TableId::palisade(), table, packet).verdict
}

/// Whether a rule with these expressions matches, in a base chain of this hook and priority.
fn matches_at(hook: Hook, priority: i32, exprs: &[Expr], packet: &Packet) -> Option<bool> {
    let dropping = rule(&[exprs, &[says(Says::Drop)]].concat());
    match verdict(&table(vec![("base", base(hook, priority, Policy::Accept, &[dropping]))]), packet) {
        Verdict::Deny => Some(true),
        Verdict::Allow => Some(false),
        _ => None,
    }
}

fn matches(exprs: &[Expr], packet: &Packet) -> Option<bool> {
    let hook = if packet.path == Path::Through { Hook::Forward } else { Hook::Input };
    matches_at(hook, -1, exprs, packet)
}

fn meta(key: MetaKey) -> Expr {
    Expr::Meta { key, dreg: R }
}

fn ct(key: CtKey, direction: Option<Direction>) -> Expr {
    Expr::Ct { key, direction, dreg: R }
}

fn payload(base: PayloadBase, offset: u32, len: u32) -> Expr {
    Expr::Payload { base, offset, len, dreg: R }
}

fn is(data: &[u8]) -> Expr {
    Expr::Cmp { op: Cmp::Eq, sreg: R, data: data.to_vec() }
}

fn is_not(data: &[u8]) -> Expr {
    Expr::Cmp { op: Cmp::Neq, sreg: R, data: data.to_vec() }
}

fn name16(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn lookup(set: Set, dreg: Option<Register>, inverted: bool) -> Expr {
    Expr::Lookup { set: SetRef::Anonymous(Box::new(set)), sreg: R, dreg, inverted }
}

fn ports(elements: Vec<Element>) -> Set {
    Set { spec: SetSpec::new(KeyType::INET_SERVICE, SetFlags::INTERVAL), elements: elements.into() }
}

fn dport() -> Expr {
    payload(PayloadBase::Transport, 2, 2)
}

fn is_not_lo() -> Expr {
    Expr::Cmp { op: Cmp::Neq, sreg: R, data: name16("lo") }
}
