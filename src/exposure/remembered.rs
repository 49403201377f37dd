//! Answers of the kernel that are asked for once: each probe looks up the same keys, and asks for the same routes.

use crate::ruleset::{AddressType, Set, TableId};
use crate::simulate::{Answer, Asked, At, Beneath, Doubt, Hooked, Properties, Routes, Sets, Way};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;

type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// A hash of the few questions that rules and routes ask: nobody can choose them so that many have the same.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        // The map takes the upper bits as well as the lower ones.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(whole)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

/// What is in sets, by table, name and key.
type Found = QuickMap<TableId, QuickMap<String, QuickMap<Vec<u8>, Answer>>>;
/// The fields of [`Asked`].
type OwnedAsked = (IpAddr, IpAddr, Option<String>, u32);

/// The sets and the routes, each question asked once. What the packet path adds to sets meanwhile is not noticed.
pub struct Remembered<'k> {
    sets: &'k dyn Sets,
    routes: &'k dyn Routes,
    found: RefCell<Found>,
    empty: RefCell<QuickMap<TableId, QuickMap<String, bool>>>,
    ways: Memory<OwnedAsked, Result<Way, Doubt>>,
    types: Memory<IpAddr, Result<AddressType, Doubt>>,
    leads: Memory<IpAddr, Result<Option<String>, Doubt>>,
    sources: Memory<IpAddr, Result<IpAddr, Doubt>>,
    indices: Memory<String, Result<u32, Doubt>>,
    beneath: Memory<String, Result<Beneath, Doubt>>,
    properties: Memory<String, Result<Properties, Doubt>>,
    hops: Memory<IpAddr, Result<IpAddr, Doubt>>,
}

/// Answers by what was asked.
struct Memory<K, V>(RefCell<QuickMap<K, V>>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    /// The answer to a question that was asked before, else that of `ask`.
    fn recall(&self, key: K, ask: impl FnOnce() -> V) -> V {
        if let Some(known) = self.0.borrow().get(&key) {
            return known.clone();
        }
        let answer = ask();
        self.0.borrow_mut().insert(key, answer.clone());
        answer
    }
}

impl<'k> Remembered<'k> {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(sets: &'k dyn Sets, routes: &'k dyn Routes) -> Self {
        Self {
            sets,
            routes,
            found: RefCell::default(),
            empty: RefCell::default(),
            ways: Memory::default(),
            types: Memory::default(),
            leads: Memory::default(),
            sources: Memory::default(),
            indices: Memory::default(),
            beneath: Memory::default(),
            properties: Memory::default(),
            hops: Memory::default(),
        }
    }
}

impl Sets for Remembered<'_> {
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        let known = |found: &Found| found.get(table)?.get(name)?.get(key).cloned();
        if let Some(answer) = known(&self.found.borrow()) {
            return answer;
        }
        let answer = self.sets.find(table, name, set, key);
        let mut found = self.found.borrow_mut();
        let of_set = found.entry(table.clone()).or_default().entry(name.to_owned()).or_default();
        of_set.insert(key.to_vec(), answer.clone());
        answer
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool {
        if let Some(known) = self.empty.borrow().get(table).and_then(|of_table| of_table.get(name)) {
            return *known;
        }
        let is_empty = self.sets.is_empty(table, name, set);
        self.empty.borrow_mut().entry(table.clone()).or_default().insert(name.to_owned(), is_empty);
        is_empty
    }

    fn has_room(&self, table: &TableId, name: &str, set: &Set) -> Option<bool> {
        self.sets.has_room(table, name, set)
    }

    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        self.sets.is_before(at, one, other)
    }

    fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        self.sets.is_later(table, one, other)
    }
}

impl Routes for Remembered<'_> {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        let key = (asked.source, asked.destination, asked.incoming.map(str::to_owned), asked.mark);
        self.ways.recall(key, || self.routes.way(asked))
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        self.types.recall(address, || self.routes.address_type(address))
    }

    fn leads(&self, address: IpAddr) -> Result<Option<String>, Doubt> {
        self.leads.recall(address, || self.routes.leads(address))
    }

    fn source_towards(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        self.sources.recall(address, || self.routes.source_towards(address))
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        self.indices.recall(interface.to_owned(), || self.routes.index(interface))
    }

    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        self.beneath.recall(interface.to_owned(), || self.routes.beneath(interface))
    }

    fn properties(&self, interface: &str) -> Result<Properties, Doubt> {
        self.properties.recall(interface.to_owned(), || self.routes.properties(interface))
    }

    fn next_hop(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        self.hops.recall(address, || self.routes.next_hop(address))
    }
}
