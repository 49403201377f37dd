//! Lists of this machine's own addresses and interfaces: `to` and `on`.

use super::{places, values};
use crate::net::{AddressRange, IfPattern};
use crate::policy::{Diagnostic, Fault, List, Peer, address_range, is_name, quote};
use std::collections::BTreeSet;

/// Reads `to`: this machine's own addresses.
pub(super) fn addresses(list: &List<Peer>, problems: &mut Vec<Diagnostic>) -> Vec<AddressRange> {
    let mut ranges = Vec::new();
    for peer in &list.items {
        let outcome = match peer {
            Peer::Word(text) if matches!(text.value.as_str(), "any" | "0.0.0.0" | "::") => {
                Err(Fault::new(format!("`to` can't be {}", quote(&text.value)))
                    .help("leave `to` out: the service then holds for all addresses of this machine"))
            }
            Peer::Word(text) if is_name(&text.value) => {
                Err(Fault::new(format!("`to` can't be the group {}", quote(&text.value)))
                    .help("write this machine's own addresses; groups say where a peer is"))
            }
            Peer::Word(text) => address_range(&text.value),
            Peer::Interface(_) => Err(Fault::new("`to` can't be an interface")
                .help("write this machine's own addresses, or name the interface in `on`")),
            Peer::File { .. } => {
                Err(Fault::new("`to` can't be a file").help("write this machine's own addresses, one item each"))
            }
            Peer::User(_) => Err(Fault::new("`to` can't be a user").help("write this machine's own addresses")),
            Peer::Dns(_) => Err(Fault::new("`to` can't be a host name").help("write this machine's own addresses")),
            Peer::Temporary(_) => Err(places::not_for_a_time()),
        };
        match outcome {
            Ok(range) => ranges.push(range),
            Err(fault) => problems.push(fault.at(peer.text().span)),
        }
    }
    ranges
}

/// Reads the list of interfaces given as `key`.
pub(super) fn interfaces(list: &List<Peer>, key: &str, problems: &mut Vec<Diagnostic>) -> BTreeSet<IfPattern> {
    let mut interfaces = BTreeSet::new();
    for peer in &list.items {
        let outcome = match peer {
            Peer::Word(text) if text.value == "any" => {
                Err(Fault::new(format!("`{key}` can't be `any`")).help(format!("write names, or leave `{key}` out")))
            }
            Peer::Word(text) | Peer::Interface(text) => values::interface(&text.value),
            Peer::File { .. } => Err(Fault::new(format!("`{key}` can't be a file"))
                .help(format!("write the interfaces' names: `{key}: [eth0]`"))),
            Peer::Temporary(_) => Err(places::not_for_a_time()),
            Peer::User(_) => Err(Fault::new(format!("`{key}` can't be a user"))
                .help(format!("write the interfaces' names: `{key}: [eth0]`"))),
            Peer::Dns(_) => Err(Fault::new(format!("`{key}` can't be a host name"))
                .help(format!("write the interfaces' names: `{key}: [eth0]`"))),
        };
        match outcome {
            Ok(interface) => {
                interfaces.insert(interface);
            }
            Err(fault) => problems.push(fault.at(peer.text().span)),
        }
    }
    interfaces
}
