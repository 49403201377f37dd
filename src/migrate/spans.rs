//! Sets of addresses of one IP version, as a policy writes them.

use crate::net::{Intervals, Version};

/// Addresses of one version, as numbers. Neighbours are not merged: two addresses that an owner listed stay two.
pub(super) type Spans = Intervals<u128>;

pub(super) trait InWords {
    /// Addresses, networks and ranges; IPv6 in quotes.
    fn words(&self, version: Version) -> Vec<String>;
}

impl InWords for Spans {
    fn words(&self, version: Version) -> Vec<String> {
        let quote = |text: String| if version == Version::V6 { format!("\"{text}\"") } else { text };
        let all = |words: String| if words.starts_with("0.0.0.0/0") { format!("\"{words}\"") } else { quote(words) };
        self.as_slice().iter().map(|&(first, last)| all(version.words(first, last))).collect()
    }
}
