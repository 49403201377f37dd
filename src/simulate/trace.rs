//! The verdict on a packet, and the steps that lead to it.

use super::packet::Translation;
use super::truth::Doubt;
use crate::render;
use crate::ruleset::{Hook, Policy, Rule, TableId};

/// The verdict on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It passes every hook of its way.
    Allow,
    /// It is dropped without an answer.
    Deny,
    /// It is dropped, and its sender is told.
    Reject,
    /// It can't be told: see [`Trace::doubt`].
    Unknown,
}

impl Verdict {
    /// Its name in the output of `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
            Self::Unknown => "unknown",
        }
    }
}

/// One of the packets of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first.
    First,
    /// The answer.
    Answer,
    /// The third.
    Third,
    /// Any after these, of whom the first came from.
    Sent,
    /// Any after these, of whom the answer came from.
    Returned,
}

impl Stage {
    /// Its name in the output of `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Answer => "answer",
            Self::Third => "third",
            Self::Sent => "sent",
            Self::Returned => "returned",
        }
    }

    /// What it is, in the words that go before "is dropped"; `None` of the first, which needs none.
    #[must_use]
    pub const fn words(self) -> Option<&'static str> {
        match self {
            Self::First => None,
            Self::Answer => Some("the answer to it"),
            Self::Third => Some("what follows the answer"),
            Self::Sent => Some("the data that is sent then"),
            Self::Returned => Some("the data that comes back"),
        }
    }
}

/// The possible outcomes of a packet: several if something is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcomes(u8);

impl Outcomes {
    /// It returns to the caller of its chain.
    pub(super) const RETURNS: Self = Self(1);
    /// It passes.
    pub const ALLOW: Self = Self(2);
    /// It is dropped.
    pub const DENY: Self = Self(4);
    /// It is refused.
    pub const REJECT: Self = Self(8);
    /// Any outcome is possible.
    pub const ANYTHING: Self = Self(16);

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The same for the client, of a packet after the first: the refusal of an answer goes to the answerer, and after the
    /// answer a client takes an error for a passing one, and waits.
    pub(super) const fn unheard(self) -> Self {
        if self.contain(Self::REJECT) { self.without(Self::REJECT).or(Self::DENY) } else { self }
    }

    /// Whether there is exactly one.
    pub(super) const fn is_one(self) -> bool {
        self.0.is_power_of_two()
    }

    /// The verdict that these outcomes amount to.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::ALLOW => Verdict::Allow,
            Self::DENY => Verdict::Deny,
            Self::REJECT => Verdict::Reject,
            _ => Verdict::Unknown,
        }
    }

    /// Whether the packet certainly does not pass.
    #[must_use]
    pub const fn never_pass(self) -> bool {
        self.0 & (Self::ALLOW.0 | Self::ANYTHING.0 | Self::RETURNS.0) == 0
    }
}

/// The verdict on a packet, and the rules that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The possible outcomes: exactly one unless the verdict is [`Verdict::Unknown`].
    pub outcomes: Outcomes,
    /// The rules that match or may match, in the order in which the packet meets them, and the policies of base
    /// chains. If the verdict is unknown, alternative ways follow one after the other.
    pub steps: Vec<Step<'a>>,
}

impl<'a> Trace<'a> {
    /// Why the verdict is unknown: the first doubt on the way. `None` if the verdict is known.
    #[must_use]
    pub fn doubt(&self) -> Option<&Doubt> {
        let mut doubts = self.steps.iter().filter_map(|step| step.doubt.as_ref());
        doubts.next().filter(|_| self.verdict == Verdict::Unknown)
    }

    /// The step that denied or rejected the packet, if it is certain that one did.
    #[must_use]
    pub fn denied_by(&self) -> Option<&Step<'a>> {
        let denies = |step: &&Step<'a>| matches!(step.effect, Effect::Drop | Effect::Reject);
        self.steps.iter().rev().find(denies).filter(|_| self.outcomes.never_pass())
    }
}

/// One rule that matches, or a base chain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The hook.
    pub hook: Hook,
    /// The table.
    pub table: &'a TableId,
    /// The chain.
    pub chain: &'a str,
    /// The rule and its index in the chain, from 0; `None` for the chain's policy.
    pub rule: Option<(usize, &'a Rule)>,
    /// What it does.
    pub effect: Effect<'a>,
    /// Whether the packet certainly gets here.
    pub certain: bool,
    /// Why it is unknown whether the rule matches or what it does; `None` if both are known.
    pub doubt: Option<Doubt>,
}

impl Step<'_> {
    /// The rule as stock nft prints it, without its comment; a chain's policy as `policy drop`.
    #[must_use]
    pub fn text(&self) -> String {
        match (self.rule, &self.effect) {
            (Some((_, rule)), _) => render::expressions(self.table.family, &rule.exprs),
            (None, Effect::Accept) => format!("policy {}", Policy::Accept),
            (None, _) => format!("policy {}", Policy::Drop),
        }
    }

    /// The rule's comment.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.rule.and_then(|(_, rule)| rule.comment.as_deref())
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Goes on with the next rule.
    Continue,
    /// Goes on in that chain, and comes back.
    Jump(&'a str),
    /// Goes on in that chain, and does not come back.
    Goto(&'a str),
    /// Returns to the calling chain; in a base chain, to its policy.
    Return,
    /// Ends the base chain: the packet goes on to the next.
    Accept,
    /// Drops the packet.
    Drop,
    /// Drops the packet and tells its sender.
    Reject,
    /// Translates the destination, and ends the base chain.
    Translate(Translation),
    /// Translates the source, to this machine's address or another, and ends the base chain.
    TranslateSource,
    /// Its effect is unknown.
    Unknown,
}
