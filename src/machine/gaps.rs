//! Collects facts that could not be read, so that the rest can still be examined.

/// A fact that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What it is, as the object of a sentence: "the networks of Docker".
    pub what: String,
    /// Why, as a clause.
    pub why: String,
    /// What would help.
    pub help: String,
}

/// Collects gaps, in the order in which they occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    /// Adds a gap.
    pub fn add(&mut self, gap: Gap) {
        self.0.push(gap);
    }

    /// Unwraps a result; for an error, adds the gap and returns the default.
    pub fn or_nothing<T: Default>(&mut self, found: Result<T, Gap>) -> T {
        found.unwrap_or_else(|gap| {
            self.add(gap);
            T::default()
        })
    }

    /// All gaps.
    pub fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter()
    }
}
