//! What palisade tells Prometheus: the list of its metrics, and their text.
//!
//! [`METRICS`] is the list: the text, the manual, and the tests of the alerts and of the dashboard are made from it. A
//! [`Family`] says how many labels its samples have, so that none can have another number of them. What is not known is
//! left out with a reason, and is never a number that looks well.

mod list;
mod text;

pub use list::*;

use crate::printable::printable;
use std::collections::BTreeMap;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that rises and falls.
    Gauge,
    /// A value that only rises, until it begins anew.
    Counter,
}

impl Kind {
    /// Its name in the text, and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// A metric, as the list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name: `palisade_...`, with the unit at the end.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What its value says, as a sentence. It is the same in every file, whatever the policy.
    pub help: &'static str,
    /// The labels of each of its samples, in order.
    pub labels: &'static [&'static str],
    /// When it is left out, in words that follow "left out"; `None` if it is always there.
    pub left_out: Option<&'static str>,
}

/// A metric whose samples have so many labels.
#[derive(Clone, Copy, Debug)]
pub struct Family<const N: usize> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str; N],
    left_out: Option<&'static str>,
}

impl<const N: usize> Family<N> {
    /// It as a row of the list.
    #[must_use]
    pub const fn metric(&self) -> Metric {
        let Self { name, kind, help, labels, left_out } = *self;
        Metric { name, kind, help, labels, left_out }
    }
}

/// Samples, and what is not known. Two samples of a metric never have the same labels: the later one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// By the metric's name, then by the values of its labels.
    values: BTreeMap<&'static str, BTreeMap<Vec<String>, u64>>,
    /// What was left out, and why: `palisade_in_sync: the policy has problems`.
    left_out: Vec<String>,
}

impl Samples {
    /// Adds a sample, with the values of the labels in the order of the list. What a terminal would obey is made printable.
    pub fn add<const N: usize>(&mut self, family: &Family<N>, labels: [&str; N], value: u64) {
        // Before they are compared: what looks alike would be one sample twice.
        let labels = labels.map(|value| printable(value).into_owned()).to_vec();
        self.values.entry(family.name).or_default().insert(labels, value);
    }

    /// Notes that a metric is left out.
    pub fn leave_out<const N: usize>(&mut self, family: &Family<N>, why: &str) {
        self.left_out.push(format!("{} is left out: {why}", family.name));
    }

    /// What was left out, each with the reason.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The metrics that have samples, in the order of the list, each with its samples.
    pub fn families(&self) -> impl Iterator<Item = (&'static Metric, &BTreeMap<Vec<String>, u64>)> {
        METRICS.iter().filter_map(|metric| Some((metric, self.values.get(metric.name)?)))
    }
}
