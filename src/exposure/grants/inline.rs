//! Named sets written into the rules that look them up, so that rules tell by them whatever their keys hold.

use crate::ruleset::{Expr, Foreign, KeyType, Set, SetFlags, SetRef, Table};

/// The table with its named sets and maps in the rules, except plain sets of addresses, which keep their names, and those
/// that packets fill. The elements have to be there.
#[must_use]
pub fn inlined(table: &Table) -> Table {
    let mut inlined = table.clone();
    for expr in inlined.chains.values_mut().flat_map(|chain| &mut chain.rules).flat_map(|rule| &mut rule.exprs) {
        let (Expr::Lookup { set: reference, .. } | Expr::Foreign(Foreign::ObjectMap { set: reference, .. })) = expr
        else {
            continue;
        };
        let SetRef::Named(name) = &*reference else { continue };
        if let Some(set) = table.sets.get(name).filter(|set| !keeps_its_name(set)) {
            *reference = SetRef::Anonymous(Box::new(set.clone()));
        }
    }
    inlined
}

fn keeps_its_name(set: &Set) -> bool {
    let addresses = [KeyType::IPV4_ADDR, KeyType::IPV6_ADDR].iter().any(|kind| kind.number == set.spec.key.number);
    set.spec.flags.contains(SetFlags::DYNAMIC) || addresses && set.spec.value.is_none()
}
