//! The ports that rules forward elsewhere, read from the rules.

use crate::net::protocol;
use crate::ruleset::{Dnat, Table, TableId, dnat};
use std::collections::BTreeSet;

/// The longest run of ports that is listed port by port; longer ones are left out.
const MOST: u16 = 1024;

/// The ports of rules that translate destinations, by protocol. A rule that names no port adds none.
pub(super) fn forwarded<'a>(tables: impl IntoIterator<Item = (&'a TableId, &'a Table)>) -> BTreeSet<(u8, u16)> {
    let mut found = BTreeSet::new();
    for (id, table) in tables {
        for rule in table.chains.values().flat_map(|chain| &chain.rules) {
            if let Some(dnat) = dnat(id.family, &table.sets, rule) {
                found.extend(ports(&dnat));
            }
        }
    }
    found
}

fn ports(dnat: &Dnat<'_>) -> BTreeSet<(u8, u16)> {
    let protocols = if dnat.protocols.is_empty() {
        BTreeSet::from([protocol::TCP, protocol::UDP])
    } else {
        dnat.protocols.clone()
    };
    let few = |(first, last): &&(u16, u16)| last.checked_sub(*first).is_some_and(|more| more < MOST);
    let ports = dnat.ports.iter().filter(few).flat_map(|(first, last)| *first..=*last).filter(|port| *port != 0);
    ports.flat_map(|port| protocols.iter().map(move |protocol| (*protocol, port))).collect()
}
