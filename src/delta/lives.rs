//! Elements that run out: how far two tables may differ in them and still be the same.
//!
//! A table is read a moment after it was written, and an element may run out in between. So two lives of one element
//! that are near to each other count as the same, and an element that is about to run out may be missing.

use crate::ruleset::{Element, ElementKey, Elements, Set, Table};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How far two lives may be apart, in milliseconds: longer than a machine under load takes from computing a table to
/// reading it back.
const NEAR_MS: u64 = 10_000;

type ByKey = BTreeMap<ElementKey, Element>;

/// Makes equal what counts as the same in the elements that run out, of all sets that both tables have.
pub(super) fn settle(live: &mut Table, desired: &mut Table) {
    for (name, is) in &mut live.sets {
        if let Some(wanted) = desired.sets.get_mut(name) {
            settle_set(is, wanted);
        }
    }
}

/// The same for one set, in canonical form.
pub(super) fn settle_set(live: &mut Set, desired: &mut Set) {
    if live.spec != desired.spec || !live.spec.is_timed() {
        return;
    }
    let (mut is, mut wanted) = (by_key(&live.elements), by_key(&desired.elements));
    wanted.retain(|key, element| is.contains_key(key) || !is_ending(element));
    for (key, element) in &mut is {
        if let Some(wanted) = wanted.get(key).filter(|wanted| are_near(element, wanted)) {
            element.clone_from(wanted);
        }
    }
    live.elements = is.into_values().collect();
    desired.elements = wanted.into_values().collect();
}

/// Leaves out of a live set what nobody needs to be told of: what is about to run out by itself and is not wanted, and that
/// elements run out at all where the whole set differs in that.
pub(super) fn without_news(live: &mut Set, desired: &Set) {
    if live.spec.is_timed() && !desired.spec.is_timed() {
        let stays = |element: Cow<'_, Element>| match element.expires() {
            Some(_) => Element { value: None, ..element.into_owned() },
            None => element.into_owned(),
        };
        live.elements = live.elements.iter().map(stays).collect();
        return;
    }
    if live.spec.is_timed() && live.elements.iter().any(|element| is_ending(&element)) {
        let wanted = by_key(&desired.elements);
        let stays = |element: &Cow<'_, Element>| !is_ending(element) || wanted.contains_key(&element.key);
        live.elements = live.elements.iter().filter(stays).map(Cow::into_owned).collect();
    }
}

fn by_key(elements: &Elements) -> ByKey {
    elements.iter().map(|element| (element.key.clone(), element.into_owned())).collect()
}

fn is_ending(element: &Element) -> bool {
    element.expires().is_some_and(|left| left <= NEAR_MS)
}

fn are_near(one: &Element, other: &Element) -> bool {
    matches!((one.expires(), other.expires()), (Some(one), Some(other)) if one.abs_diff(other) <= NEAR_MS)
}

#[cfg(test)]
mod tests {
    use crate::delta::{changes, delta};
    use crate::ruleset::{Element, KeyType, Op, Set, SetFlags, SetSpec, Table, TableId};

    fn spec() -> SetSpec {
        SetSpec { size: Some(1024), ..SetSpec::new(KeyType::IPV4_ADDR, SetFlags::TIMEOUT) }
    }

    /// A table with one set, whose elements run out after so many milliseconds, or stay.
    fn with(elements: &[(u8, Option<u64>)]) -> Table {
        let element = |(last, left): &(u8, Option<u64>)| {
            left.map_or_else(
                || Element::single(&[192, 0, 2, *last]),
                |left| Element::expiring(&[192, 0, 2, *last], left),
            )
        };
        let set = Set { spec: spec(), elements: elements.iter().map(element).collect() };
        Table { sets: [("owner.temporary-v4".to_owned(), set)].into(), ..Table::default() }
    }

    fn add(elements: &[(u8, Option<u64>)]) -> Op {
        let elements = with(elements).sets["owner.temporary-v4"].elements.clone();
        Op::AddElements { set: "owner.temporary-v4".to_owned(), spec: spec(), elements }
    }

    fn delete(elements: &[(u8, Option<u64>)]) -> Op {
        let elements = with(elements).sets["owner.temporary-v4"].elements.clone();
        Op::DeleteElements { set: "owner.temporary-v4".to_owned(), spec: spec(), elements }
    }

    #[test]
    fn a_life_that_is_longer_or_shorter_is_renewed_and_one_that_is_near_is_left() {
        let id = TableId::palisade();
        let hour = 3_600_000;
        let near = (with(&[(1, Some(hour - 9_000))]), with(&[(1, Some(hour))]));
        let far = (with(&[(1, Some(hour)), (2, Some(hour))]), with(&[(1, Some(hour)), (2, Some(2 * hour))]));
        let stays = (with(&[(1, None)]), with(&[(1, Some(hour))]));
        let unknown = (with(&[(1, Some(hour)), (3, Some(hour))]), with(&[(1, Some(hour))]));
        let missing = (with(&[]), with(&[(1, Some(hour))]));
        let ops = |(live, desired): &(Table, Table)| delta(&id, Some(live), Some(desired)).ops;

        assert_eq!(ops(&near), []);
        let (old, new) = ([(2, Some(hour))], [(2, Some(2 * hour))]);
        assert_eq!(ops(&far), [add(&old), delete(&old), add(&new)]);
        assert_eq!(ops(&stays), [add(&[(1, None)]), delete(&[(1, None)]), add(&[(1, Some(hour))])]);
        assert_eq!(ops(&unknown), [add(&[(3, Some(hour))]), delete(&[(3, Some(hour))])]);
        assert_eq!(ops(&missing), [add(&[(1, Some(hour))])]);
        let told = |(live, desired): &(Table, Table)| changes(&id, Some(live), Some(desired)).len();
        assert_eq!([&near, &far, &stays, &unknown, &missing].map(told), [0, 1, 1, 1, 1]);
    }

    #[test]
    fn what_is_about_to_run_out_may_be_missing_and_is_deleted_all_the_same_if_nobody_wants_it() {
        let id = TableId::palisade();
        let (nothing, ending) = (with(&[]), with(&[(1, Some(9_000))]));

        assert_eq!(delta(&id, Some(&nothing), Some(&ending)).ops, []);
        assert_eq!(changes(&id, Some(&nothing), Some(&ending)), []);
        let ops = delta(&id, Some(&ending), Some(&nothing)).ops;
        assert_eq!(ops, [add(&[(1, Some(9_000))]), delete(&[(1, Some(9_000))])]);
        assert_eq!(changes(&id, Some(&ending), Some(&nothing)), []);
    }
}
