//! The order in which the kernel runs hooks of the same priority.
//!
//! The hook that was registered last runs first (`nf_hook_entries_grow` in net/netfilter/core.c). The rules don't
//! tell the order of registration: two tables may have been loaded in either order. The kernel lists its hooks in
//! order since 5.14 (`net/netfilter/nfnetlink_hook.c`), though `nat` chains only as one entry.

use super::packet::Packet;
use crate::net::Version;
use crate::ruleset::{Hook, TableId};
use std::collections::BTreeMap;

/// `NF_NETDEV_EGRESS` has the number of another family's hook; this one is no family's.
pub(super) const EGRESS: Hook = Hook::Other(u32::MAX);
/// `NF_INET_INGRESS`: the hook at which a packet comes in by an interface, before all others.
pub(super) const INGRESS: Hook = Hook::Other(5);
/// The same for a packet that its bridge has taken through prerouting already.
pub(super) const INGRESS_OF_BRIDGE: Hook = Hook::Other(u32::MAX - 1);

/// A list of hooks that the kernel runs one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// At a hook, for packets of one IP version.
    Hook(Version, Hook),
    /// Ingress of an interface.
    Ingress(String),
    /// Egress of an interface.
    Egress(String),
}

impl At {
    /// The list that a packet meets at a hook; `None` if its interface is not known.
    pub(super) fn of(hook: Hook, packet: &Packet) -> Option<Self> {
        let named = |interface: &super::Interface| match interface {
            super::Interface::Named(name) => Some(name.clone()),
            _ => None,
        };
        match hook {
            EGRESS => named(&packet.outgoing).map(Self::Egress),
            Hook::Other(_) => named(&packet.incoming).map(Self::Ingress),
            hook => Some(Self::Hook(Version::of(packet.source), hook)),
        }
    }
}

/// One entry of such a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hooked {
    /// A base chain of that table and name, not of the type `nat`.
    Chain(TableId, String),
    /// The lookup of the packet's connection.
    Conntrack,
    /// All `nat` chains.
    Nat,
}

/// What is known of the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The lists as the kernel runs them, as far as it reports them.
    pub lists: BTreeMap<At, Vec<Hooked>>,
    /// The chains of each table in the order of their creation, in which the kernel has registered them.
    pub created: BTreeMap<TableId, Vec<String>>,
}

impl Order {
    /// Whether one entry of a list runs before another of the same priority; `None` if that is not known.
    #[must_use]
    pub fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        let listed = self.lists.get(at).and_then(|list| before(list, one, other));
        listed.or_else(|| match (at, one, other) {
            (At::Hook(..), Hooked::Chain(id, one), Hooked::Chain(of_other, other)) if id == of_other => {
                self.later_of(id, one, other)
            }
            _ => None,
        })
    }

    /// Whether one chain of a table was created later than another, and therefore runs before it.
    #[must_use]
    pub fn later_of(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        let created = self.created.get(table)?;
        let place = |name: &str| created.iter().position(|chain| chain == name);
        Some(place(one)? > place(other)?)
    }
}

fn before(list: &[Hooked], one: &Hooked, other: &Hooked) -> Option<bool> {
    let place = |entry: &Hooked| list.iter().position(|listed| listed == entry);
    Some(place(one)? < place(other)?)
}

/// All orders of `count` entries in which `before` holds wherever it is known, each as indexes.
pub(super) fn orders(count: usize, before: &dyn Fn(usize, usize) -> Option<bool>) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..count {
        let longer = |order: &Vec<usize>| {
            let rest: Vec<usize> = (0..count).filter(|entry| !order.contains(entry)).collect();
            let first =
                |entry: usize| rest.iter().all(|other| *other == entry || before(*other, entry) != Some(true));
            rest.iter()
                .filter(|entry| first(**entry))
                .map(|entry| [&order[..], &[*entry]].concat())
                .collect::<Vec<_>>()
        };
        found = found.iter().flat_map(longer).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_keeps_to_what_is_known_of_it() {
        let first_before_last = |one: usize, other: usize| match (one, other) {
            (0, 2) => Some(true),
            (2, 0) => Some(false),
            _ => None,
        };

        assert_eq!(orders(3, &first_before_last), [[0, 1, 2], [0, 2, 1], [1, 0, 2]]);
        assert_eq!(orders(0, &first_before_last), [Vec::<usize>::new()]);
    }

    #[test]
    fn a_chain_runs_before_those_of_its_table_that_were_created_earlier_and_a_list_says_the_rest() {
        let chain = |table: &str, name: &str| {
            let id = TableId { family: crate::ruleset::Family::Ip, name: table.to_owned() };
            Hooked::Chain(id, name.to_owned())
        };
        let Hooked::Chain(id, _) = chain("t", "") else { unreachable!() };
        let at = At::Hook(Version::V4, Hook::Input);
        let created = BTreeMap::from([(id, vec!["a".to_owned(), "b".to_owned()])]);
        let lists = BTreeMap::from([(at.clone(), vec![chain("t", "b"), Hooked::Nat, chain("u", "c")])]);
        let order = Order { lists, created };

        let said = |one: &Hooked, other: &Hooked| order.is_before(&at, one, other);
        assert_eq!(said(&chain("t", "b"), &chain("t", "a")), Some(true));
        assert_eq!(said(&chain("t", "a"), &chain("t", "b")), Some(false));
        assert_eq!(said(&Hooked::Nat, &chain("u", "c")), Some(true));
        assert_eq!(said(&chain("u", "c"), &chain("t", "b")), Some(false));
        assert_eq!(said(&chain("u", "c"), &chain("t", "a")), None);
        assert_eq!(said(&chain("u", "c"), &Hooked::Conntrack), None);
    }
}
