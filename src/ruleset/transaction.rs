//! A change to one table, as an ordered list of operations.

use crate::ruleset::{BaseChain, Elements, Rule, SetSpec, TableFlags, TableId};

/// Operations that the kernel applies in this order, all or none.
///
/// [`delta`](crate::delta) decides the order; encoding keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The table it changes.
    pub table: TableId,
    /// The operations. Empty if there is nothing to do.
    pub ops: Vec<Op>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates the table, or sets the flags of an existing one.
    AddTable {
        /// `NFT_TABLE_F_*`.
        flags: TableFlags,
        /// The comment, which only a new table takes.
        comment: Option<String>,
    },
    /// Deletes the table with all its contents.
    DeleteTable,
    /// Creates a chain.
    AddChain {
        /// Its name.
        name: String,
        /// Its attachment to a hook; `None` for a chain that rules jump to.
        base: Option<BaseChain>,
        /// Its comment.
        comment: Option<String>,
    },
    /// Sets the policy of an existing base chain. Its rules and counters stay.
    SetPolicy {
        /// The chain's name.
        name: String,
        /// The desired base chain, which differs from the live one only in its policy.
        base: BaseChain,
    },
    /// Deletes a chain. No rule or element refers to it any more, and its rules have been deleted.
    DeleteChain {
        /// Its name.
        name: String,
    },
    /// Creates a set or map without elements.
    AddSet {
        /// Its name.
        name: String,
        /// Its definition.
        spec: SetSpec,
    },
    /// Deletes a set or map with its elements. No rule refers to it any more.
    DeleteSet {
        /// Its name.
        name: String,
    },
    /// Adds elements.
    AddElements {
        /// The set's name.
        set: String,
        /// The definition of the set.
        spec: SetSpec,
        /// The elements, sorted.
        elements: Elements,
    },
    /// Deletes elements.
    DeleteElements {
        /// The set's name.
        set: String,
        /// The definition of the set.
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
        /// The index, in the live chain, of the rule to insert before; `None` appends.
        before: Option<usize>,
    },
    /// Deletes a rule.
    DeleteRule {
        /// The chain's name.
        chain: String,
        /// The index of the rule in the live chain.
        index: usize,
        /// The live rule.
        rule: Rule,
    },
}
