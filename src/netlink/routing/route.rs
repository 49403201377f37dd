//! Asks the kernel's routing how this machine reaches an address (rtnetlink).

use super::bridges;
use crate::net::{Version, address as to_address};
use crate::netlink::wire::attr::{Fields, Message};
use crate::netlink::wire::channel::Channel;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{flag, rt};
use crate::netlink::wire::write::Writer;
use crate::ruleset::AddressType;
use crate::simulate::Prerouted;
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A socket to the routing of the network namespace where it was opened. Needs no capability.
#[derive(Debug)]
pub struct Routing {
    channel: Channel,
    /// Whether br_netfilter takes the frames of all bridges through prerouting, by IP version.
    pub(super) prerouted: Prerouted,
    /// The names of interfaces that need not be asked for, by their indexes.
    known: BTreeMap<u32, String>,
}

/// The route to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What the kernel does with packets to it.
    pub kind: AddressType,
    /// The interface that they leave by; for this machine's own address, `lo` or the interface that has it. `None` if
    /// they are not sent.
    pub interface: Option<String>,
}

impl Routing {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { channel: Channel::open(mnl::Bus::Route)?, prerouted: bridges::prerouted(), known: BTreeMap::new() })
    }

    /// The same, for thousands of questions about interfaces with these indexes and names, which are not asked for again.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    pub fn open_between(interfaces: impl IntoIterator<Item = (u32, String)>) -> Result<Self, NetlinkError> {
        Ok(Self { known: interfaces.into_iter().collect(), ..Self::open()? })
    }

    /// The route that a packet from this machine to `address` would take now, if there is one.
    ///
    /// Ignores policy routing by mark, source or port.
    ///
    /// # Errors
    ///
    /// The kernel's error, except that the address can't be reached.
    pub fn route_to(&self, address: IpAddr) -> Result<Option<Route>, NetlinkError> {
        self.route_with(address, 0)
    }

    /// Like `route_to`, with `RTM_F_*` flags.
    pub(in crate::netlink) fn route_with(&self, address: IpAddr, flags: u32) -> Result<Option<Route>, NetlinkError> {
        const DOING: &str = "the route to an address";
        let mut route = None;
        let write = |bytes: &mut Vec<u8>, seq| match address {
            IpAddr::V4(address) => write_route(bytes, seq, Version::V4, &address.octets(), flags),
            IpAddr::V6(address) => write_route(bytes, seq, Version::V6, &address.octets(), flags),
        };
        let asked = self.channel.request(DOING, false, write, |message| {
            route = Some(read_route(message)?);
            Some(())
        });
        let nowhere = |kind| Ok(Some(Route { kind, interface: None }));
        match asked {
            Ok(_) => {}
            Err(NetlinkError::Refused { errno: Errno::ENETUNREACH, .. }) => return Ok(None),
            Err(NetlinkError::Refused { errno: Errno::EINVAL, .. }) => return nowhere(AddressType::Blackhole),
            Err(NetlinkError::Refused { errno: Errno::EHOSTUNREACH, .. }) => {
                return nowhere(AddressType::Unreachable);
            }
            Err(NetlinkError::Refused { errno: Errno::EACCES, .. }) => return nowhere(AddressType::Prohibit),
            Err(other) => return Err(other),
        }
        let (kind, index) = route.ok_or(NetlinkError::Malformed(DOING))?;
        let interface = index.map(|index| self.interface_name(index)).transpose()?.flatten();
        Ok(Some(Route { kind, interface }))
    }

    /// The source address that this machine would use towards an address; `None` without a route.
    ///
    /// # Errors
    ///
    /// As [`Routing::route_to`].
    pub fn source_towards(&self, address: IpAddr) -> Result<Option<IpAddr>, NetlinkError> {
        let mut source = None;
        let write = |bytes: &mut Vec<u8>, seq| match address {
            IpAddr::V4(address) => write_route(bytes, seq, Version::V4, &address.octets(), 0),
            IpAddr::V6(address) => write_route(bytes, seq, Version::V6, &address.octets(), 0),
        };
        let asked = self.channel.request("the route to an address", false, write, |message| {
            let fields = Fields::<{ rt::ROUTE_END }>::read(message.payload.get(rt::ROUTE_HEAD..)?)?;
            source = fields.get(rt::PREFSRC).and_then(to_address);
            Some(())
        });
        match asked {
            Ok(_) => Ok(source),
            Err(NetlinkError::Refused { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The gateway of the route to an address; `None` if it is a neighbour, or no route leads there.
    pub(in crate::netlink) fn gateway_towards(&self, address: IpAddr) -> Result<Option<IpAddr>, NetlinkError> {
        let mut gateway = None;
        let write = |bytes: &mut Vec<u8>, seq| match address {
            IpAddr::V4(address) => write_route(bytes, seq, Version::V4, &address.octets(), 0),
            IpAddr::V6(address) => write_route(bytes, seq, Version::V6, &address.octets(), 0),
        };
        let asked = self.channel.request("the route to an address", false, write, |message| {
            let fields = Fields::<{ rt::VIA as usize + 1 }>::read(message.payload.get(rt::ROUTE_HEAD..)?)?;
            // An IPv4 route may lead by an IPv6 gateway, whose address follows its family.
            let via = fields.get(rt::VIA).and_then(|via| via.get(2..));
            gateway = fields.get(rt::GATEWAY).or(via).and_then(to_address);
            Some(())
        });
        match asked {
            Ok(_) => Ok(gateway),
            Err(NetlinkError::Refused { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The names of all interfaces.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn interfaces(&self) -> Result<BTreeSet<String>, NetlinkError> {
        let mut names = BTreeSet::new();
        let write = |bytes: &mut Vec<u8>, seq| write_link(bytes, seq, flag::DUMP, 0);
        self.channel.request("the list of interfaces", true, write, |message| {
            names.insert(read_link(message)?);
            Some(())
        })?;
        Ok(names)
    }

    pub(in crate::netlink) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The index of an interface; `None` if the name does not exist.
    pub(in crate::netlink) fn interface_index(&self, name: &str) -> Result<Option<u32>, NetlinkError> {
        if let Some((index, _)) = self.known.iter().find(|(_, known)| *known == name) {
            return Ok(Some(*index));
        }
        let mut index = None;
        let write = |bytes: &mut Vec<u8>, seq| {
            let mut writer = Writer::message(bytes, rt::GETLINK, 0, seq, &[0; rt::LINK_HEAD]);
            writer.text(rt::IFNAME, name);
            writer.finish();
        };
        let asked = self.channel.request("the index of an interface", false, write, |message| {
            let bytes = message.payload.get(rt::LINK_INDEX..)?.first_chunk().copied()?;
            index = Some(u32::from_ne_bytes(bytes));
            Some(())
        });
        match asked {
            Ok(_) => Ok(index),
            // No interface has a name that long.
            Err(NetlinkError::Refused { errno: Errno::ENODEV | Errno::ERANGE | Errno::EINVAL, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The name of an interface; `None` if it is gone.
    pub(in crate::netlink) fn interface_name(&self, index: u32) -> Result<Option<String>, NetlinkError> {
        if let Some(known) = self.known.get(&index) {
            return Ok(Some(known.clone()));
        }
        let mut name = None;
        let write = |bytes: &mut Vec<u8>, seq| write_link(bytes, seq, 0, index);
        let asked = self.channel.request("the name of an interface", false, write, |message| {
            name = Some(read_link(message)?);
            Some(())
        });
        match asked {
            Ok(_) => Ok(name),
            Err(NetlinkError::Refused { errno: Errno::ENODEV, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// Writes `RTM_GETROUTE` for one address.
fn write_route(bytes: &mut Vec<u8>, seq: u32, version: Version, address: &[u8], flags: u32) {
    let mut head = [0; rt::ROUTE_HEAD];
    (head[0], head[1]) = (version.nfproto(), version.address_bits());
    head[rt::ROUTE_FLAGS..rt::ROUTE_FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
    let mut writer = Writer::message(bytes, rt::GETROUTE, 0, seq, &head);
    writer.bytes(rt::DST, address);
    writer.finish();
}

/// The kind of a route and the index of its interface.
pub(in crate::netlink) fn read_route(message: &Message<'_>) -> Option<(AddressType, Option<u32>)> {
    if message.kind != rt::NEWROUTE {
        return None;
    }
    let fields = Fields::<{ rt::ROUTE_END }>::read(message.payload.get(rt::ROUTE_HEAD..)?)?;
    let kind = AddressType::from_number((*message.payload.get(rt::ROUTE_TYPE)?).into());
    let index = fields.get(rt::OIF).map(|index| index.try_into().map(u32::from_ne_bytes)).transpose().ok()?;
    Some((kind, index))
}

/// Writes `RTM_GETLINK`, for one interface by its index or for all.
fn write_link(bytes: &mut Vec<u8>, seq: u32, flags: u16, index: u32) {
    let mut head = [0; rt::LINK_HEAD];
    head[rt::LINK_INDEX..rt::LINK_INDEX + 4].copy_from_slice(&index.to_ne_bytes());
    Writer::message(bytes, rt::GETLINK, flags, seq, &head).finish();
}

/// The name of an interface.
pub(in crate::netlink) fn read_link(message: &Message<'_>) -> Option<String> {
    if message.kind != rt::NEWLINK {
        return None;
    }
    Fields::<{ rt::LINK_END }>::read(message.payload.get(rt::LINK_HEAD..)?)?.string(rt::IFNAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::attr::Messages;
    use proptest::prelude::*;

    /// The answers of kernel 6.18 for 192.0.2.9 and 2001:db8::9, which are routed by eth7 with index 3, and for all
    /// interfaces.
    const ANSWERS: &[u8] = include_bytes!("../../../tests/data/routes.bin");

    fn read_all(bytes: &[u8]) -> (Vec<(AddressType, Option<u32>)>, Vec<String>) {
        let messages = || Messages::new(bytes);
        (
            messages().filter_map(|message| read_route(&message)).collect(),
            messages().filter_map(|message| read_link(&message)).collect(),
        )
    }

    #[test]
    fn recorded_answers_are_read_whole() {
        let (routes, links) = read_all(ANSWERS);

        assert_eq!(routes, [(AddressType::Unicast, Some(3)); 2]);
        assert_eq!(links, ["lo", "eth8", "eth7"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..256), kind in prop_oneof![Just(rt::NEWROUTE), Just(rt::NEWLINK)]
        ) {
            let mut message = Vec::new();
            Writer::message(&mut message, kind, 0, 0, &bytes).finish();
            let _ = (read_all(&bytes), read_all(&message));
        }

        #[test]
        fn a_damaged_answer_does_not_make_the_reader_panic(
            cut in 1..ANSWERS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut bytes = ANSWERS[..cut].to_vec();
            bytes[at.index(cut)] = byte;
            let _ = read_all(&bytes);
        }
    }
}
