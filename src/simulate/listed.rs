//! All base chains, hook by hook, in the order in which packets pass them.

use super::order::{At, Hooked};
use super::packet_run::{entry, is_nat, runs_at};
use super::sets::Sets;
use crate::net::Version;
use crate::ruleset::{BaseChain, Chain, Family, Hook, Ruleset, TableId};
use std::collections::BTreeMap;

/// A point of the way of packets, in the order of that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Where a packet comes in by an interface.
    Ingress,
    /// Before the routing decision.
    Prerouting,
    /// To this machine.
    Input,
    /// Through this machine.
    Forward,
    /// From this machine.
    Output,
    /// Before a packet leaves.
    Postrouting,
    /// Where a packet leaves by an interface.
    Egress,
    /// A hook of another family: of frames between the ports of a bridge, or of ARP.
    Beside(Family, Hook),
}

impl Point {
    fn of(family: Family, hook: Hook) -> Self {
        match (family, hook) {
            (Family::Inet, Hook::Other(5)) => Self::Ingress,
            (Family::Netdev, hook) if hook.number() == 0 => Self::Ingress,
            (Family::Netdev, hook) if hook.number() == 1 => Self::Egress,
            (Family::Inet | Family::Ip | Family::Ip6, Hook::Prerouting) => Self::Prerouting,
            (Family::Inet | Family::Ip | Family::Ip6, Hook::Input) => Self::Input,
            (Family::Inet | Family::Ip | Family::Ip6, Hook::Forward) => Self::Forward,
            (Family::Inet | Family::Ip | Family::Ip6, Hook::Output) => Self::Output,
            (Family::Inet | Family::Ip | Family::Ip6, Hook::Postrouting) => Self::Postrouting,
            (family, hook) => Self::Beside(family, hook),
        }
    }
}

/// A base chain on the way of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its table.
    pub id: &'a TableId,
    /// Its name.
    pub name: &'a str,
    /// The chain.
    pub chain: &'a Chain,
    /// Its attachment to the hook.
    pub base: &'a BaseChain,
    /// Whether it is known which of the chains of the same priority run before it.
    pub is_certain: bool,
}

/// The base chains of all tables at each point of the way.
#[must_use]
pub fn base_chains<'a>(rules: &'a Ruleset, sets: &dyn Sets) -> BTreeMap<Point, Vec<Listed<'a>>> {
    let mut points: BTreeMap<Point, Vec<Listed<'a>>> = BTreeMap::new();
    for (id, table) in &rules.tables {
        for (name, chain) in &table.chains {
            let Some(base) = &chain.base else { continue };
            let listed = Listed { id, name, chain, base, is_certain: true };
            points.entry(Point::of(id.family, base.hook)).or_default().push(listed);
        }
    }
    for chains in points.values_mut() {
        chains.sort_by_key(|listed| (listed.runs_at(), listed.base.priority));
        let classes = chains.chunk_by(|one, other| one.runs_at() == other.runs_at());
        *chains = classes.flat_map(|class| in_order(class, sets)).collect();
    }
    points
}

/// Chains of one priority in the order in which they run, as far as it is known.
fn in_order<'a>(class: &[Listed<'a>], sets: &dyn Sets) -> Vec<Listed<'a>> {
    let mut rest: Vec<&Listed<'a>> = class.iter().collect();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let is_first = |one: &Listed<'_>| !rest.iter().any(|other| other.is_before(one, sets) == Some(true));
        // Where what is known contradicts itself, the next one is as good as any.
        let next = rest.remove(rest.iter().position(|one| is_first(one)).unwrap_or_default());
        let others = class.iter().filter(|other| (other.id, other.name) != (next.id, next.name));
        let is_certain = others.filter(|other| next.meets(other)).all(|other| next.is_before(other, sets).is_some());
        ordered.push(Listed { is_certain, ..next.clone() });
    }
    ordered
}

