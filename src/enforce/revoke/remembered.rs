//! Adds flows that must not begin anew to the sets of the chain `revoked`.

use crate::net::protocol;
use crate::netlink::conntrack::Tuple;
use crate::netlink::{CommitError, Handles, Socket, encode};
use crate::ruleset::{
    Element, Elements, Op, REVOKED_UDP_V4, REVOKED_UDP_V6, REVOKED_V4, REVOKED_V6, Table, TableId, Transaction,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How many are added at once: what one datagram holds even if the socket's buffer can't be enlarged.
const AT_ONCE: usize = 1024;

/// `NFNL_BATCH_GENID` 0: the kernel does not compare the generation (`nf_tables_valid_genid`).
const ANY_GENERATION: u32 = 0;

/// Adds the flows to the sets, in order.
///
/// # Errors
///
/// The kernel's error for the first portion that it refused, and how many flows were therefore not remembered.
pub(super) fn remember(
    socket: &Socket,
    id: &TableId,
    table: &Table,
    flows: &[Tuple],
) -> Result<(), (usize, CommitError)> {
    let mut left = flows.len();
    for portion in flows.chunks(AT_ONCE) {
        let ops = additions(table, portion);
        // Any generation will do: adding flows reverts nobody's change.
        match encode(&Transaction { table: id.clone(), ops }, &Handles::default(), ANY_GENERATION) {
            Ok(batch) => socket.commit(&batch).map_err(|error| (left, error))?,
            // Elements of a table that was just loaded can be encoded.
            Err(error) => tracing::debug!("{}", error.problem),
        }
        left = left.saturating_sub(portion.len());
    }
    Ok(())
}

/// The operations that add flows to their sets. An existing flow must get its full timeout again, but before 6.12 the
/// kernel ignores a second addition; so add it (which always succeeds), delete it, and add it again.
fn additions(table: &Table, flows: &[Tuple]) -> Vec<Op> {
    let mut by_set: BTreeMap<&str, Vec<Element>> = BTreeMap::new();
    for (set, key) in flows.iter().filter_map(flow) {
        by_set.entry(set).or_default().push(Element::single(&key));
    }
    let mut ops = Vec::new();
    for (name, mut elements) in by_set {
        let Some(spec) = table.sets.get(name).map(|set| set.spec.clone()) else { continue };
        elements.sort_unstable();
        elements.dedup();
        let elements = Elements::from(elements);
        let add = || Op::AddElements { set: name.to_owned(), spec: spec.clone(), elements: elements.clone() };
        let delete = Op::DeleteElements { set: name.to_owned(), spec: spec.clone(), elements: elements.clone() };
        ops.extend([add(), delete, add()]);
    }
    ops
}

/// Whether the keys of the sets tell packets with that tuple from others between the same addresses.
pub(super) fn can_be_remembered(tuple: &Tuple) -> bool {
    flow(tuple).is_some()
}

/// The set for packets with that tuple, and their key in it, of type [`FLOW_V4`](crate::ruleset::KeyType::FLOW_V4) or
/// `FLOW_V6`: each field is padded to 32-bit words. `None` for other protocols: most have nothing but addresses, and
/// what conntrack keeps as the ports of GRE are keys, which GRE packets have at another offset.
fn flow(tuple: &Tuple) -> Option<(&'static str, Vec<u8>)> {
    let sets = match tuple.protocol {
        protocol::UDP => [REVOKED_UDP_V4, REVOKED_UDP_V6],
        protocol::TCP | protocol::SCTP => [REVOKED_V4, REVOKED_V6],
        _ => return None,
    };
    let (source, destination) = tuple.ports()?;
    let ([s0, s1], [d0, d1]) = (source.to_be_bytes(), destination.to_be_bytes());
    let rest = [tuple.protocol, 0, 0, 0, s0, s1, 0, 0, d0, d1, 0, 0];
    match (tuple.source, tuple.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some((sets[0], [source.octets().as_slice(), &destination.octets(), &rest].concat()))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some((sets[1], [source.octets().as_slice(), &destination.octets(), &rest].concat()))
        }
        _ => None,
    }
}
