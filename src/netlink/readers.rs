//! Runs every decoder of kernel messages on one datagram, for tests with input that no kernel sent.

use super::nftables::decode::{Assembler, table_id};
use super::nftables::elements;
use super::routing::{links, route, topology};
use super::wire::attr::Messages;
use super::{conntrack, diag};
use crate::net::protocol;
use crate::ruleset::{Table, TableId};
use std::collections::BTreeSet;

/// How many tables of one datagram are assembled.
const MAX_TABLES: usize = 4;

/// Passes the datagram to every decoder, and returns the tables in it.
#[must_use]
pub fn read_everything(datagram: &[u8]) -> Vec<(TableId, Table)> {
    let mut ids: BTreeSet<TableId> = BTreeSet::new();
    for message in Messages::new(datagram) {
        // The first attribute of every object in a table is the table's name.
        ids.extend(table_id(&message).filter(|_| ids.len() < MAX_TABLES));
        let _ = (message.errno(), message.error_text(), message.resource());
        let _ = (conntrack::read(&message), route::read_route(&message), route::read_link(&message));
        let _ = (links::read_link(&message), links::read_address(&message), topology::read_hops(&message));
        let _ = (diag::read(&message, protocol::TCP), diag::read_tcp(&message));
        let _ = message.attributes().map(elements::found);
    }
    let assembled = |id: TableId| {
        let mut assembler = Assembler::new(id.clone());
        for message in Messages::new(datagram) {
            let _ = assembler.accept(&message);
        }
        for set in assembler.sets_with_elements().into_iter().chain(assembler.anonymous_sets()) {
            let _ = (assembler.digest(&set), assembler.spec(&set).is_some());
        }
        assembler.finish().0.map(|table| (id, table))
    };
    ids.into_iter().filter_map(assembled).collect()
}
