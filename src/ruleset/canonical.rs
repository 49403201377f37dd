//! The canonical form: two rulesets with the same canonical form count as the same.
//!
//! It blanks these don't-care fields, on both sides, before `==`:
//!
//! | field | why it does not count |
//! |---|---|
//! | packet and byte counts of `counter` | live state |
//! | the origin at a comment's end, `(policy.yaml:17)` | a moved line must not cost a rule its counters |
//! | a table's comment | can't be changed without replacing the table, and says when it was loaded |
//! | the size of an anonymous set | follows from its elements, and nft counts them differently |
//! | the type of names in an anonymous set | string in nft up to 1.0.7, `ifname` since; the kernel ignores it |
//! | 65,535 as the size of a dynamic set, or none | the kernel sets it with the first rule that adds to the set |
//! | the order of elements, and two spellings of one value | sets have no order |

use super::{
    Chain, DYNAMIC_SIZE, Element, ElementValue, Elements, Expr, KeyType, Provenance, Rule, Set, SetFlags, SetRef,
    Table,
};
use std::borrow::Cow;
use std::time::Duration;

impl Table {
    /// This table with every don't-care field blanked.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self {
            flags: self.flags,
            comment: None,
            chains: self.chains.iter().map(|(name, chain)| (name.clone(), chain.canonical())).collect(),
            sets: self.sets.iter().map(|(name, set)| (name.clone(), set.canonical())).collect(),
            others: self.others.clone(),
        }
    }
}

impl Table {
    /// This table without the elements that run out ([`SetSpec::is_timed`](super::SetSpec::is_timed)).
    #[must_use]
    pub fn without_timed(&self) -> Self {
        let mut rest = self.clone();
        for set in rest.sets.values_mut().filter(|set| set.spec.is_timed()) {
            set.elements = Elements::none();
        }
        rest
    }

    /// This table so much later: what has run out by then is gone.
    #[must_use]
    pub fn later(&self, by: Duration) -> Cow<'_, Self> {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let runs_out = |set: &Set| set.spec.is_timed() && !set.elements.is_empty();
        if milliseconds == 0 || !self.sets.values().any(runs_out) {
            return Cow::Borrowed(self);
        }
        let mut later = self.clone();
        for set in later.sets.values_mut().filter(|set| runs_out(set)) {
            let left = set.elements.iter().filter_map(|element| match element.expires() {
                Some(left) => {
                    let left = left.checked_sub(milliseconds).filter(|left| *left > 0)?;
                    Some(Element { value: Some(Box::new(ElementValue::Expires(left))), ..element.into_owned() })
                }
                None => Some(element.into_owned()),
            });
            set.elements = left.collect();
        }
        Cow::Owned(later)
    }
}

impl Chain {
    /// This chain with every don't-care field blanked.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self {
            base: self.base.clone(),
            comment: without_origin(self.comment.as_deref()),
            rules: self.rules.iter().map(Rule::canonical).collect(),
        }
    }
}

impl Rule {
    /// This rule with every don't-care field blanked.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self {
            exprs: self.exprs.iter().map(Expr::canonical).collect(),
            comment: without_origin(self.comment.as_deref()),
        }
    }
}

impl Expr {
    fn canonical(&self) -> Self {
        match self {
            Self::Counter { .. } => Self::Counter { packets: 0, bytes: 0 },
            Self::Lookup { set: SetRef::Anonymous(set), sreg, dreg, inverted } => {
                let mut set = set.canonical();
                set.spec.size = None;
                if set.spec.key == KeyType::STRING {
                    set.spec.key = KeyType::IFNAME;
                }
                Self::Lookup { set: SetRef::Anonymous(Box::new(set)), sreg: *sreg, dreg: *dreg, inverted: *inverted }
            }
            Self::Dynset { set, op, sreg_key, timeout_ms, exprs } => Self::Dynset {
                set: set.clone(),
                op: *op,
                sreg_key: *sreg_key,
                timeout_ms: *timeout_ms,
                exprs: exprs.iter().map(Self::canonical).collect(),
            },
            other => other.clone(),
        }
    }
}

impl Set {
    /// This set with every don't-care field blanked, its elements sorted, and ranges of one value written as that
    /// value.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut spec = self.spec.clone();
        spec.comment = without_origin(spec.comment.as_deref());
        if spec.flags.contains(SetFlags::DYNAMIC) {
            spec.size = spec.size.filter(|&size| size != DYNAMIC_SIZE);
            return Self { spec, elements: Elements::none() };
        }
        Self { spec, elements: self.elements.canonical() }
    }
}

/// A comment without the origin in parentheses at its end.
fn without_origin(comment: Option<&str>) -> Option<String> {
    let comment = comment?;
    Some(Provenance::without_origin(comment).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{Element, ElementKey, Key, SetSpec};

    #[test]
    fn counters_and_origins_do_not_count_and_sentences_do() {
        let rule = |packets, comment: &str| Rule {
            exprs: vec![Expr::Counter { packets, bytes: 64 * packets }],
            comment: Some(comment.to_owned()),
        };
        let one = rule(0, "palisade: from trusted (policy.yaml:9)");
        assert_eq!(one.canonical(), rule(7, "palisade: from trusted (policy.yaml:12)").canonical());
        assert_ne!(one.canonical(), rule(0, "palisade: from office (policy.yaml:9)").canonical());
    }

    #[test]
    fn what_runs_out_is_gone_later_and_the_rest_has_less_time() {
        let table = |elements: Vec<Element>| {
            let spec = SetSpec::new(KeyType::IPV4_ADDR, SetFlags::TIMEOUT);
            Table { sets: [("s".to_owned(), Set { spec, elements: elements.into() })].into(), ..Table::default() }
        };
        let element = |last, left| Element::expiring(&[192, 0, 2, last], left);
        let stays = Element::single(&[192, 0, 2, 9]);
        let now = table(vec![element(1, 900), element(2, 1000), element(3, 5000), stays.clone()]);

        assert_eq!(*now.later(Duration::from_secs(1)), table(vec![element(3, 4000), stays]));
        assert_eq!(*now.later(Duration::ZERO), now);
        assert_eq!(now.without_timed(), table(Vec::new()));
    }

    #[test]
    fn elements_have_no_order_and_a_range_of_one_value_is_that_value() {
        let spec = SetSpec::new(KeyType::INET_SERVICE, SetFlags::INTERVAL);
        let set = |elements: Vec<Element>| Set { spec: spec.clone(), elements: elements.into() };
        let ab = set(vec![Element::single(&[0, 22]), Element::range(&[0, 80], &[0, 90])]);
        let port = Key::from_slice(&[0, 22]);
        let port = Element { key: ElementKey::Range(port.clone(), port), value: None };
        let ba = set(vec![Element::range(&[0, 80], &[0, 90]), port]);
        assert_eq!(ab.canonical(), ba.canonical());
    }
}
