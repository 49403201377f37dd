//! Connections to elsewhere: who opens them, and which way they go.

use super::region::{Region, Regions};
use super::space::{InterfaceClass, Target, machine};
use crate::net::Version;
use crate::ruleset::{KeyType, Table};
use crate::simulate::Packet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who opens a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    /// A program of this user on this machine.
    User(u32),
    /// A sender behind this interface.
    By {
        /// The interface.
        interface: String,
        /// Whether containers are behind it.
        containers: bool,
    },
}

impl Opener {
    /// A sender behind the interfaces of a class.
    pub(super) fn behind(class: &InterfaceClass) -> Self {
        Self::By { interface: class.example.clone(), containers: class.containers }
    }

    /// Whether it is this machine or one of its containers.
    pub(super) const fn is_inside(&self) -> bool {
        matches!(self, Self::User(_) | Self::By { containers: true, .. })
    }
}

/// The packet that opens a connection to `destination` and leaves by the interface `leaving`. Its source stands for any.
pub(super) fn packet(
    opener: &Opener,
    leaving: &str,
    destination: IpAddr,
    (target, source_port): (Target, Option<u16>),
) -> Packet {
    let source = machine(Version::of(destination));
    let transport = target.transport(source, source_port);
    let packet = match opener {
        Opener::User(user) => Packet::from_machine(source, destination, transport).sent_by(*user),
        Opener::By { interface, .. } => {
            Packet::through(source, destination, transport).coming_in_by(interface.as_str())
        }
    };
    packet.leaving_by(leaving)
}

/// The users that rules of a table name, by number.
pub(super) fn users(table: &Table) -> BTreeSet<u32> {
    let sets = table.sets.values().filter(|set| set.spec.key == KeyType::UID);
    let keys = sets.flat_map(|set| set.elements.bounds().map(|(first, _)| first.to_vec()).collect::<Vec<_>>());
    keys.filter_map(|key| Some(u32::from_ne_bytes(key.try_into().ok()?))).collect()
}

/// A user that is none of these.
pub(super) fn another(users: &BTreeSet<u32>) -> Option<u32> {
    (0..u32::MAX).find(|user| !users.contains(user))
}

/// The sources of this machine's own packets: which address it has is not known, but it is none of a multicast group.
pub(super) fn own_sources(regions: &mut Regions, version: Version) -> Region {
    let groups = match version {
        Version::V4 => (0xe000_0000, 0xefff_ffff),
        Version::V6 => (0xff << 120, u128::MAX),
    };
    let groups = regions.of(vec![groups]);
    regions.minus(Region::ALL, groups)
}

/// An address elsewhere that no policy is expected to name.
pub(super) const fn example(version: Version) -> IpAddr {
    match version {
        Version::V4 => IpAddr::V4(Ipv4Addr::new(198, 18, 0, 9)),
        Version::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9)),
    }
}
