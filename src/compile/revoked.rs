//! Connections that have lost their access, and the packets that would revive them.
//!
//! To end a connection, its conntrack entry is deleted. The client's next packet then begins a new connection, which
//! the services deny. But the *server's* next packet begins one, too, in the other direction: outgoing traffic is
//! allowed, the client's packets are replies to it, and a download goes on as if nothing had happened. So before an
//! entry is deleted, the flow of its replies is added to these sets, and packets that would begin a connection on
//! that flow are dropped.
//!
//! Connections that this machine *itself* begins between the same addresses and ports must not suffer from that. The
//! first packet of a TCP or SCTP connection is recognizable and let through. A first UDP packet looks like any other,
//! so UDP flows are kept only for as long as the kernel would consider the exchange ongoing.

use super::Compiler;
use super::statement::{Origin, when};
use crate::net::{Version, protocol};
use crate::ruleset::{
    Elements, KeyType, REVOKED_UDP_V4, REVOKED_UDP_V6, REVOKED_V4, REVOKED_V6, Rule, Set, SetFlags, SetSpec,
};

/// Five days: the kernel's timeout of an idle TCP connection (`nf_conntrack_tcp_timeout_established`). Packets do not
/// restart it here: a server whose packets are all dropped gives up within half an hour.
const REVOKED_TIMEOUT_MS: u64 = 5 * 24 * 3_600 * 1_000;

/// Two minutes: the kernel's timeout of an exchange of datagrams (`nf_conntrack_udp_timeout_stream`).
const REVOKED_UDP_TIMEOUT_MS: u64 = 2 * 60 * 1_000;

const REVOKED: &str = "revoked";
const REVOKED_UDP: &str = "revoked-udp";

impl Compiler<'_> {
    /// Adds the sets, and the chains that look them up. Every table has them, so that apply adds elements and no
    /// rules.
    ///
    /// They cost each packet that begins a connection to the outside two comparisons (TCP) or one lookup (UDP).
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

    /// No rule adds to these sets: the kernel would then limit them to the size of a dynamic set, 65,535, and flows
    /// beyond that would not be stopped. They are dynamic all the same, since they hold live state, not policy.
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

    /// For chains that allow new connections to the outside.
    pub(super) fn stay_shut(&self) -> Rule {
        let comment = self.says("connections that lost their access stay shut", Origin::BuiltIn);
        when().jump(REVOKED).because(comment)
    }
}
