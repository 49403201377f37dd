//! Who was denied which port, remembered for `palisade denied`.
//!
//! The chains that deny what comes in and what passes through add each packet's source, protocol and port to a set
//! first. The port is the one that the sender asked for, so that a published port says the host's. A set lives in the
//! kernel and bounds itself: by its size, by the time for which an element stays, and by the rate at which rules add to
//! it, so that a flood costs hardly more than its denial. A packet that comes faster than the rate, or finds the set
//! full, is denied all the same and not remembered.
//!
//! Not remembered: the sources of `block`, which are dropped before connection tracking and at the least cost; packets
//! that are not tracked, or of no connection; protocols without ports; what this machine and its containers send.

use super::Compiler;
use super::statement::{Origin, when};
use crate::net::{Transport, Version};
use crate::resolve::Rate;
use crate::ruleset::{Elements, KeyType, LimitUnit, Rule, Set, SetFlags, SetSpec};

/// How many elements each set has at most.
const SIZE: u32 = 16_384;

/// How long an element stays after the last packet that was remembered, in milliseconds: a day.
pub(crate) const REMEMBERED_MS: u64 = 24 * 3_600_000;

/// How many packets of each IP version and transport protocol are remembered in a second, after a burst of [`BURST`].
const AT_MOST: Rate = Rate { count: 20, unit: LimitUnit::Second, line: None };

/// How many packets are remembered at once after a quiet time.
const BURST: u32 = 100;

/// What a chain denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// What comes in to this machine, or to a port that a container publishes.
    Incoming,
    /// What passes through it.
    Forward,
}

impl Denial {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Incoming, Self::Forward];

    /// The chain that remembers what is denied.
    pub(super) const fn chain(self) -> &'static str {
        match self {
            Self::Incoming => "denied-incoming",
            Self::Forward => "denied-forward",
        }
    }

    /// The set of those who were denied.
    #[must_use]
    pub fn set(self, version: Version) -> String {
        let direction = match self {
            Self::Incoming => "incoming",
            Self::Forward => "forward",
        };
        format!("denied.{direction}-{}", version.suffix())
    }
}

impl Compiler<'_> {
    /// Adds the sets of a direction and the chain that fills them.
    fn remember_denied(&mut self, denied: Denial) {
        let what = match denied {
            Denial::Incoming => "who was denied which port",
            Denial::Forward => "who was denied which port behind this machine",
        };
        let mut rules: Vec<Rule> = Vec::new();
        // Told apart once, and not by each rule: a flood passes as few of them as can be.
        let of_v6 = format!("{}-{}", denied.chain(), Version::V6.suffix());
        let goes = when().version(Version::V6).goto(&of_v6);
        rules.push(goes.because(self.says("remembered for palisade denied", Origin::BuiltIn)));
        for version in Version::ALL {
            let set = denied.set(version);
            let comment = self.says(what, Origin::BuiltIn);
            let remember = Transport::ALL.map(|transport| {
                let asks = when().l4proto(transport.number()).version(version).limited_to(AT_MOST, BURST);
                asks.remember_asked(version, &set).because(comment.clone())
            });
            match version {
                Version::V4 => rules.extend(remember),
                Version::V6 => {
                    let comment = self.says(&format!("remembers {what}, for palisade denied"), Origin::BuiltIn);
                    self.chain(&of_v6, comment, remember.into());
                }
            }
            let spec = SetSpec {
                size: Some(SIZE),
                timeout_ms: Some(REMEMBERED_MS),
                comment: Some(comment),
                ..SetSpec::new(KeyType::asked(version), SetFlags::DYNAMIC.with(SetFlags::TIMEOUT))
            };
            self.set(set, Set { spec, elements: Elements::none() });
        }
        let comment = self.says(&format!("remembers {what}, for palisade denied"), Origin::BuiltIn);
        self.chain(denied.chain(), comment, rules);
    }

    /// The rule that has what is about to be denied remembered.
    pub(super) fn is_remembered(&mut self, denied: Denial) -> Rule {
        if !self.table.chains.contains_key(denied.chain()) {
            self.remember_denied(denied);
        }
        when().jump(denied.chain()).because(self.says("remembered for palisade denied", Origin::BuiltIn))
    }
}
