//! Which rules of a chain may match a packet, found by what each of them asks for: an address, a port, an interface.
//!
//! An engine writes rules for each container, each port and each bridge. All but a few of them ask for another one than the
//! packet has, and need not be looked at.

use super::machine::Machine;
use super::packet::Interface;
use super::rule::only_tests;
use crate::net::IfName;
use crate::ruleset::{Chain, Cmp, Expr, MetaKey, PayloadBase, Rule};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Chains with fewer rules are walked through.
const FEWEST: usize = 16;

/// The numbers of rules, in their order.
pub(super) type Numbers = SmallVec<[usize; FEWEST]>;

/// A property of a packet that a rule compares with one value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    /// Bytes of the network header, or of the transport header, from an offset on, and how many.
    Network(u32, u32),
    Transport(u32, u32),
    /// The names of the interfaces.
    Incoming,
    Outgoing,
}

/// The numbers of rules by the value that they ask for, in its order.
type ByValue = Vec<(Value, Vec<usize>)>;

/// The rules of one chain.
struct Index {
    /// Those that ask for nothing of that kind.
    others: Vec<usize>,
    /// Those that ask for a value of a field, by the value.
    fields: Vec<(Field, ByValue)>,
}

/// The rules of chains that were met, by the addresses of the chains, which stay where they are as long as their tables are
/// borrowed.
#[derive(Default)]
pub(super) struct Indexes(RefCell<HashMap<usize, Rc<Index>>>);

impl Indexes {
    /// The rules of a chain that may match the packet, in their order.
    pub(super) fn may_match(&self, chain: &Chain, machine: &Machine<'_, '_>) -> Numbers {
        if chain.rules.len() < FEWEST {
            return (0..chain.rules.len()).collect();
        }
        let mut known = self.0.borrow_mut();
        let index =
            Rc::clone(known.entry(std::ptr::from_ref(chain).addr()).or_insert_with(|| Rc::new(Index::of(chain))));
        drop(known);
        index.may_match(machine)
    }
}

impl Index {
    fn of(chain: &Chain) -> Self {
        let wanted: Vec<Vec<(Field, Value)>> = chain.rules.iter().map(wants).collect();
        let mut values: BTreeMap<Field, BTreeSet<Value>> = BTreeMap::new();
        for (field, value) in wanted.iter().flatten() {
            values.entry(*field).or_default().insert(*value);
        }
        let count = |field: &Field| values.get(field).map_or(0, BTreeSet::len);
        let mut others = Vec::new();
        let mut fields: BTreeMap<Field, BTreeMap<Value, Vec<usize>>> = BTreeMap::new();
        for (number, wants) in wanted.iter().enumerate() {
            // The field that tells the most rules apart.
            let rules = match wants.iter().max_by_key(|(field, _)| count(field)) {
                Some((field, value)) => fields.entry(*field).or_default().entry(*value).or_default(),
                None => &mut others,
            };
            rules.push(number);
        }
        let fields = fields.into_iter().map(|(field, rules)| (field, rules.into_iter().collect())).collect();
        Self { others, fields }
    }

    fn may_match(&self, machine: &Machine<'_, '_>) -> Numbers {
        let mut numbers = Numbers::from_slice(&self.others);
        for (field, rules) in &self.fields {
            let Some(value) = machine.value(*field) else {
                numbers.extend(rules.iter().flat_map(|(_, rules)| rules).copied());
                continue;
            };
            let lower = rules.partition_point(|(other, _)| *other < value);
            let (below, from) = rules.split_at(lower);
            let same = from.first().filter(|(other, _)| *other == value);
            numbers.extend(same.into_iter().flat_map(|(_, rules)| rules).copied());
            // Another packet may have what other rules ask for: the next lower value and the next higher one are the
            // nearest of them.
            for (other, _) in below.last().into_iter().chain(from.get(usize::from(same.is_some()))) {
                machine.sets.hears_of(Some(value.bytes()), other.bytes());
            }
        }
        numbers.sort_unstable();
        numbers
    }
}

/// Up to 16 bytes, all values of a field the same number of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Value {
    bytes: [u8; 16],
    len: usize,
}

impl Value {
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut all = [0; 16];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: all, len: bytes.len() })
    }

    const fn name(name: IfName) -> Self {
        Self { bytes: *name.bytes(), len: 16 }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Machine<'_, '_> {
    /// The value of a field; `None` if it is not known.
    fn value(&self, field: Field) -> Option<Value> {
        let name = |interface: &Interface| match interface {
            Interface::Named(name) => Some(Value::name(IfName::new(name))),
            Interface::Absent => Some(Value::name(IfName::default())),
            Interface::Unknown => None,
        };
        match field {
            Field::Network(offset, len) => self.view.bytes(PayloadBase::Network, offset, len).and_then(Value::new),
            Field::Transport(offset, len) => {
                self.view.bytes(PayloadBase::Transport, offset, len).and_then(Value::new)
            }
            Field::Incoming => name(self.view.incoming()),
            Field::Outgoing => name(self.view.outgoing()),
        }
    }
}

/// What a rule asks for before it does anything: it does not match a packet that has something else.
fn wants(rule: &Rule) -> Vec<(Field, Value)> {
    let pairs = rule.exprs.iter().zip(rule.exprs.iter().skip(1));
    pairs.take_while(|(expr, _)| only_tests(expr)).filter_map(|(expr, next)| wanted(expr, next)).collect()
}

/// The field that an expression loads, and the value that the next one compares it with.
fn wanted(expr: &Expr, next: &Expr) -> Option<(Field, Value)> {
    let Expr::Cmp { op: Cmp::Eq, sreg, data } = next else { return None };
    match expr {
        Expr::Payload { base, offset, len, dreg } if dreg == sreg && usize::try_from(*len) == Ok(data.len()) => {
            let field = match base {
                PayloadBase::Network => Field::Network(*offset, *len),
                PayloadBase::Transport => Field::Transport(*offset, *len),
                PayloadBase::Link | PayloadBase::Inner | PayloadBase::Other(_) => return None,
            };
            Some((field, Value::new(data)?))
        }
        Expr::Meta { key: MetaKey::Iifname, dreg } if dreg == sreg => Some((Field::Incoming, whole_name(data)?)),
        Expr::Meta { key: MetaKey::Oifname, dreg } if dreg == sreg => Some((Field::Outgoing, whole_name(data)?)),
        _ => None,
    }
}

/// A name as registers hold it; `None` if only the beginning of a name is asked for.
fn whole_name(data: &[u8]) -> Option<Value> {
    let value = Value::new(data).filter(|_| data.last() == Some(&0))?;
    Some(Value { len: value.bytes.len(), ..value })
}
