//! What is read from rules before they are evaluated: the parts of each rule, and the tests of all rules together.

use super::value::{SourceTest, Test};
use crate::resolve::Expectation;
use crate::ruleset::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// Which address of a packet stands for the source that is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// The sender of a connection's first packet.
    First,
    /// The receiver of an answer.
    Answer,
}

/// A rule, split into its tests of the source and the rest.
pub(super) struct ReadRule<'a> {
    /// Its tests of the source.
    pub(super) sources: Vec<SourceTest<'a>>,
    /// The rule without those tests.
    pub(super) rest: Rule,
    /// Whether it has a test in a form that is not understood.
    pub(super) opaque: bool,
    /// Whether it tests the protocol or the ports.
    pub(super) transport: bool,
    /// Its tests of this machine's address: the destination or, of an answer, the source.
    pub(super) destinations: Vec<Test<'a>>,
    /// How many of these tests are about the source of an answer.
    pub(super) answerers: usize,
    /// Whether it can match an answer of a container, by that test.
    pub(super) meets_containers: bool,
}

/// What the rules of tables test in packets besides the source.
#[derive(Default)]
pub(super) struct Asked<'a> {
    pub(super) incoming: Vec<Test<'a>>,
    pub(super) outgoing: Vec<Test<'a>>,
    /// The protocols that rules name.
    pub(super) protocols: BTreeSet<u8>,
    /// The destination ports at which an answer may change, by protocol; `None` for every protocol.
    pub(super) ports: BTreeMap<Option<u8>, BTreeSet<u32>>,
    /// Pairs of a source port and a destination port that are compared together.
    pub(super) pairs: BTreeSet<(u16, u16)>,
}

impl Asked<'_> {
    /// Tells the ports and protocols of expectations apart, too.
    pub(super) fn also_tells(&mut self, expectations: &[Expectation]) {
        for ports in expectations.iter().flat_map(|expectation| &expectation.ports) {
            let cuts = [u32::from(ports.first), u32::from(ports.last) + 1];
            self.ports.entry(Some(ports.transport.number())).or_default().extend(cuts);
        }
        self.protocols.extend(expectations.iter().flat_map(|expectation| &expectation.protocols));
    }
}
