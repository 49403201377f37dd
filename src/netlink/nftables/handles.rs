//! The kernel's handles for the rules of a table.

use std::collections::BTreeMap;

/// The handles of a table's rules by chain, parallel to the rules of their snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handles(BTreeMap<String, Vec<u64>>);

impl Handles {
    /// The handle of a rule, by its index in the chain.
    #[must_use]
    pub fn get(&self, chain: &str, index: usize) -> Option<u64> {
        self.0.get(chain)?.get(index).copied()
    }

    /// Records the handle of the chain's next rule.
    pub(in crate::netlink) fn push(&mut self, chain: &str, handle: u64) {
        match self.0.get_mut(chain) {
            Some(handles) => handles.push(handle),
            None => {
                self.0.insert(chain.to_owned(), vec![handle]);
            }
        }
    }
}
