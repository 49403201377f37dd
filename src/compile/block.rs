//! `block`: who is dropped before connection tracking spends anything on them.
//!
//! A list of addresses is about who is outside. It often holds networks that this machine uses itself: lists of bogons
//! have the private networks, where its containers are; `fe80::/10` has the gateway. So no address blocks what comes
//! in by the loopback or from containers, and no item blocks what keeps the network going. Whoever names an interface
//! of containers in `block` means it: it is blocked.
//!
//! ```text
//! filter-prerouting ─ found in a set ─► blocked-GROUP ─┬─ from containers: accept
//!                                                      ├─ spared: what keeps the network going: accept
//!                                                      └─ drop
//! ```
//!
//! All others pay the lookups of the sets, and nothing else.

use super::forward::CONTAINERS;
use super::peers::{Alternatives, Match};
use super::statement::{Origin, when};
use super::{Compiler, PRIORITY_RAW};
use crate::resolve::Line;
use crate::ruleset::{Hook, Policy, Rule};

/// The chain for what blocked sources may send all the same.
const SPARED: &str = "spared";
/// The sets of the items of `block` that are no groups, and their chain.
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
        rules.push(when().jump(SPARED).because(comment));
        rules.push(when().counter().drop().because(blocked.clone()));
        self.chain(chain, blocked.clone(), rules);
        who.into_iter().map(|(who, ..)| who.goto(chain).because(blocked.clone())).collect()
    }
}