impl Listed<'_> {
    fn is_nat(&self) -> bool {
        is_nat(self.base)
    }

    fn runs_at(&self) -> i32 {
        let is_routed = matches!(self.id.family, Family::Inet | Family::Ip | Family::Ip6);
        runs_at(self.base.priority, self.is_nat() && is_routed, self.base.hook)
    }

    /// Whether there are packets that pass both.
    fn meets(&self, other: &Self) -> bool {
        let apart =
            matches!((self.id.family, other.id.family), (Family::Ip, Family::Ip6) | (Family::Ip6, Family::Ip));
        let (devices, others) = (&self.base.devices, &other.base.devices);
        !apart && (devices.is_empty() || others.is_empty() || !devices.is_disjoint(others))
    }

    /// Whether it runs before another one of the same priority; `None` if that is not known.
    fn is_before(&self, other: &Self, sets: &dyn Sets) -> Option<bool> {
        if self.is_nat() && other.is_nat() && self.base.priority != other.base.priority {
            return Some(self.base.priority < other.base.priority);
        }
        let of_table = (self.id == other.id).then(|| sets.is_later(self.id, self.name, other.name)).flatten();
        if self.is_nat() && other.is_nat() {
            return of_table;
        }
        let said = self.lists(other).into_iter().find_map(|at| sets.is_before(&at, &self.entry(), &other.entry()));
        said.or(of_table)
    }

    /// The lists of the kernel that may have both.
    fn lists(&self, other: &Self) -> Vec<At> {
        let shared = self.base.devices.intersection(&other.base.devices).cloned();
        match Point::of(self.id.family, self.base.hook) {
            Point::Ingress => shared.map(At::Ingress).collect(),
            Point::Egress => shared.map(At::Egress).collect(),
            Point::Beside(..) => Vec::new(),
            _ => Version::ALL.map(|version| At::Hook(version, self.base.hook)).into(),
        }
    }

    fn entry(&self) -> Hooked {
        entry(self.id, self.name, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Set;
    use crate::ruleset::{Policy, Table};
    use crate::simulate::{Answer, Order};

    /// Knows the order, and nothing of sets.
    struct Known(Order);

    impl Sets for Known {
        fn find(&self, _: &TableId, _: &str, _: &Set, _: &[u8]) -> Answer {
            Answer::Absent
        }

        fn is_empty(&self, _: &TableId, _: &str, _: &Set) -> bool {
            true
        }

        fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
            self.0.is_before(at, one, other)
        }

        fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
            self.0.later_of(table, one, other)
        }
    }

    fn id(family: Family, name: &str) -> TableId {
        TableId { family, name: name.to_owned() }
    }

    fn rules(chains: &[(TableId, &str, &str, Hook, i32)]) -> Ruleset {
        let mut rules = Ruleset::default();
        for (id, name, kind, hook, priority) in chains {
            let base = BaseChain {
                kind: (*kind).to_owned(),
                hook: *hook,
                priority: *priority,
                policy: Policy::Accept,
                devices: Default::default(),
            };
            let table: &mut Table = rules.tables.entry(id.clone()).or_default();
            table.chains.insert((*name).to_owned(), Chain { base: Some(base), ..Chain::default() });
        }
        rules
    }

    fn said(rules: &Ruleset, order: Order) -> Vec<(Point, Vec<(String, bool)>)> {
        let points = base_chains(rules, &Known(order)).into_iter();
        let words = |listed: Listed<'_>| (format!("{} {}", listed.id.name, listed.name), listed.is_certain);
        points.map(|(point, chains)| (point, chains.into_iter().map(words).collect())).collect()
    }

    #[test]
    fn chains_of_a_hook_run_by_priority_those_of_nat_at_that_of_the_kernel_and_the_rest_as_the_kernel_says() {
        let (ours, theirs) = (id(Family::Inet, "ours"), id(Family::Ip, "theirs"));
        let chains = [
            (ours.clone(), "last", "filter", Hook::Prerouting, 0),
            // The kernel runs it at -100, whatever its priority.
            (theirs.clone(), "nat", "nat", Hook::Prerouting, 50),
            (ours.clone(), "first", "filter", Hook::Prerouting, -300),
            (ours.clone(), "b", "filter", Hook::Input, 0),
            (theirs.clone(), "a", "filter", Hook::Input, 0),
            (id(Family::Bridge, "frames"), "between", "filter", Hook::Forward, 0),
        ];
        let at = At::Hook(Version::V4, Hook::Input);
        let list = vec![Hooked::Chain(ours, "b".to_owned()), Hooked::Chain(theirs, "a".to_owned())];
        let order = Order { lists: BTreeMap::from([(at, list)]), ..Order::default() };
        let certain = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), true)).collect::<Vec<_>>();

        assert_eq!(
            said(&rules(&chains), order),
            [
                (Point::Prerouting, certain(&["ours first", "theirs nat", "ours last"])),
                (Point::Input, certain(&["ours b", "theirs a"])),
                (Point::Beside(Family::Bridge, Hook::Forward), certain(&["frames between"])),
            ]
        );
    }

    #[test]
    fn where_nobody_tells_the_order_that_is_said_and_what_no_packet_passes_both_of_has_none() {
        let chains = [
            (id(Family::Inet, "b"), "c", "filter", Hook::Input, 0),
            (id(Family::Inet, "a"), "c", "filter", Hook::Input, 0),
            (id(Family::Ip, "d"), "c", "filter", Hook::Output, 0),
            (id(Family::Ip6, "d"), "c", "filter", Hook::Output, 0),
        ];
        let input = vec![("a c".to_owned(), false), ("b c".to_owned(), false)];
        let output = vec![("d c".to_owned(), true); 2];

        assert_eq!(said(&rules(&chains), Order::default()), [(Point::Input, input), (Point::Output, output)]);
    }
}
