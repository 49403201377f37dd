//! Rules in `DOCKER-USER`, the chain that Docker leaves to its users.

use crate::doctor::words::some;
use crate::doctor::{Facts, Finding, Kind, Severity};
use crate::ruleset::{Expr, Family, Rule, Verdict};

pub(super) const FINDING: Kind = Kind {
    id: "docker-user-rules",
    severity: Severity::Warning,
    what: "rules in `DOCKER-USER`",
    why: "what they drop of published ports stays dropped, although the policy allows it",
    remedy: "put what they do into the policy, then `iptables -F DOCKER-USER && iptables -A DOCKER-USER -j RETURN`",
};

/// People use this chain as their firewall for published ports.
pub(super) fn check(facts: &Facts<'_>) -> Option<Finding> {
    let harmless = |rule: &Rule| {
        let mut deciding = rule.exprs.iter().filter(|expr| !matches!(expr, Expr::Counter { .. }));
        matches!(deciding.next(), None | Some(Expr::Verdict(Verdict::Return))) && deciding.next().is_none()
    };
    let mut counts = Vec::new();
    for (id, table) in &facts.rules.tables {
        let rules = table.chains.get("DOCKER-USER").map_or(&[][..], |chain| &chain.rules);
        let left = rules.iter().filter(|rule| !harmless(rule)).count();
        if left > 0 {
            let tool = if id.family == Family::Ip6 { "ip6tables" } else { "iptables" };
            counts.push((tool, left));
        }
    }
    let said = some(counts.iter().map(|(tool, left)| match left {
        1 => format!("a rule of {tool}"),
        left => format!("{left} rules of {tool}"),
    }));
    let mend = counts.iter().map(|(tool, _)| format!("{tool} -F DOCKER-USER && {tool} -A DOCKER-USER -j RETURN"));
    (!counts.is_empty()).then(|| {
        FINDING.found(
            format!("{said} in the chain DOCKER-USER: what they drop of published ports stays dropped, although the policy allows it"),
            format!(
                "put what they do into the policy, then `{}`, and take them out of what loads them at boot",
                mend.collect::<Vec<_>>().join(" && ")
            ),
        )
    })
}
