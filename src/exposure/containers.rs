//! Whether containers may be among those whom a formula about others names.

use super::reach::{Clause, Label};
use super::zones::{Interval, interval, networks};
use super::{Interface, Machine};
use crate::net::{AddressRange, IfName, Version, address, number};
use crate::policy::AddressList;
use crate::ruleset::TableId;
use crate::simulate::Answer;
use std::net::IpAddr;

impl Machine<'_> {
    /// Whether a container behind an interface may be in a clause, which says of others that they reach a port: by an
    /// address of its networks, or by its interface.
    pub(super) fn may_be_among(&self, interface: usize, clause: &Clause, version: Version) -> bool {
        let Some(interface) = self.interfaces.get(interface) else { return true };
        let networks: Vec<Interval> = networks(interface, version).map(interval).collect();
        clause.within.iter().all(|label| self.may_be_in(interface, &networks, label, version))
    }

    fn may_be_in(&self, interface: &Interface, networks: &[Interval], label: &Label, version: Version) -> bool {
        let own = TableId::palisade();
        match label {
            Label::Group(name) | Label::List(name) => {
                self.has_some(&own, &format!("{name}-{}", version.suffix()), networks, version)
                    || self.has_interface(&own, &format!("{name}-if"), interface)
            }
            Label::Set(title, name) => {
                let tables = self.tables.iter().filter(|(id, _)| format!("{} {}", id.family, id.name) == *title);
                tables.into_iter().any(|(id, _)| self.has_some(id, name, networks, version))
            }
            Label::Network(words) => {
                let ends = |range| match range {
                    AddressRange::V4(first, last) => (IpAddr::V4(first), IpAddr::V4(last)),
                    AddressRange::V6(first, last) => (IpAddr::V6(first), IpAddr::V6(last)),
                };
                let listed = AddressList::of_text(0, words).addresses;
                listed.ranges().map(ends).any(|range| meets(networks, range, version))
            }
            Label::By(name) => *name == interface.name,
            Label::Containers | Label::ContainersBy(_) | Label::FromPort(_) => true,
        }
    }

    /// Whether a set may hold an address of these networks.
    fn has_some(&self, id: &TableId, name: &str, networks: &[Interval], version: Version) -> bool {
        if !self.tables.iter().any(|(of, table)| *of == id && table.sets.contains_key(name)) {
            return false;
        }
        let Some(elements) = (self.elements)(id, name) else { return true };
        elements.bounds().any(|(first, last)| match (address(first), address(last)) {
            (Some(first), Some(last)) => meets(networks, (first, last), version),
            // Something else is part of its keys.
            _ => true,
        })
    }

    fn has_interface(&self, id: &TableId, name: &str, interface: &Interface) -> bool {
        let set = self.tables.iter().find(|(of, _)| *of == id).and_then(|(_, table)| table.sets.get(name));
        let key = IfName::new(&interface.name);
        set.is_some_and(|set| !matches!(self.sets.find(id, name, set, key.bytes()), Answer::Absent))
    }
}

/// Whether a range has an address of one of these networks of an IP version.
fn meets(networks: &[Interval], range: (IpAddr, IpAddr), version: Version) -> bool {
    let (first, last) = (number(range.0), number(range.1));
    Version::of(range.0) == version && networks.iter().any(|(begin, end)| *begin <= last && first <= *end)
}
