//! The effects of rules on later rules: marks and translations.

use super::bits::Bits;
use super::packet::Translation;

/// The state of one packet between its rules.
#[derive(Clone, Debug)]
pub(super) struct Effects {
    /// `meta mark`, 4 bytes in host order.
    pub(super) mark: Bits,
    /// `ct mark`, 4 bytes in host order.
    pub(super) ct_mark: Bits,
    /// Where the destination is translated to.
    pub(super) destination: Option<Translation>,
    /// Whether the source is translated.
    pub(super) source: bool,
    /// Whether its connection is left untracked.
    pub(super) untracked: bool,
    /// Whether a TCP reset was sent to refuse it, and whether an ICMP error was; either may have been if a match is
    /// in doubt.
    pub(super) resets: bool,
    pub(super) errors: bool,
    /// How many times a mark has changed.
    pub(super) changes: usize,
}

impl Effects {
    /// Nothing is known of the marks.
    pub(super) fn unknown() -> Self {
        let mark = Bits::unknown(4);
        Self {
            ct_mark: mark.clone(),
            mark,
            destination: None,
            source: false,
            untracked: false,
            resets: false,
            errors: false,
            changes: 0,
        }
    }

    /// The first packet of a connection before any rule: both marks are 0.
    pub(super) fn none() -> Self {
        let mark = Bits::host_u32(0, u32::MAX);
        Self { ct_mark: mark.clone(), mark, ..Self::unknown() }
    }

    /// Whether later rules can't tell these from `other`.
    pub(super) fn look_like(&self, other: &Self) -> bool {
        self.same_way_as(other) && self.mark == other.mark && self.ct_mark == other.ct_mark
    }

    fn same_way_as(&self, other: &Self) -> bool {
        (self.destination, self.source, self.untracked) == (other.destination, other.source, other.untracked)
    }

    /// The effects that are known if they are these or `other`; `None` if the packet would take different ways.
    pub(super) fn or(&self, other: &Self) -> Option<Self> {
        let mark = |one: &Bits, other: &Bits| if one == other { one.clone() } else { Bits::unknown(4) };
        self.same_way_as(other).then(|| Self {
            mark: mark(&self.mark, &other.mark),
            ct_mark: mark(&self.ct_mark, &other.ct_mark),
            resets: self.resets || other.resets,
            errors: self.errors || other.errors,
            changes: self.changes.max(other.changes) + 1,
            ..*self
        })
    }

    pub(super) fn set_mark(&mut self, mark: Bits) {
        if self.mark != mark {
            self.mark = mark;
            self.changes += 1;
        }
    }

    pub(super) fn forget_ct_mark(&mut self) {
        self.ct_mark = Bits::unknown(4);
    }

    pub(super) fn set_ct_mark(&mut self, mark: Bits) {
        if self.ct_mark != mark {
            self.ct_mark = mark;
            self.changes += 1;
        }
    }
}
