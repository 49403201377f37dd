//! This machine's interfaces and their addresses, asked of rtnetlink.

use super::attr::{Fields, Message};
use super::error::NetlinkError;
use super::route::Routing;
use super::uapi::{flag, rt};
use super::write::Writer;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Whether it is a port of a bridge, a bond or their like: what comes in by it is the other's.
    pub enslaved: bool,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Routing {
    /// All interfaces, as they are numbered.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut links = BTreeMap::new();
        let write = |bytes: &mut Vec<u8>, seq| {
            Writer::message(bytes, rt::GETLINK, flag::DUMP, seq, &[0; rt::LINK_HEAD]).finish();
        };
        self.channel().request("the list of interfaces", true, write, |message| {
            let (index, link) = read_link(message)?;
            links.insert(index, link);
            Some(())
        })?;
        let write = |bytes: &mut Vec<u8>, seq| {
            Writer::message(bytes, rt::GETADDR, flag::DUMP, seq, &[0; rt::ADDRESS_HEAD]).finish();
        };
        self.channel().request("the list of addresses", true, write, |message| {
            let (index, address) = read_address(message)?;
            // An interface that came after the list was read.
            links.get_mut(&index).into_iter().for_each(|link: &mut Link| link.addresses.push(address));
            Some(())
        })?;
        Ok(links.into_values().collect())
    }
}

fn read_link(message: &Message<'_>) -> Option<(u32, Link)> {
    if message.kind != rt::NEWLINK {
        return None;
    }
    let index = u32::from_ne_bytes(*message.payload.get(rt::LINK_INDEX..)?.first_chunk()?);
    let fields = Fields::<{ rt::MASTER as usize + 1 }>::read(message.payload.get(rt::LINK_HEAD..)?)?;
    let enslaved = fields.get(rt::MASTER).is_some();
    Some((index, Link { name: fields.string(rt::IFNAME)?, enslaved, addresses: Vec::new() }))
}

fn read_address(message: &Message<'_>) -> Option<(u32, (IpAddr, u8))> {
    if message.kind != rt::NEWADDR {
        return None;
    }
    let prefix = *message.payload.get(rt::ADDRESS_PREFIX)?;
    let index = u32::from_ne_bytes(*message.payload.get(rt::ADDRESS_INDEX..)?.first_chunk()?);
    let fields = Fields::<{ rt::ADDRESS_END }>::read(message.payload.get(rt::ADDRESS_HEAD..)?)?;
    // At a point-to-point link the other one is the peer's.
    let bytes = fields.get(rt::LOCAL).or_else(|| fields.get(rt::ADDRESS))?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
    Some((index, (address, prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Messages;
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
