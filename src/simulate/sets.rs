//! Lookups in sets.

use super::order::{At, Hooked};
use super::truth::Doubt;
use crate::ruleset::{Element, ElementKey, ElementValue, KeyType, MapValue, Set, SetFlags, TableId};

/// Knows what tables don't list, from the tables as plain data or from the kernel: the elements of sets, and the order
/// of chains that have one priority.
pub trait Sets {
    /// Looks up a key, as long as the set's keys are, in the set or map `name` of a table. `set` is its declaration
    /// in the table, whose elements may be incomplete.
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer;

    /// Whether the set is known to be empty, so that not even an unknown key is in it.
    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool;

    /// Whether rules may add one more element to a set; `None` if that is not known.
    fn has_room(&self, table: &TableId, name: &str, set: &Set) -> Option<bool> {
        let _ = (table, name, set);
        None
    }

    /// Whether one of two entries of one priority runs before the other; `None` if that is not known.
    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        let _ = (at, one, other);
        None
    }

    /// Whether one of two `nat` chains of a table was created later than the other, and therefore runs before it;
    /// `None` if that is not known.
    fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        let _ = (table, one, other);
        None
    }

    /// Hears that a rule compares what a packet has with `data`, whatever comes of it. `bytes` is `None` if they are not
    /// all known.
    fn hears_of(&self, bytes: Option<&[u8]>, data: &[u8]) {
        let _ = (bytes, data);
    }
}

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No element matches it.
    Absent,
    /// An element matches it, and maps to that value; `None` in a set.
    Present(Option<ElementValue>),
    /// It can't be told, and why.
    Unknown(Doubt),
}

/// The sets as the table lists them. What the packet path has added to dynamic sets is not listed, so their contents
/// are unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsListed;

/// The sets of a table that has just been loaded: nothing has been added to the dynamic ones yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct JustLoaded;

impl Sets for JustLoaded {
    fn find(&self, _: &TableId, _: &str, set: &Set, key: &[u8]) -> Answer {
        find(set, key)
    }

    fn is_empty(&self, _: &TableId, _: &str, set: &Set) -> bool {
        set.elements.is_empty()
    }

    fn has_room(&self, _: &TableId, _: &str, _: &Set) -> Option<bool> {
        Some(true)
    }
}

impl Sets for AsListed {
    fn find(&self, _: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        if set.spec.flags.contains(SetFlags::DYNAMIC) {
            return Answer::Unknown(format!("what is in set {name} depends on earlier packets").into());
        }
        find(set, key)
    }

    fn is_empty(&self, _: &TableId, _: &str, set: &Set) -> bool {
        set.elements.is_empty() && !set.spec.flags.contains(SetFlags::DYNAMIC)
    }
}

/// Looks up a key among a set's elements, which must be complete and sorted.
pub(super) fn find(set: &Set, key: &[u8]) -> Answer {
    let spec = &set.spec;
    if spec.flags.contains(SetFlags::EXPR) || !spec.unknown.is_empty() {
        return Answer::Unknown("a set with properties that are not understood".into());
    }
    if spec.flags.contains(SetFlags::CONCAT) {
        return match spec.key.fields() {
            Some(fields) => answered(find_concatenated(set, &fields, key)),
            None => Answer::Unknown("intervals of several fields are not understood".into()),
        };
    }
    // Sorted by the first value of each, and the catch-all last.
    let above = set.elements.partition_point(|element| match &element.key {
        ElementKey::Single(first) | ElementKey::Range(first, _) => first.as_slice() <= key,
        ElementKey::CatchAll => false,
    });
    let nearest = above.checked_sub(1).and_then(|index| set.elements.get(index));
    let found = nearest
        .filter(|element| element.key.bounds().is_some_and(|(_, last)| key <= last.as_slice()))
        .or_else(|| set.elements.last().filter(|element| element.key == ElementKey::CatchAll));
    answered(found.as_deref())
}

