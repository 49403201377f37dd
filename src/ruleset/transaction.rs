//! A change of one table, as an ordered list of operations.

use crate::ruleset::{BaseChain, Elements, Rule, SetSpec, TableFlags, TableId};

/// Operations that the kernel carries out all together or not at all, in the order that they stand in.
///
/// The order is decided by [`delta`](crate::delta); encoding keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The one table it changes.
    pub table: TableId,
    /// What it does. Empty when there is nothing to do.
    pub ops: Vec<Op>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes the table, or sets the flags of the one that is there.
    AddTable {
        /// `NFT_TABLE_F_*`.
        flags: TableFlags,
        /// The comment, which only a new table takes.
        comment: Option<String>,
    },
    /// Deletes the table with all that is in it.
    DeleteTable,
    /// Makes a chain.
    AddChain {
        /// Its name.
        name: String,
        /// Where it is attached; `None` for one that rules jump to.
        base: Option<BaseChain>,
        /// Its comment.
        comment: Option<String>,
    },
    /// Sets the policy of a base chain that is there, and leaves its rules and counters alone.
    SetPolicy {
        /// The chain's name.
        name: String,
        /// The chain as it shall be: only its policy differs from what is there.
        base: BaseChain,
    },
    /// Deletes a chain, which no rule or element names any more and whose rules are gone.
    DeleteChain {
        /// Its name.
        name: String,
    },
    /// Makes a set or map without elements.
    AddSet {
        /// Its name.
        name: String,
        /// What it is.
        spec: SetSpec,
    },
    /// Deletes a set or map, elements and all, which no rule names any more.
    DeleteSet {
        /// Its name.
        name: String,
    },
    /// Adds elements.
    AddElements {
        /// The set's name.
        set: String,
        /// What the set is.
        spec: SetSpec,
        /// The elements, sorted.
        elements: Elements,
    },
    /// Deletes elements.
    DeleteElements {
        /// The set's name.
        set: String,
        /// What the set is.
        spec: SetSpec,
        /// The elements, sorted.
        elements: Elements,
    },
    /// Adds a rule.
    AddRule {
        /// The chain's name.
        chain: String,
        /// The rule.
        rule: Rule,
        /// Before which rule of the live chain, by its index there; `None` is at the end.
        before: Option<usize>,
    },
    /// Deletes a rule.
    DeleteRule {
        /// The chain's name.
        chain: String,
        /// Which rule of the live chain, by its index there.
        index: usize,
        /// The rule as it is.
        rule: Rule,
    },
}
