//! Connections that have lost their access, and the packets that would revive them.
//!
//! To end a connection its conntrack entry is deleted: what its client sends next begins a new connection, and the
//! services deny that. But what the *server* sends next begins one too, in the other direction, which outgoing traffic
//! is allowed, and to which the client's packets are replies: a download goes on as if nothing had happened. So whoever
//! deletes the entry adds the flow of its replies to these sets first, and what would begin a connection there is dropped.
//!
//! What this machine begins *itself* between the same addresses and ports must not suffer from that. The first packet of TCP
//! and of SCTP tells what it is, and is let through. That of UDP looks like any other, so that flows of UDP are remembered
//! no longer than the kernel would take the exchange for one that goes on.

use super::Compiler;
use super::statement::{Origin, when};
use crate::net::{Version, protocol};
use crate::ruleset::{
    Elements, KeyType, REVOKED_UDP_V4, REVOKED_UDP_V6, REVOKED_V4, REVOKED_V6, Rule, Set, SetFlags, SetSpec,
};

/// As long as the kernel remembers an idle TCP connection (`nf_conntrack_tcp_timeout_established`): five days. No packet
/// begins the time anew: a server whose packets are all dropped gives up within half an hour.
const REVOKED_TIMEOUT_MS: u64 = 5 * 24 * 3_600 * 1_000;

/// As long as the kernel remembers an exchange of datagrams (`nf_conntrack_udp_timeout_stream`): two minutes.
const REVOKED_UDP_TIMEOUT_MS: u64 = 2 * 60 * 1_000;

const REVOKED: &str = "revoked";
const REVOKED_UDP: &str = "revoked-udp";

impl Compiler<'_> {
    /// The sets and the chains that ask them, which stand in every table: apply adds elements and no rules.
    ///
    /// Each packet that begins something towards the outside pays for it: that of TCP for two comparisons, that of UDP for
    /// one lookup.
    pub(super) fn revoked(&mut self) {
        let again = "what begins anew revives nothing";
        let says = |sentence: &str| self.says(sentence, Origin::BuiltIn);
        let mut rules = vec![
            when().begins_tcp().go_back().because(says(again)),
            when()
                .l4proto(protocol::UDP)
                .goto(REVOKED_UDP)
                .because(says("datagrams do not tell whether they begin anything")),
            when().begins_sctp().go_back().because(says(again)),
        ];
        let shut = "a connection that lost its access stays shut";
        rules.extend(self.flows_stay_shut([REVOKED_V4, REVOKED_V6], shut));
        self.chain(REVOKED, self.says("replies of connections that lost their access", Origin::BuiltIn), rules);
        let shut = "an exchange of datagrams that lost its access stays shut";
        let rules = self.flows_stay_shut([REVOKED_UDP_V4, REVOKED_UDP_V6], shut);
        let comment = self.says("replies of exchanges of datagrams that lost their access", Origin::BuiltIn);
        self.chain(REVOKED_UDP, comment, rules);

        let what = "what would revive connections that lost their access";
        self.flow_sets([REVOKED_V4, REVOKED_V6], REVOKED_TIMEOUT_MS, what);
        let what = "what would revive exchanges of datagrams that lost their access";
        self.flow_sets([REVOKED_UDP_V4, REVOKED_UDP_V6], REVOKED_UDP_TIMEOUT_MS, what);
    }

    fn flows_stay_shut(&self, sets: [&str; 2], sentence: &str) -> Vec<Rule> {
        let rule = |(version, set)| {
            when().flow_in(version, set).counter().drop().because(self.says(sentence, Origin::BuiltIn))
        };
        Version::ALL.into_iter().zip(sets).map(rule).collect()
    }

    /// No rule adds to them: the kernel would give them the size of a dynamic set, 65,535, and what did not fit would go on.
    /// They are dynamic all the same, since what they hold is live state and no policy.
    fn flow_sets(&mut self, names: [&str; 2], timeout_ms: u64, sentence: &str) {
        for (version, name) in Version::ALL.into_iter().zip(names) {
            let spec = SetSpec {
                timeout_ms: Some(timeout_ms),
                comment: Some(self.says(sentence, Origin::BuiltIn)),
                ..SetSpec::new(KeyType::whole_flow(version), SetFlags::DYNAMIC.with(SetFlags::TIMEOUT))
            };
            self.set(name, Set { spec, elements: Elements::none() });
        }
    }

    /// For chains that allow what begins a connection towards the outside.
    pub(super) fn stay_shut(&self) -> Rule {
        let comment = self.says("connections that lost their access stay shut", Origin::BuiltIn);
        when().jump(REVOKED).because(comment)
    }
}
