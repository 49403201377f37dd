//! `block`: sources whose packets are dropped before connection tracking sees them.
//!
//! A list of addresses is meant for sources outside. It often contains networks that this machine uses itself: lists
//! of bogons contain the private networks of its containers, and `fe80::/10` contains the gateway. So no address
//! blocks packets from the loopback or from containers, and no item blocks what the network cannot work without. An
//! interface of containers is blocked only if `block` names the interface.
//!
//! ```text
//! filter-prerouting ─ found in a set ─► blocked-GROUP ─┬─ from containers: accept
//!                                                      ├─ spared: what keeps the network going: accept
//!                                                      └─ drop
//! ```
//!
//! Other packets cost only the lookups in the sets.

use super::forward::CONTAINERS;
use super::peers::{Alternatives, Match};
use super::statement::{Origin, when};
use super::{Compiler, PRIORITY_RAW};
use crate::net::protocol;
use crate::resolve::Line;
use crate::ruleset::{Hook, Policy, Rule};

/// The chain for the packets that blocked sources may still send.
const SPARED: &str = "spared";
/// The name of the sets for the items of `block` that are not groups, and of their chain.
const LISTED: &str = "policy.block";

/// The chain of a group in `block`.
fn chain_of(group: &str) -> String {
    format!("blocked-{group}")
}

/// Whether a chain of the table drops blocked sources, and counts them.
#[must_use]
pub(crate) fn drops_blocked(chain: &str) -> bool {
    chain.starts_with(&chain_of("")) || chain.strip_prefix(LISTED).is_some_and(|rest| ["", "-if"].contains(&rest))
}

impl Compiler<'_> {
    pub(super) fn drop_blocked(&mut self) {
        let block = &self.policy.block;
        if block.is_empty() {
            return;
        }
        self.literal_sets("policy", "block", "blocked", block);
        let (mut by_interface, mut by_address) = (Vec::new(), Vec::new());
        let groups = block.groups.iter().filter_map(|(name, line)| {
            let group = self.policy.groups.get(name)?;
            Some((name.as_str(), chain_of(name), !group.interfaces.is_empty(), format!("from {name}"), Some(*line)))
        });
        let literal =
            (LISTED, LISTED.to_owned(), !block.interfaces.is_empty(), "from those listed".to_owned(), block.line);
        for (owner, chain, interfaces, words, line) in groups.chain([literal]).collect::<Vec<_>>() {
            let mut all = Alternatives::default();
            self.matches(&mut all, owner, interfaces, &words, line);
            by_interface.extend(self.blocked(&format!("{chain}-if"), all.by_interface, line, false));
            by_address.extend(self.blocked(&chain, all.by_address, line, self.has_containers()));
        }
        let comment = self.says("what blocked sources may send all the same", Origin::BuiltIn);
        self.chain(SPARED, comment, self.essentials_from_outside().into());
        // Lists often have 127.0.0.0/8.
        let rules = std::iter::once(self.accept_loopback()).chain(by_interface).chain(by_address).collect();
        let comment = "blocked sources, before connection tracking";
        self.base_chain("filter-prerouting", Hook::Prerouting, PRIORITY_RAW, Policy::Accept, comment, rules);
    }

    /// The rules that send these to the chain that drops them, which is added.
    fn blocked(&mut self, chain: &str, who: Vec<Match>, line: Option<Line>, spare_containers: bool) -> Vec<Rule> {
        let Some((_, words, _)) = who.first() else { return Vec::new() };
        let blocked = self.says(&format!("blocked: {words}"), Origin::Line(line));
        let mut rules = Vec::new();
        if spare_containers {
            let comment = self.says("containers are not outside", Origin::BuiltIn);
            rules.push(when().iifname_in(CONTAINERS).accept().because(comment));
        }
        let comment = self.says("what the network itself needs", Origin::BuiltIn);
        rules.push(when().l4proto_is_not(protocol::TCP).jump(SPARED).because(comment));
        rules.push(when().counter().drop().because(blocked.clone()));
        self.chain(chain, blocked.clone(), rules);
        who.into_iter().map(|(who, ..)| who.goto(chain).because(blocked.clone())).collect()
    }
}
