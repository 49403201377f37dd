//! Connections that have lost their access, and the packets that would revive them.
//!
//! To end a connection its conntrack entry is deleted: what its client sends next begins a new connection, and the
//! services deny that. But what the *server* sends next begins one too, in the other direction, which outgoing traffic
//! is allowed, and to which the client's packets are replies: a download goes on as if nothing had happened. So whoever
//! deletes the entry adds the flow of its replies to these sets first, and what would begin a connection there is dropped.

use super::Compiler;
use super::statement::{Origin, Version, when};
use crate::ruleset::{DYNAMIC_SIZE, Elements, REVOKED_V4, REVOKED_V6, Rule, Set, SetFlags, SetSpec};

/// How many ended connections are remembered. When the sets are full the oldest are not forgotten for it: the ones that
/// do not fit end as far as deleting their entries ends them.
const REVOKED_FLOWS: u32 = DYNAMIC_SIZE;

/// As long as the kernel remembers an idle TCP connection (`nf_conntrack_tcp_timeout_established`): five days. Each
/// packet that is dropped begins the time anew.
const REVOKED_TIMEOUT_MS: u64 = 5 * 24 * 3_600 * 1_000;

const REVOKED: &str = "revoked";

impl Compiler<'_> {
    /// The sets and the chain that asks them, which stand in every table: apply adds elements and no rules.
    pub(super) fn revoked(&mut self) {
        let mut rules = Vec::new();
        for (version, set) in [(Version::V4, REVOKED_V4), (Version::V6, REVOKED_V6)] {
            let comment = self.says("replies of connections that lost their access", Origin::BuiltIn);
            let spec = SetSpec {
                size: Some(REVOKED_FLOWS),
                timeout_ms: Some(REVOKED_TIMEOUT_MS),
                comment: Some(comment),
                ..SetSpec::new(version.flow(), SetFlags::DYNAMIC.with(SetFlags::TIMEOUT))
            };
            self.set(set, Set { spec, elements: Elements::none() });
            let comment = self.says("a connection that lost its access stays shut", Origin::BuiltIn);
            rules.push(when().flow_in(version, set).remember_flow(version, set).counter().drop().because(comment));
        }
        let comment = self.says("replies of connections that lost their access", Origin::BuiltIn);
        self.chain(REVOKED, comment, rules);
    }

    /// For chains that allow what begins a connection towards the outside.
    pub(super) fn stay_shut(&self) -> Rule {
        let comment = self.says("connections that lost their access stay shut", Origin::BuiltIn);
        when().jump(REVOKED).because(comment)
    }
}
