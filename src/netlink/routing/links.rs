//! This machine's interfaces and their addresses (rtnetlink).

use super::route::Routing;
use crate::netlink::wire::attr::{Attributes, Fields, Message, string};
use crate::netlink::wire::channel::End;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{flag, rt};
use crate::netlink::wire::write::Writer;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How often a list is read if interfaces change meanwhile; the last result is used as it is.
const ATTEMPTS: u32 = 5;

/// An interface of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alternative names, by which no packet comes in.
    pub other_names: Vec<String>,
    /// `ARPHRD_*`.
    pub hardware: u16,
    /// Its group.
    pub group: u32,
    /// The kernel's name for its kind, such as `bridge` or `macvlan`; `None` for hardware and the loopback.
    pub kind: Option<String>,
    /// The bridge, bond or similar interface that it is a port of; its packets come in by that interface.
    pub master: Option<String>,
    /// The interface below it, such as that of a VLAN; `None` if it is in another network namespace.
    pub lower: Option<String>,
    /// Of a bridge, whether br_netfilter takes its frames through prerouting even if it does not those of all bridges,
    /// by IP version.
    pub prerouted: [bool; 2],
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Routing {
    /// All interfaces, in the order of their indexes.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut links = self.links_without_addresses()?;
        let mut addresses: Vec<(u32, (IpAddr, u8))> = Vec::new();
        self.list(
            "the list of addresses",
            |bytes, seq| Writer::message(bytes, rt::GETADDR, flag::DUMP, seq, &[0; rt::ADDRESS_HEAD]).finish(),
            &mut addresses,
            |addresses, message| {
                addresses.push(read_address(message)?);
                Some(())
            },
        )?;
        for (index, address) in addresses {
            // An interface that was added after the list was read is not in it.
            let link = links.binary_search_by_key(&index, |link| link.index).ok().and_then(|at| links.get_mut(at));
            link.into_iter().for_each(|link| link.addresses.push(address));
        }
        Ok(links)
    }

    /// All interfaces, in the order of their indexes, without their addresses.
    pub(super) fn links_without_addresses(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut read: BTreeMap<u32, (Link, Around)> = BTreeMap::new();
        self.list(
            "the list of interfaces",
            |bytes, seq| Writer::message(bytes, rt::GETLINK, flag::DUMP, seq, &[0; rt::LINK_HEAD]).finish(),
            &mut read,
            |read, message| {
                let (link, around) = read_link(message)?;
                read.insert(link.index, (link, around));
                Some(())
            },
        )?;
        let name_of = |index: u32| read.get(&index).map(|(link, _)| link.name.clone());
        let named = |(link, around): &(Link, Around)| Link {
            master: around.master.map(|index| name_of(index).unwrap_or_default()),
            lower: around.lower.and_then(name_of),
            ..link.clone()
        };
        Ok(read.values().map(named).collect())
    }

    /// Reads a list into `into`; starts over if it changed meanwhile.
    pub(in crate::netlink) fn list<T: Default>(
        &self,
        doing: &'static str,
        write: impl Fn(&mut Vec<u8>, u32),
        into: &mut T,
        read: impl Fn(&mut T, &Message<'_>) -> Option<()>,
    ) -> Result<(), NetlinkError> {
        for _ in 0..ATTEMPTS {
            *into = T::default();
            if self.channel().request(doing, true, &write, |message| read(into, message))? == End::Complete {
                break;
            }
        }
        Ok(())
    }
}

/// The indexes of the interfaces above and below one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::netlink) struct Around {
    master: Option<u32>,
    lower: Option<u32>,
}

/// An interface, and the indexes of those around it.
pub(in crate::netlink) fn read_link(message: &Message<'_>) -> Option<(Link, Around)> {
    if message.kind != rt::NEWLINK {
        return None;
    }
    let index = u32::from_ne_bytes(*message.payload.get(rt::LINK_INDEX..)?.first_chunk()?);
    let fields = Fields::<{ rt::LINK_DETAILS_END }>::read(message.payload.get(rt::LINK_HEAD..)?)?;
    let info = Fields::<{ rt::INFO_END }>::read(fields.get(rt::LINKINFO).unwrap_or_default())?;
    let kind = info.get(rt::INFO_KIND).map(string);
    let prerouted = match (kind.as_deref(), info.get(rt::INFO_DATA)) {
        (Some("bridge"), Some(data)) => {
            let of_bridge = Fields::<{ rt::BRIDGE_END }>::read(data)?;
            rt::BRIDGE_CALLS.map(|calls| of_bridge.get(calls) == Some(&[1]))
        }
        _ => [false; 2],
    };
    let number = |kind| fields.get(kind).and_then(|index| index.try_into().ok()).map(u32::from_ne_bytes);
    let lower = number(rt::LOWER).filter(|_| fields.get(rt::LOWER_NAMESPACE).is_none());
    let other_names = Attributes::new(fields.get(rt::PROPERTIES).unwrap_or_default())
        .map_while(Result::ok)
        .filter(|&(kind, _)| kind == rt::OTHER_NAME)
        .map(|(_, name)| string(name))
        .collect();
    let hardware = u16::from_ne_bytes(*message.payload.get(rt::LINK_HARDWARE..)?.first_chunk()?);
    let group = number(rt::GROUP).unwrap_or_default();
    let name = fields.string(rt::IFNAME)?;
    let link = Link { index, name, other_names, hardware, group, kind, prerouted, ..Link::default() };
    Some((link, Around { master: number(rt::MASTER), lower }))
}

pub(in crate::netlink) fn read_address(message: &Message<'_>) -> Option<(u32, (IpAddr, u8))> {
    if message.kind != rt::NEWADDR {
        return None;
    }
    let prefix = *message.payload.get(rt::ADDRESS_PREFIX)?;
    let index = u32::from_ne_bytes(*message.payload.get(rt::ADDRESS_INDEX..)?.first_chunk()?);
    let fields = Fields::<{ rt::ADDRESS_END }>::read(message.payload.get(rt::ADDRESS_HEAD..)?)?;
    // On a point-to-point link `ADDRESS` is the peer's.
    let bytes = fields.get(rt::LOCAL).or_else(|| fields.get(rt::ADDRESS))?;
    Some((index, (crate::net::address(bytes)?, prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::attr::Messages;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_this_machines_end_of_the_link() {
        let mut head = [0; rt::ADDRESS_HEAD];
        (head[0], head[rt::ADDRESS_PREFIX], head[rt::ADDRESS_INDEX]) = (2, 24, 3);
        let mut bytes = Vec::new();
        let mut writer = Writer::message(&mut bytes, rt::NEWADDR, 0, 1, &head);
        writer.bytes(rt::ADDRESS, &[192, 0, 2, 2]);
        writer.bytes(rt::LOCAL, &[192, 0, 2, 1]);
        writer.finish();

        let read: Vec<_> = Messages::new(&bytes).filter_map(|message| read_address(&message)).collect();

        assert_eq!(read, [(u32::from_ne_bytes([3, 0, 0, 0]), ("192.0.2.1".parse().expect("an address"), 24))]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..128), kind in prop_oneof![Just(rt::NEWADDR), Just(rt::NEWLINK)]
        ) {
            let mut message = Vec::new();
            Writer::message(&mut message, kind, 0, 0, &bytes).finish();
            for message in Messages::new(&message) {
                let _ = (read_link(&message), read_address(&message));
            }
        }
    }
}