fn answered(found: Option<&Element>) -> Answer {
    match found.map(|element| element.value.as_deref()) {
        None => Answer::Absent,
        Some(Some(ElementValue::Unknown(_))) => {
            Answer::Unknown("an element with expressions that are not understood".into())
        }
        Some(Some(ElementValue::Expires(_))) => Answer::Present(None),
        Some(value) => Answer::Present(value.cloned()),
    }
}

/// The element of which each field holds the key's, as big-endian bytes; the first if there are several, as in
/// `nft_set_pipapo`.
fn find_concatenated<'s>(set: &'s Set, fields: &[KeyType], key: &[u8]) -> Option<&'s Element> {
    let holds = |first: &[u8], last: &[u8]| {
        let mut at = 0_usize;
        fields.iter().all(|field| {
            let len = usize::try_from(field.len).unwrap_or(usize::MAX);
            let range = at..at.saturating_add(len);
            at = at.saturating_add(len.next_multiple_of(4));
            let part = |bytes: &'_ [u8]| bytes.get(range.clone()).map(<[u8]>::to_vec);
            match (part(first), part(key), part(last)) {
                (Some(first), Some(key), Some(last)) => first <= key && key <= last,
                _ => false,
            }
        })
    };
    let listed = || set.elements.listed().iter();
    let found = listed().find(|element| element.key.bounds().is_some_and(|(first, last)| holds(first, last)));
    found.or_else(|| listed().find(|element| element.key == ElementKey::CatchAll))
}

/// Whether the set has a catch-all element, about which kernels differ: until 6.17 an inverted lookup in such a set
/// always matched.
pub(super) fn has_catch_all(set: &Set) -> bool {
    set.elements.last().is_some_and(|element| element.key == ElementKey::CatchAll)
}

/// The length in bytes of a map's value in a register; 0 for verdicts and objects.
pub(super) fn value_len(set: &Set) -> usize {
    match set.spec.value {
        Some(MapValue::Data(kind)) => usize::try_from(kind.len).unwrap_or(usize::MAX),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{SetSpec, Verdict};

    fn ports(elements: Vec<Element>) -> Set {
        Set { spec: SetSpec::new(KeyType::INET_SERVICE, SetFlags::INTERVAL), elements: elements.into() }
    }

    fn holds(set: &Set, port: u16) -> bool {
        find(set, &port.to_be_bytes()) != Answer::Absent
    }

    #[test]
    fn an_interval_holds_both_its_ends_and_nothing_beside() {
        let set = ports(vec![
            Element::single(&[0, 22]),
            Element::range(&[0, 80], &[0, 90]),
            Element::range(&[0xff, 0], &[0xff, 0xff]),
        ]);

        let held: Vec<u16> = (0..=u16::MAX).filter(|port| holds(&set, *port)).collect();

        assert_eq!(held, [vec![22], (80..=90).collect(), (0xff00..=0xffff).collect()].concat());
    }

    #[test]
    fn the_catch_all_answers_for_what_no_other_element_matches() {
        let catch_all = Element { key: ElementKey::CatchAll, value: None }.with_verdict(Verdict::Drop);
        let set = ports(vec![Element::single(&[0, 22]).with_verdict(Verdict::Accept), catch_all]);

        let verdict = |verdict| Answer::Present(Some(ElementValue::Verdict(verdict)));
        assert_eq!(find(&set, &[0, 22]), verdict(Verdict::Accept));
        assert_eq!(find(&set, &[0, 23]), verdict(Verdict::Drop));
        assert_eq!(find(&ports(Vec::new()), &[0, 23]), Answer::Absent);
    }

    #[test]
    fn what_the_packet_path_has_added_is_not_known_until_the_table_is_loaded_anew() {
        let spec = SetSpec::new(KeyType::INET_SERVICE, SetFlags::DYNAMIC);
        let set = Set { spec, elements: Vec::new().into() };

        let asked = |sets: &dyn Sets| sets.find(&TableId::palisade(), "seen", &set, &[0, 22]);

        assert_eq!(asked(&AsListed), Answer::Unknown("what is in set seen depends on earlier packets".into()));
        assert_eq!(asked(&JustLoaded), Answer::Absent);
    }
}
