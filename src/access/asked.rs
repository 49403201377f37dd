//! What is found out about rules before they are followed: a rule taken apart, and the questions of all of them together.

use super::value::{SourceTest, Test};
use crate::ruleset::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// A rule, taken apart.
pub(super) struct ReadRule<'a> {
    /// What its source must be.
    pub(super) sources: Vec<SourceTest<'a>>,
    /// The rule without those conditions.
    pub(super) rest: Rule,
    /// Whether it asks something in a form that is not understood.
    pub(super) opaque: bool,
    /// Whether it asks for the protocol or the ports.
    pub(super) transport: bool,
    /// What it asks of the destination address.
    pub(super) destinations: Vec<Test<'a>>,
}

/// What tables ask of packets beside where they come from.
#[derive(Default)]
pub(super) struct Asked<'a> {
    pub(super) incoming: Vec<Test<'a>>,
    pub(super) outgoing: Vec<Test<'a>>,
    /// The protocols that are named.
    pub(super) protocols: BTreeSet<u8>,
    /// The destination ports at which an answer may change, by protocol; `None` for every protocol.
    pub(super) ports: BTreeMap<Option<u8>, BTreeSet<u32>>,
    /// Source ports that are asked for together with a destination port.
    pub(super) pairs: BTreeSet<(u16, u16)>,
}
