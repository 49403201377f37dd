//! Compares two tables that differ only in some elements of large sets.
//!
//! Sources in none of these elements are treated the same by both tables. So each large set is cut down to its
//! elements that overlap with the differing ones. For all other sources both tables then still agree, though their
//! verdict may be wrong; for the sources in question each table keeps its verdict. A block list of a million
//! addresses costs no more than the ten that were added to it.

use super::asked::{Asked, Asks};
use super::reading::Reading;
use super::value::SourceTest;
use crate::net::Version;
use crate::ruleset::{Element, Elements, Expr, Key, MANIFEST, Set, SetRef, Table};
use std::collections::{BTreeMap, BTreeSet};

/// With more differing elements than this, cutting down is not worth the trouble.
const MOST: usize = 16_384;

/// The tables with their large sets cut down; `None` if that would be inexact or useless.
pub(super) fn narrowed(tables: [&Table; 2]) -> Option<[Table; 2]> {
    let [before, after] = tables;
    let are_large = |name: &str| {
        let packed = |table: &Table| table.sets.get(name).is_some_and(|set| set.elements.packed().is_some());
        packed(before) && packed(after)
    };
    let large: BTreeSet<&str> = before.sets.keys().map(String::as_str).filter(|name| are_large(name)).collect();
    if large.is_empty() || rest(before, &large) != rest(after, &large) {
        return None;
    }
    let sources = asked_for_the_source_alone(before);
    if large.iter().any(|name| !sources.contains(name)) {
        return None;
    }
    let mut differing: BTreeMap<u32, Vec<(Key, Key)>> = BTreeMap::new();
    for (was, is) in large.iter().filter_map(|name| Some((before.sets.get(*name)?, after.sets.get(*name)?))) {
        let of_length = differing.entry(was.spec.key.len).or_default();
        let elements = was.elements.without(&is.elements).into_iter().chain(is.elements.without(&was.elements));
        of_length.extend(elements.filter_map(|element| {
            let (first, last) = element.key.bounds()?;
            Some((first.clone(), last.clone()))
        }));
    }
    if differing.values().map(Vec::len).sum::<usize>() > MOST {
        return None;
    }
    let cut = |table: &Table| {
        let mut table = table.clone();
        for (_, set) in table.sets.iter_mut().filter(|(name, _)| large.contains(name.as_str())) {
            let within = differing.get(&set.spec.key.len).map_or(&[][..], Vec::as_slice);
            set.elements = overlapping(&set.elements, within);
        }
        table
    };
    Some([cut(before), cut(after)])
}

/// What both tables must have in common: everything but the elements of large sets and the manifest.
fn rest(table: &Table, large: &BTreeSet<&str>) -> Table {
    let mut rest = table.clone();
    rest.chains.remove(MANIFEST);
    for (_, set) in rest.sets.iter_mut().filter(|(name, _)| large.contains(name.as_str())) {
        set.elements = Elements::none();
    }
    rest.canonical()
}

/// The sets that rules use only to look up sources, and only those of the IP version that the set's keys have.
fn asked_for_the_source_alone(table: &Table) -> BTreeSet<&str> {
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut otherwise = BTreeSet::new();
    for version in Version::ALL {
        let mut nothing = Asked::default();
        let reading = Reading::new(table, version, Asks::First, &mut nothing);
        for test in reading.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.sources) {
            match test {
                SourceTest::In { set: Set { spec, .. }, name: Some(name), .. } => {
                    if usize::try_from(spec.key.len).is_ok_and(|len| len == version.address_len()) {
                        *asked.entry(*name).or_default() += 1;
                    } else {
                        otherwise.insert(*name);
                    }
                }
                SourceTest::In { name: None, .. } | SourceTest::Begins { .. } => {}
            }
        }
    }
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for expr in table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs) {
        match expr {
            Expr::Lookup { set: SetRef::Named(name), .. } => *named.entry(name).or_default() += 1,
            Expr::Dynset { set, .. } => drop(otherwise.insert(set)),
            _ => {}
        }
    }
    let alone = asked.into_iter().filter(|(name, times)| named.get(name) == Some(times) && !otherwise.contains(name));
    alone.map(|(name, _)| name).collect()
}

/// The elements that overlap with one of these ranges.
fn overlapping(elements: &Elements, within: &[(Key, Key)]) -> Elements {
    let mut found: Vec<Element> = Vec::new();
    for (first, last) in within {
        let from = elements.partition_point(|element| element.key.bounds().is_some_and(|(_, end)| end < first));
        let rest = (from..elements.len()).map_while(|index| elements.get(index));
        let rest = rest.take_while(|element| element.key.bounds().is_some_and(|(begin, _)| begin <= last));
        found.extend(rest.map(std::borrow::Cow::into_owned));
    }
    found.sort_unstable();
    found.dedup();
    found.into()
}
