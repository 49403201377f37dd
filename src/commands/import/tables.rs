//! Reads the live tables of this machine.

use super::{Live, table_of};
use crate::error::Error;
use crate::exposure::{Interface, Machine};
use crate::machine::{Gaps, Sysctls, legacy_tables};
use crate::migrate::Imported;
use crate::migrate::tables::{Input, Program, import};
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, Socket, members};
use crate::process::privileges::Confinement;
use crate::process::progress::doing;
use crate::resolve::Containers;
use crate::ruleset::{Elements, Ruleset, Set, SetFlags, TableId};
use crate::simulate::{Answer, At, Hooked, Sets};
use std::rc::Rc;

/// How much of a set is read, in netlink messages; each has some hundred elements.
const MOST_MESSAGES: usize = 400;
/// What is said where iptables-legacy has rules, which no listing of nf_tables shows.
const LEGACY: &str = "iptables-legacy has rules here, which can't be read from the kernel, and which decide together with those that \
                      can. Load them where they can be read, and take them out of where they are:\n  \
                      iptables-legacy-save | iptables-nft-restore --noflush && iptables-legacy -P INPUT ACCEPT && iptables-legacy -F\n  \
                      ip6tables-legacy-save | ip6tables-nft-restore --noflush && ip6tables-legacy -P INPUT ACCEPT && ip6tables-legacy -F\n\
                      Then unload the modules (`rmmod iptable_filter ip6table_filter` and those of the other tables), or boot \
                      without what loads them, and import again";

/// The policy of the live tables.
pub(super) fn of_kernel(program: Program, live: Live, confined: Confinement<'_>) -> Result<Imported, Error> {
    let legacy = legacy_tables();
    let forwards = Sysctls::read(&mut Gaps::default()).forward();
    if !legacy.is_empty() {
        return Err(Error::Declined(format!("{LEGACY} (tables that are loaded: {})", legacy.join(", "))));
    }
    confined.keep_net_admin("import")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    let links = routing.links()?;
    let routing = Routing::open_between(links.iter().map(|link| (link.index, link.name.clone())))?;
    let containers = Containers::default();
    let others = links.into_iter().filter(|link| link.name != "lo" && link.master.is_none());
    let interfaces: Vec<Interface> = others
        .map(|link| Interface {
            containers: containers.covers(&link.name),
            name: link.name,
            addresses: link.addresses,
        })
        .collect();
    let _doing = doing("asking the rules who gets in");
    let imported = socket.ask_live(|read| {
        let real = LiveSets::new(&socket, read, None);
        let sets = Steady { real: &real };
        let ruleset = filled(&read.ruleset);
        let machine = Machine {
            tables: ruleset.tables.iter().collect(),
            sets: &sets,
            elements: Box::new(|id, name| listed(&ruleset, id, name)),
            routes: &routing,
            interfaces: interfaces.clone(),
            listeners: Vec::new(),
            published: live.published.clone(),
            ports_listed: true,
            beyond: None,
        };
        let compile = |policy: &str| table_of(policy).map_err(|error| error.to_string());
        import(&Input { machine: &machine, program, forwards, compile: &compile })
    })?;
    imported.map_err(Error::Declined)
}

/// The tables with the elements of their sets. A set that is too large counts as one that packets fill.
fn filled(ruleset: &Ruleset) -> Ruleset {
    let mut filled = ruleset.clone();
    for (id, table) in &mut filled.tables {
        for (name, set) in table.sets.iter_mut().filter(|(_, set)| !set.spec.flags.contains(SetFlags::DYNAMIC)) {
            match members(id, name, MOST_MESSAGES) {
                Ok(read) if read.complete => set.elements = read.elements,
                Ok(_) => set.spec.flags = set.spec.flags.with(SetFlags::DYNAMIC),
                Err(error) => {
                    tracing::info!("the set {name} of {id} can't be read: {error}");
                    set.spec.flags = set.spec.flags.with(SetFlags::DYNAMIC);
                }
            }
        }
    }
    filled
}

fn listed(ruleset: &Ruleset, id: &TableId, name: &str) -> Option<Rc<Elements>> {
    let set = ruleset.tables.get(id)?.sets.get(name)?;
    (!set.spec.flags.contains(SetFlags::DYNAMIC)).then(|| Rc::new(set.elements.clone()))
}

/// The kernel's sets, of which those that packets fill may hold anything.
struct Steady<'s> {
    real: &'s LiveSets<'s>,
}

impl Sets for Steady<'_> {
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        if set.spec.flags.contains(SetFlags::DYNAMIC) {
            return Answer::Unknown(format!("what is in set {name} changes").into());
        }
        self.real.find(table, name, set, key)
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool {
        !set.spec.flags.contains(SetFlags::DYNAMIC) && self.real.is_empty(table, name, set)
    }

    fn has_room(&self, table: &TableId, name: &str, set: &Set) -> Option<bool> {
        self.real.has_room(table, name, set)
    }

    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        self.real.is_before(at, one, other)
    }

    fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        self.real.is_later(table, one, other)
    }
}
