//! Which interfaces of this machine have networks behind them (rtnetlink).

use super::links::Link;
use super::route::{Routing, read_route};
use crate::net::Version;
use crate::netlink::wire::attr::{Fields, Message};
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{flag, rt};
use crate::netlink::wire::write::Writer;
use crate::ruleset::AddressType;
use std::collections::BTreeSet;

/// An interface, and whether networks are behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutedLink {
    /// The interface's name.
    pub name: String,
    /// As [`Link::kind`].
    pub kind: Option<String>,
    /// As [`Link::master`].
    pub master: Option<String>,
    /// Whether an IPv4 or IPv6 network is behind it that is not link-local.
    pub has_network: bool,
    /// Whether it has a default route.
    pub is_way_out: bool,
}

impl Routing {
    /// All interfaces, by name.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn topology(&self) -> Result<Vec<RoutedLink>, NetlinkError> {
        let (mut with_network, mut ways_out) = (BTreeSet::new(), BTreeSet::new());
        for version in Version::ALL {
            let mut routes: BTreeSet<(u32, bool)> = BTreeSet::new();
            let mut head = [0; rt::ROUTE_HEAD];
            head[0] = version.nfproto();
            self.list(
                "the routes",
                |bytes, seq| Writer::message(bytes, rt::GETROUTE, flag::DUMP, seq, &head).finish(),
                &mut routes,
                |routes, message| {
                    routes.extend(read_networks(message)?);
                    Some(())
                },
            )?;
            for (index, everywhere) in routes {
                if everywhere {
                    ways_out.insert(index)
                } else {
                    with_network.insert(index)
                };
            }
        }
        let mut links: Vec<RoutedLink> = self
            .links()?
            .into_iter()
            .map(|Link { index, name, kind, master, .. }| RoutedLink {
                has_network: with_network.contains(&index),
                is_way_out: ways_out.contains(&index),
                name,
                kind,
                master,
            })
            .collect();
        links.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(links)
    }
}

/// The interfaces that a route leaves by, each with whether it is a default route. Empty for routes to this machine
/// itself, and for the link-local and multicast routes that every link has.
pub(in crate::netlink) fn read_networks(message: &Message<'_>) -> Option<Vec<(u32, bool)>> {
    let (kind, index) = read_route(message)?;
    let everywhere = *message.payload.get(1)? == 0;
    if kind != AddressType::Unicast {
        return Some(Vec::new());
    }
    let fields = Fields::<{ rt::ROUTE_DETAILS_END }>::read(message.payload.get(rt::ROUTE_HEAD..)?)?;
    // fe80::/10 and ff00::/8
    if fields
        .get(rt::DST)
        .is_some_and(|to| to.len() == 16 && (to[0] == 0xff || to[0] == 0xfe && to[1] & 0xc0 == 0x80))
    {
        return Some(Vec::new());
    }
    let mut indexes = Vec::from_iter(index);
    let mut hops = fields.get(rt::MULTIPATH).unwrap_or_default();
    while let Some(head) = hops.first_chunk::<{ rt::NEXT_HOP_HEAD }>() {
        let [low, high, _, _, index @ ..] = *head;
        indexes.push(u32::from_ne_bytes(index));
        let len = usize::from(u16::from_ne_bytes([low, high])).max(rt::NEXT_HOP_HEAD);
        hops = hops.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(indexes.into_iter().map(|index| (index, everywhere)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::attr::Messages;
    use proptest::prelude::*;

    fn message(kind: u16, head: &[u8], write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::message(&mut bytes, kind, 0, 0, head);
        write(&mut writer);
        writer.finish();
        bytes
    }

    fn networks(bytes: &[u8]) -> Vec<Option<Vec<(u32, bool)>>> {
        Messages::new(bytes).map(|message| read_networks(&message)).collect()
    }

    /// The head of a unicast route with that destination prefix length.
    fn unicast(bits: u8) -> [u8; rt::ROUTE_HEAD] {
        let mut head = [0; rt::ROUTE_HEAD];
        (head[1], head[rt::ROUTE_TYPE]) = (bits, 1);
        head
    }

    #[test]
    fn each_hop_of_a_route_is_a_way_out() {
        let hop = |index: u8| [16, 0, 0, 0, index, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 1];
        let route = message(rt::NEWROUTE, &unicast(0), |writer| {
            writer.bytes(rt::MULTIPATH, &[hop(3), hop(7)].concat());
        });

        assert_eq!(networks(&route), [Some(vec![(3, true), (7, true)])]);
    }

    #[test]
    fn the_neighbours_that_every_link_has_are_no_network() {
        let route = |to: [u8; 16]| {
            message(rt::NEWROUTE, &unicast(64), |writer| {
                writer.bytes(rt::DST, &to);
                writer.bytes(rt::OIF, &3_u32.to_ne_bytes());
            })
        };
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address").octets();

        assert_eq!(networks(&route(address("fe80::"))), [Some(Vec::new())]);
        assert_eq!(networks(&route(address("ff00::"))), [Some(Vec::new())]);
        assert_eq!(networks(&route(address("fd00:6::"))), [Some(vec![(3, false)])]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..256)
        ) {
            let one = message(rt::NEWROUTE, &bytes, |_| {});
            for message in Messages::new(&one) {
                let _ = read_networks(&message);
            }
        }
    }
}
