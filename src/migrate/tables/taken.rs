//! Which tables are translated, and which stay what they are.

use super::Program;
use crate::explain::owner_of;
use crate::exposure::{Machine, inlined};
use crate::ruleset::graph::{Graph, NamedMaps};
use crate::ruleset::{Chain, Family, Hook, Set, Table, TableId};
use crate::simulate::{Answer, At, Hooked, JustLoaded, Sets};
use std::collections::BTreeSet;

/// Programs that ban: their tables stay, and what they ban is no part of a policy.
const BANNING: [&str; 3] = ["fail2ban", "CrowdSec", "sshguard"];
/// Tables of iptables.
const OF_IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
const NOTHING: &str = "no table of the kernel filters what comes in: there is nothing to translate, and everyone gets in. \
                       `palisade init` prints a first policy";
const NO_IPTABLES: &str = "no table of iptables-nft filters what comes in: `palisade import nft` reads other tables";

/// The tables that are translated.
pub(super) struct Taken {
    pub(super) tables: Vec<(TableId, Table)>,
    /// Programs whose bans are left out, and the chain or table that they stand in.
    pub(super) bans: BTreeSet<(&'static str, String)>,
    /// Tables of other families, which are not followed.
    pub(super) beside: Vec<String>,
    /// Programs that have chains among those that are translated.
    pub(super) owners: BTreeSet<&'static str>,
}

impl Taken {
    /// Chooses from all tables.
    ///
    /// # Errors
    /// There is none that filters.
    pub(super) fn of(machine: &Machine<'_>, program: Program) -> Result<Self, String> {
        let mut taken =
            Self { tables: Vec::new(), bans: BTreeSet::new(), beside: Vec::new(), owners: BTreeSet::new() };
        for (id, table) in &machine.tables {
            taken.take(id, table);
        }
        let filters = |(id, table): &(TableId, Table)| {
            let is_iptables = id.family != Family::Inet && OF_IPTABLES.contains(&id.name.as_str());
            let bases = table.chains.values().filter_map(|chain| chain.base.as_ref());
            let mut hooks = bases.filter(|base| base.kind != "nat").map(|base| base.hook);
            (program == Program::Nft || is_iptables)
                && hooks.any(|hook| hook == Hook::Input || hook == Hook::Prerouting)
        };
        match program {
            _ if taken.tables.iter().any(filters) => Ok(taken),
            Program::Nft => Err(NOTHING.to_owned()),
            Program::Iptables => Err(NO_IPTABLES.to_owned()),
        }
    }

    fn take(&mut self, id: &TableId, table: &Table) {
        let title = crate::printable::printable(&format!("{} {}", id.family, id.name)).into_owned();
        let of_table = owner_of(id, "", None);
        if *id == TableId::palisade() {
            return;
        }
        if let Some(owner) = of_table.filter(|owner| BANNING.contains(owner)) {
            self.bans.insert((owner, format!("table {title}")));
            return;
        }
        if matches!(id.family, Family::Arp | Family::Bridge | Family::Other(_)) {
            self.beside.push(title);
            return;
        }
        self.owners.extend(of_table);
        let mut table = inlined(table);
        for (name, chain) in &mut table.chains {
            let owner = owner_of(id, name, None);
            self.owners.extend(owner);
            if let Some(owner) = owner.filter(|owner| BANNING.contains(owner) && !chain.rules.is_empty()) {
                let chain_title = crate::printable::printable(name);
                self.bans.insert((owner, format!("{title} {chain_title}")));
                chain.rules.clear();
            }
        }
        self.tables.push((id.clone(), table));
    }

    /// The machine with these tables alone.
    pub(super) fn machine<'a>(&'a self, machine: &'a Machine<'_>) -> Machine<'a> {
        Machine { tables: self.tables.iter().map(|(id, table)| (id, table)).collect(), ..machine.without_listeners() }
    }

    /// Asks the machine that has palisade's table in the place of these, and beside it what translates.
    pub(super) fn beside<T>(&self, machine: &Machine<'_>, ours: &Table, ask: impl FnOnce(&Machine<'_>) -> T) -> T {
        let id = TableId::palisade();
        let translating: Vec<(&TableId, Table)> =
            self.tables.iter().filter_map(|(id, table)| Some((id, translating(table)?))).collect();
        let sets = Loaded { real: machine.sets };
        let mut tables: Vec<(&TableId, &Table)> = translating.iter().map(|(id, table)| (*id, table)).collect();
        tables.push((&id, ours));
        let mut loaded = Machine { tables, sets: &sets, ..machine.without_listeners() };
        let of_others = std::mem::replace(&mut loaded.elements, Box::new(|_, _| None));
        loaded.elements = Box::new(move |of, name| {
            let own = (*of == TableId::palisade()).then(|| ours.sets.get(name)).flatten();
            own.map_or_else(|| of_others(of, name), |set| Some(std::rc::Rc::new(set.elements.clone())))
        });
        ask(&loaded)
    }
}

/// The part of a table that translates; `None` if nothing does.
fn translating(table: &Table) -> Option<Table> {
    let is_nat = |chain: &Chain| chain.base.as_ref().is_some_and(|base| base.kind == "nat");
    let bases = table.chains.iter().filter(|(_, chain)| is_nat(chain)).map(|(name, _)| name.as_str());
    let kept: BTreeSet<String> =
        Graph::new(table, NamedMaps::Listed).reachable(bases).into_iter().map(str::to_owned).collect();
    if kept.is_empty() {
        return None;
    }
    let mut part = table.clone();
    part.chains.retain(|name, _| kept.contains(name));
    Some(part)
}

/// Palisade's own sets as they are loaded, and those of others.
struct Loaded<'s> {
    real: &'s dyn Sets,
}

impl Sets for Loaded<'_> {
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        if *table == TableId::palisade() {
            JustLoaded.find(table, name, set, key)
        } else {
            self.real.find(table, name, set, key)
        }
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool {
        if *table == TableId::palisade() { set.elements.is_empty() } else { self.real.is_empty(table, name, set) }
    }

    fn has_room(&self, table: &TableId, name: &str, set: &Set) -> Option<bool> {
        if *table == TableId::palisade() { Some(true) } else { self.real.has_room(table, name, set) }
    }

    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        self.real.is_before(at, one, other)
    }

    fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        self.real.is_later(table, one, other)
    }
}
