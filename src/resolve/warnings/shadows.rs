//! Rules of `outgoing` and `forward` that allow nothing that another one does not allow anyway.

use super::{Asked, MAX_COMPARED, names_all_of};
use crate::policy::{self, Diagnostic, Policy, Text, quote};
use crate::resolve::{Action, PolicyRule, Resolved};
use std::collections::BTreeMap;

pub(super) fn of_rules(typed: &Policy, policy: &Resolved) -> Vec<Diagnostic> {
    let sections = [(&typed.outgoing, &policy.outgoing), (&typed.forward, &policy.forward)];
    sections.into_iter().flat_map(|(typed, rules)| of_section(typed, rules)).collect()
}

fn of_section(typed: &[policy::PolicyRule], rules: &BTreeMap<String, PolicyRule>) -> Vec<Diagnostic> {
    if typed.len() > MAX_COMPARED {
        return Vec::new();
    }
    let all: Vec<(&Text, &PolicyRule)> =
        typed.iter().filter_map(|typed| Some((&typed.name, rules.get(&typed.name.value)?))).collect();
    let shadow = |(name, rule): &(&Text, &PolicyRule)| {
        let other = all.iter().find(|(other, by)| {
            // Of two that are equal, the one that stands first counts.
            let comes_first = other.span < name.span || !allows_all_of(rule, by);
            other.value != name.value && comes_first && allows_all_of(by, rule)
        });
        let (other, _) = other.filter(|_| !rule.log)?;
        let (span, name, others) = (name.span, quote(&name.value), quote(&other.value));
        Some(
            Diagnostic::at(span, format!("the rule {name} allows nothing that {others} does not allow anyway"))
                .note(other.span, "this one")
                .help(format!(
                    "remove {name}, or narrow {others}: what one rule allows no other rule that allows takes back"
                )),
        )
    };
    all.iter().filter_map(shadow).collect()
}

/// Whether the rule `by` allows all that `rule` allows.
fn allows_all_of(by: &PolicyRule, rule: &PolicyRule) -> bool {
    let allows = |rule: &PolicyRule| rule.action == Action::Allow;
    let wide = Asked { ports: &by.ports, protocols: &by.protocols, ping: by.ping, all: by.all };
    let narrow = Asked { ports: &rule.ports, protocols: &rule.protocols, ping: rule.ping, all: rule.all };
    allows(by)
        && allows(rule)
        && by.except.is_empty()
        && (by.on.is_empty() || by.on == rule.on)
        && wide.has_all_of(&narrow)
        && names_all_of(&by.from, &rule.from)
        && names_all_of(&by.to, &rule.to)
}
