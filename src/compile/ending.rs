//! What becomes of the packets that match a rule: a verdict, or a chain that logs or remembers them first.

use super::statement::{Origin, when};
use super::{Compiler, Denial};
use crate::resolve::{Action, Line, Rate};
use crate::ruleset::{LimitUnit, Verdict};

/// How often a service with `log: true` logs its connections, so that nobody can fill the disk by opening
/// connections.
pub(super) const LOGGED: Rate = Rate { count: 10, unit: LimitUnit::Second, line: None };

/// The chain that rejects.
const REFUSED: &str = "refused";

/// What the names of the chains behind a rule's own end with: one that logs, one that only remembers who is denied.
const BEHIND: [&str; 2] = [".log", ".denied"];

/// Whether a chain is one behind that of a rule or a service, in which its verdict is given.
pub(crate) fn is_behind_a_rule(chain: &str) -> bool {
    BEHIND.iter().any(|end| chain.ends_with(end))
}

/// What the names of the chains begin with that belong to one line of a policy, and the section of that line.
const OF_LINES: [(&str, &str); 7] = [
    ("service-", "service"),
    ("admit-", "service"),
    ("nat.", "service"),
    ("outgoing-", "outgoing"),
    ("containers-", "outgoing"),
    ("apart-", "outgoing"),
    ("forward-", "forward"),
];

/// The line of a policy that a chain belongs to: its section, and its name. `None` if it belongs to none alone.
pub(crate) fn line_of(chain: &str) -> Option<(&'static str, &str)> {
    let (section, name) =
        OF_LINES.iter().find_map(|(begin, section)| Some((*section, chain.strip_prefix(begin)?)))?;
    Some((section, name.split('.').next().unwrap_or(name)))
}

/// The chains behind another one, as far as a table may have them.
pub(crate) fn chains_behind(chain: &str) -> [String; 2] {
    BEHIND.map(|end| format!("{chain}{end}"))
}

/// The end of a rule.
pub(super) enum RuleEnd {
    /// Counts, and gives this verdict.
    Verdict(Verdict),
    /// Goes to a chain that counts.
    Chain(String),
}

/// What becomes of the packets that match a rule.
pub(super) struct Ending<'a> {
    pub(super) action: Action,
    /// Whether each is logged.
    pub(super) log: bool,
    /// The rule's name and comment.
    pub(super) title: &'a str,
    pub(super) line: Line,
    /// Where a denial is remembered, if it is.
    pub(super) denied: Option<Denial>,
}

impl Compiler<'_> {
    /// The end of the rules of a chain. Adds the chain that logs or remembers who is denied, or the one that rejects, if the
    /// end needs it.
    pub(super) fn rule_end(&mut self, chain: &str, rule: Ending<'_>) -> RuleEnd {
        let Ending { action, log, title, line, denied } = rule;
        let verdict = match action {
            Action::Allow => Verdict::Accept,
            Action::Deny => Verdict::Drop,
            Action::Reject => Verdict::Goto(REFUSED.to_owned()),
        };
        if action == Action::Reject {
            let comment = || self.says("refused by a rule", Origin::BuiltIn);
            let rules = vec![when().l4proto(6).reject_tcp().because(comment()), when().reject().because(comment())];
            let comment = self.says("what rules with `action: reject` deny", Origin::BuiltIn);
            self.chain(REFUSED, comment, rules);
        }
        let remembered = denied.filter(|_| action != Action::Allow).map(|denied| self.is_remembered(denied));
        if !log && remembered.is_none() {
            return RuleEnd::Verdict(verdict);
        }
        let origin = Origin::Line(Some(line));
        let done = if action == Action::Allow { "allowed" } else { "denied" };
        let name = title.split(' ').next().unwrap_or(title);
        let mut rules = Vec::new();
        if log {
            let comment = self.says(&format!("{name}: each new connection is logged"), origin);
            rules.push(when().limited(LOGGED).log(&format!("palisade {done} {name}: ")).because(comment));
        }
        rules.extend(remembered);
        rules.push(when().counter().verdict(verdict).because(self.says(title, origin)));
        let [logged, denied] = chains_behind(chain);
        let (end, what) = if log { (logged, "logged") } else { (denied, "denied") };
        let comment = self.says(&format!("{name}: what is {what}"), origin);
        self.chain(end.clone(), comment, rules);
        RuleEnd::Chain(end)
    }
}
