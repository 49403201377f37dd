//! A record, in the table itself, of what large sets hold. The chain, which nothing jumps to, has one rule per large
//! set, whose comment gives the number of elements and their digest.
//!
//! The kernel takes seconds to list a hundred thousand elements and minutes for a million, since each part of a dump
//! starts over. It keeps no digest of a set, but it keeps comments, and a transaction that changes a set changes its
//! rule.

use super::provenance::PREFIX;
use super::{Chain, Elements, Expr, Origin, Provenance, Rule, Set, SetFlags, Table, Verdict};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The name of the chain.
pub const MANIFEST: &str = "manifest";
/// Sets with more elements than this are recorded.
const LARGE: usize = 65_536;
/// How many bytes of the SHA-256 are written: a comment has room for these beside the longest name of a set.
const WRITTEN: usize = 16;

/// The number of a set's elements and their digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// The number of elements.
    pub count: usize,
    /// The first 16 bytes of the SHA-256 over the addresses as in [`Elements::packed`], in hexadecimal.
    pub sum: String,
}

impl Digest {
    /// The digest of packed elements; `None` for others.
    #[must_use]
    pub fn of(elements: &Elements) -> Option<Self> {
        let packed = elements.packed()?;
        let mut hash = Sha256::new();
        hash.update([u8::try_from(packed.width).unwrap_or_default(), u8::from(packed.ranges)]);
        hash.update(packed.bytes);
        let sum = hash.finalize().iter().take(WRITTEN).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { count: elements.len(), sum })
    }

    fn read(text: &str) -> Option<Self> {
        let (count, sum) = text.split_once(" elements, digest ")?;
        let count = count.parse().ok().filter(|_| Self::is_sum(sum))?;
        Some(Self { count, sum: sum.to_owned() })
    }

    /// Whether a text has the form of such a digest.
    #[must_use]
    pub fn is_sum(text: &str) -> bool {
        text.len() == 2 * WRITTEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// Whether a set is recorded by its digest.
#[must_use]
pub fn is_large(set: &Set) -> bool {
    set.elements.len() > LARGE && set.elements.packed().is_some() && !set.spec.flags.contains(SetFlags::DYNAMIC)
}

impl Table {
    /// Adds the chain if there are large sets.
    pub fn add_manifest(&mut self) {
        let large = self.sets.iter().filter(|(_, set)| is_large(set));
        let rules: Vec<Rule> = large
            .filter_map(|(name, set)| {
                let Digest { count, sum } = Digest::of(&set.elements)?;
                let comment = format!("{PREFIX}{name}: {count} elements, digest {sum}");
                // nft can't write a rule without expressions.
                Some(Rule { exprs: vec![Expr::Verdict(Verdict::Continue)], comment: Some(comment) })
            })
            .collect();
        if !rules.is_empty() {
            let comment =
                Provenance { sentence: "what large sets hold, for those who compare", origin: Origin::BuiltIn };
            let comment = Some(comment.to_string());
            self.chains.insert(MANIFEST.to_owned(), Chain { base: None, comment, rules });
        }
    }

    /// The digests that the chain records, by the names of their sets.
    #[must_use]
    pub fn manifest(&self) -> BTreeMap<&str, Digest> {
        let rules = self.chains.get(MANIFEST).map_or(&[][..], |chain| &chain.rules);
        let entries = rules.iter().filter_map(|rule| {
            let (name, digest) = rule.comment.as_deref()?.strip_prefix(PREFIX)?.split_once(": ")?;
            Some((name, Digest::read(digest)?))
        });
        entries.collect()
    }

    /// This table without the elements that the chain records.
    #[must_use]
    pub fn without_large(&self) -> Self {
        let mut rest = self.clone();
        for name in self.manifest().into_keys() {
            if let Some(set) = rest.sets.get_mut(name).filter(|set| is_large(set)) {
                set.elements = Elements::none();
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{KeyType, SetSpec};
    use std::net::Ipv4Addr;

    fn large(last: u32) -> Set {
        let intervals: Vec<_> = (1..70_000).chain([last]).map(Ipv4Addr::from).map(|one| (one, one)).collect();
        Set {
            spec: SetSpec::new(KeyType::IPV4_ADDR, SetFlags::default()),
            elements: Elements::of_addresses(&intervals),
        }
    }

    #[test]
    fn the_chain_tells_of_large_sets_and_of_no_others() {
        let mut table = Table::default();
        table.sets.insert("large".to_owned(), large(80_000));
        let few = Elements::of_addresses(&[(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)]);
        table.sets.insert("few".to_owned(), Set { elements: few.clone(), ..large(0) });

        table.add_manifest();

        let manifest = table.manifest();
        assert_eq!(manifest.keys().collect::<Vec<_>>(), [&"large"]);
        assert_eq!(Some(&manifest["large"]), Digest::of(&large(80_000).elements).as_ref());
        assert_ne!(Some(&manifest["large"]), Digest::of(&large(80_001).elements).as_ref());
        assert_eq!(manifest["large"].count, 70_000);
        let rest = table.without_large();
        assert_eq!((rest.sets["large"].elements.len(), &rest.sets["few"].elements), (0, &few));
        assert_eq!(rest.manifest(), manifest);
    }

    #[test]
    fn no_comment_is_too_long_for_the_kernel() {
        let mut table = Table::default();
        table.sets.insert(format!("{}.except.hosts-v4", "a".repeat(32)), large(80_000));
        table.add_manifest();
        let comment = table.chains[MANIFEST].rules[0].comment.as_ref().expect("it has one");
        assert!(comment.len() + "000".len() <= crate::ruleset::MAX_COMMENT, "{comment}");
    }
}
