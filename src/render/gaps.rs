//! Gaps: everything that nft, or this room, can't express. In the text it appears in angle brackets.

use super::field;
use super::foreign::unknown_choices;
use super::set::unknown_flags;
use super::value::type_name;
use crate::ruleset::{
    Element, ElementValue, Expr, Family, Foreign, KeyType, MapValue, Nat, Rule, Set, SetFlags, SetRef, SetSpec,
    Verdict,
};

/// Whether an expression of the rule can't be expressed.
pub(super) fn in_rule(family: Family, rule: &Rule) -> bool {
    rule.exprs.iter().any(|expr| in_expr(family, expr))
}

/// Whether something in the set's definition can't be expressed.
pub(super) fn in_set(spec: &SetSpec) -> bool {
    let unnamed = |key: KeyType| type_name(key).is_none();
    let value = match spec.value {
        None | Some(MapValue::Verdict) => false,
        Some(MapValue::Data(of)) => unnamed(of),
        Some(MapValue::Object(number)) => !matches!(number, 1 | 2 | 4),
    };
    unnamed(spec.key) || value || !spec.unknown.is_empty() || unknown_flags(spec.flags) != SetFlags::default()
}

/// Whether something in the element can't be expressed.
pub(super) fn in_element(element: &Element) -> bool {
    match element.value.as_deref() {
        None | Some(ElementValue::Object(_) | ElementValue::Data(_) | ElementValue::Expires(_)) => false,
        Some(ElementValue::Verdict(verdict)) => in_verdict(verdict),
        Some(ElementValue::Unknown(_)) => true,
    }
}

fn in_expr(family: Family, expr: &Expr) -> bool {
    match expr {
        Expr::Unknown { .. } => true,
        Expr::Verdict(verdict) => in_verdict(verdict),
        Expr::Meta { key, .. } => field::known_meta(*key).is_none(),
        Expr::Ct { key, .. } => field::known_ct(*key).is_none(),
        Expr::Payload { base, offset, len, .. } => field::raw(*base, *offset, *len).is_none(),
        Expr::Lookup { set: SetRef::Anonymous(set), .. } => in_elements(set),
        Expr::Dynset { exprs, .. } => exprs.iter().any(|expr| in_expr(family, expr)),
        Expr::Foreign(expr) => in_foreign(family, expr),
        Expr::Lookup { set: SetRef::Named(_), .. }
        | Expr::Cmp { .. }
        | Expr::Bitwise { .. }
        | Expr::Fib { .. }
        | Expr::Counter { .. }
        | Expr::Limit(_)
        | Expr::Log(_)
        | Expr::Reject(_) => false,
    }
}

fn in_elements(set: &Set) -> bool {
    set.elements.iter().any(|element| in_element(&element))
}

fn in_foreign(family: Family, expr: &Foreign) -> bool {
    match expr {
        Foreign::SetMeta { key, .. } => field::known_meta(*key).is_none(),
        Foreign::SetCt { key, .. } => field::known_ct(*key).is_none(),
        Foreign::Nat(Nat { flags, .. }) | Foreign::Masquerade { flags, .. } | Foreign::Redirect { flags, .. } => {
            unknown_choices(*flags) != 0
        }
        Foreign::Match(extension) => extension.as_match().is_none(),
        Foreign::Target(extension) => extension.as_target(family == Family::Ip).is_none(),
        Foreign::Immediate { .. }
        | Foreign::Range { .. }
        | Foreign::Reject { .. }
        | Foreign::Log { .. }
        | Foreign::Object { .. }
        | Foreign::Notrack => false,
        Foreign::ObjectMap { set: SetRef::Anonymous(set), .. } => in_set(&set.spec) || in_elements(set),
        Foreign::ObjectMap { set: SetRef::Named(_), .. } => false,
        Foreign::SetPayload { base, offset, len, .. } => field::raw(*base, *offset, *len).is_none(),
    }
}

const fn in_verdict(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Other(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary;
    use crate::render;
    use proptest::prelude::*;

    const UNKNOWN: &str = "<unknown ";

    #[test]
    fn each_expression_without_words_is_a_gap_and_no_other() {
        for (name, chain) in &arbitrary::everything().chains {
            for rule in &chain.rules {
                let text = render::rule(Family::Inet, rule);
                assert_eq!(in_rule(Family::Inet, rule), text.contains(UNKNOWN), "{name}: {text}");
            }
        }
    }

    #[test]
    fn an_expression_that_is_not_understood_is_a_gap() {
        let unknown = Expr::Unknown { name: "numgen".to_owned(), attributes: Vec::new() };
        let rule = Rule { exprs: vec![unknown], comment: None };
        assert!(in_rule(Family::Inet, &rule) && render::rule(Family::Inet, &rule).contains(UNKNOWN));
    }

    proptest! {
        #[test]
        fn where_no_gap_is_said_the_text_has_none(rule in arbitrary::rule(Default::default()), set in arbitrary::set(false)) {
            let text = render::rule(Family::Inet, &rule);
            prop_assert!(in_rule(Family::Inet, &rule) || !text.contains(UNKNOWN), "{}", text);
            let text = render::set_header("s", &set.spec);
            prop_assert_eq!(in_set(&set.spec), text.contains(UNKNOWN), "{}", text);
            for element in &set.elements {
                let text = render::element(&set.spec, &element);
                prop_assert_eq!(in_element(&element), text.contains(UNKNOWN), "{}", text);
            }
        }
    }
}
