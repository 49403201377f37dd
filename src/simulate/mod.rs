//! What a ruleset does with a packet, without asking the kernel.
//!
//! The expressions of the rules are interpreted as the kernel interprets them, on registers of the same shape. What can't
//! be evaluated is never guessed: where a match is in doubt both ways are followed, and where they lead to different
//! verdicts the verdict is [`Verdict::Unknown`], with the reason.
//!
//! ```text
//! to this machine   prerouting ─► input
//! through it        prerouting ─► forward ─► postrouting
//! from it           output ─► postrouting
//! ```
//!
//! At each hook the base chains of all tables are asked in the order of their priorities. An accept ends its base chain
//! alone; a drop or a reject is final. Translation of addresses is not simulated: a packet says where it is translated
//! to, and chains after `dstnat` see it so.

mod bits;
mod chain;
mod packet;
mod rule;
mod sets;
mod trace;
mod truth;
mod view;

#[cfg(test)]
mod tests;

pub use packet::{Interface, Packet, Path, State, Translation, Transport, protocol};
pub use sets::{Answer, AsListed, JustLoaded, Sets};
pub use trace::{Effect, Outcomes, Step, Trace, Verdict};
pub use truth::Doubt;

use crate::ruleset::{BaseChain, Chain, Family, Hook, Ruleset, Table, TableId};
use chain::Walk;
use rule::Machine;
use std::cell::RefCell;
use view::View;

/// `NFT_TABLE_F_DORMANT`: the table's chains are attached to no hook.
const DORMANT: u32 = 1;

/// What some tables do with a packet.
///
/// Bounded by the number of rules, however chains call each other, and total: no table makes it panic.
pub fn simulate<'a>(
    tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>,
    sets: &dyn Sets,
    packet: &Packet,
) -> Trace<'a> {
    let tables: Vec<_> = tables.into_iter().filter(|(_, table)| table.flags & DORMANT == 0).collect();
    let changed = RefCell::default();
    let mut steps = Vec::new();
    let mut outcomes = Outcomes::ALLOW;
    for hook in packet.path.hooks() {
        for attached in attached(&tables, *hook, packet) {
            if !outcomes.contain(Outcomes::ALLOW) {
                break;
            }
            let view = View::new(packet, *hook, attached.base.priority);
            let machine = Machine { id: attached.id, table: attached.table, sets, view: &view, changed: &changed };
            let walk = Walk::new(machine, *hook, &mut steps);
            let come = walk.base(attached.name, attached.chain, attached.base, outcomes == Outcomes::ALLOW);
            outcomes = outcomes.without(Outcomes::ALLOW).or(come);
        }
    }
    Trace { verdict: outcomes.verdict(), outcomes, steps }
}

/// What one table does with a packet when it has just been loaded, and nothing else is.
#[must_use]
pub fn simulate_table<'a>(id: &'a TableId, table: &'a Table, packet: &Packet) -> Trace<'a> {
    simulate([(id, table)], &JustLoaded, packet)
}

/// What a whole ruleset does with a packet, as it is listed.
#[must_use]
pub fn simulate_ruleset<'a>(ruleset: &'a Ruleset, packet: &Packet) -> Trace<'a> {
    simulate(&ruleset.tables, &AsListed, packet)
}

impl Path {
    const fn hooks(self) -> &'static [Hook] {
        match self {
            Self::ToMachine => &[Hook::Prerouting, Hook::Input],
            Self::Through => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
            Self::FromMachine => &[Hook::Output, Hook::Postrouting],
        }
    }
}

/// A base chain and its table.
struct Attached<'a> {
    id: &'a TableId,
    table: &'a Table,
    name: &'a str,
    chain: &'a Chain,
    base: &'a BaseChain,
}

/// The base chains of a hook that see the packet, in the order in which it passes them.
fn attached<'a>(tables: &[(&'a TableId, &'a Table)], hook: Hook, packet: &Packet) -> Vec<Attached<'a>> {
    let ipv4 = packet.source.is_ipv4();
    let sees = |family| match family {
        Family::Inet => true,
        Family::Ip => ipv4,
        Family::Ip6 => !ipv4,
        Family::Arp | Family::Bridge | Family::Netdev | Family::Other(_) => false,
    };
    let mut all: Vec<_> = tables
        .iter()
        .filter(|(id, _)| sees(id.family))
        .flat_map(|&(id, table)| {
            table.chains.iter().filter_map(move |(name, chain)| {
                let base = chain.base.as_ref().filter(|base| base.hook == hook)?;
                Some(Attached { id, table, name, chain, base })
            })
        })
        .collect();
    all.sort_by_key(|attached| attached.base.priority);
    all
}
