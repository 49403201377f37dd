//! The networks and gateways behind each interface of this machine (rtnetlink).

use super::links::Link;
use super::route::{Routing, read_route};
use crate::net::{Version, address};
use crate::netlink::wire::attr::{Fields, Message};
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{flag, rt};
use crate::netlink::wire::write::Writer;
use crate::ruleset::AddressType;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An interface, and the networks behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutedLink {
    /// The interface's name.
    pub name: String,
    /// As [`Link::other_names`].
    pub other_names: Vec<String>,
    /// As [`Link::kind`].
    pub kind: Option<String>,
    /// As [`Link::master`].
    pub master: Option<String>,
    /// As [`Link::lower`].
    pub lower: Option<String>,
    /// As [`Link::addresses`].
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether an IPv4 or IPv6 network is behind it that is not link-local.
    pub has_network: bool,
    /// The networks that it is connected to, not link-local, each with the length of its prefix.
    pub networks: BTreeSet<(IpAddr, u8)>,
    /// The neighbours that routes lead to, whatever their destination.
    pub gateways: BTreeSet<IpAddr>,
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
        let mut hops: BTreeSet<Hop> = BTreeSet::new();
        for version in Version::ALL {
            let mut of_version: BTreeSet<Hop> = BTreeSet::new();
            let mut head = [0; rt::ROUTE_HEAD];
            head[0] = version.nfproto();
            self.list(
                "the routes",
                |bytes, seq| Writer::message(bytes, rt::GETROUTE, flag::DUMP, seq, &head).finish(),
                &mut of_version,
                |hops, message| {
                    hops.extend(read_hops(message)?);
                    Some(())
                },
            )?;
            hops.extend(of_version);
        }
        let mut links: Vec<RoutedLink> = self.links()?.into_iter().map(|link| routed(link, &hops)).collect();
        links.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(links)
    }
}

fn routed(link: Link, hops: &BTreeSet<Hop>) -> RoutedLink {
    let Link { index, name, other_names, kind, master, lower, addresses, .. } = link;
    let hops = || hops.iter().filter(move |hop| hop.index == index);
    RoutedLink {
        has_network: hops().any(|hop| hop.reaches != Reaches::Everything),
        networks: hops()
            .filter_map(|hop| match hop.reaches {
                Reaches::Neighbours(address, prefix) => Some((address, prefix)),
                Reaches::Everything | Reaches::Others => None,
            })
            .collect(),
        gateways: hops().filter_map(|hop| hop.gateway).collect(),
        is_way_out: hops().any(|hop| hop.reaches == Reaches::Everything),
        name,
        other_names,
        kind,
        master,
        lower,
        addresses,
    }
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::netlink) enum Reaches {
    /// It is a default route.
    Everything,
    /// A network on the link, by its address and the length of its prefix.
    Neighbours(IpAddr, u8),
    /// Networks behind a gateway. Which ones is not kept: a router knows a million.
    Others,
}

/// The interface that a route leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::netlink) struct Hop {
    index: u32,
    reaches: Reaches,
    gateway: Option<IpAddr>,
}

/// The hops of a route. Empty for routes to this machine itself, and for the link-local and multicast routes that
/// every link has.
pub(in crate::netlink) fn read_hops(message: &Message<'_>) -> Option<Vec<Hop>> {
    let (kind, index) = read_route(message)?;
    let prefix = *message.payload.get(1)?;
    if kind != AddressType::Unicast {
        return Some(Vec::new());
    }
    let fields = Fields::<{ rt::ROUTE_DETAILS_END }>::read(message.payload.get(rt::ROUTE_HEAD..)?)?;
    let to = fields.get(rt::DST).and_then(address);
    let of_every_link = |address: IpAddr| match address {
        IpAddr::V4(_) => false,
        // fe80::/10 and ff00::/8
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    };
    if to.is_some_and(of_every_link) {
        return Some(Vec::new());
    }
    let hop = |index: u32, gateway: Option<IpAddr>| Hop {
        index,
        reaches: match to {
            _ if prefix == 0 => Reaches::Everything,
            Some(to) if gateway.is_none() => Reaches::Neighbours(to, prefix),
            _ => Reaches::Others,
        },
        gateway,
    };
    let gateway = gateway(fields.get(rt::GATEWAY), fields.get(rt::VIA));
    let mut read = Vec::from_iter(index.map(|index| hop(index, gateway)));
    let mut hops = fields.get(rt::MULTIPATH).unwrap_or_default();
    while let Some(head) = hops.first_chunk::<{ rt::NEXT_HOP_HEAD }>() {
        let [low, high, _, _, index @ ..] = *head;
        let len = usize::from(u16::from_ne_bytes([low, high])).max(rt::NEXT_HOP_HEAD);
        let attributes = hops.get(rt::NEXT_HOP_HEAD..len).unwrap_or_default();
        let of_hop = Fields::<{ rt::ROUTE_DETAILS_END }>::read(attributes);
        let gateway = of_hop.and_then(|fields| self::gateway(fields.get(rt::GATEWAY), fields.get(rt::VIA)));
        read.push(hop(u32::from_ne_bytes(index), gateway));
        hops = hops.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(read)
}

/// The address of a gateway: `RTA_GATEWAY`, or `RTA_VIA`, whose first two bytes are its family.
fn gateway(same: Option<&[u8]>, via: Option<&[u8]>) -> Option<IpAddr> {
    same.or_else(|| via?.get(2..)).and_then(address)
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

    fn hops(bytes: &[u8]) -> Vec<Option<Vec<Hop>>> {
        Messages::new(bytes).map(|message| read_hops(&message)).collect()
    }

    fn address(text: &str) -> [u8; 16] {
        text.parse::<std::net::Ipv6Addr>().expect("an address").octets()
    }

    /// The head of a unicast route with that destination prefix length.
    fn unicast(bits: u8) -> [u8; rt::ROUTE_HEAD] {
        let mut head = [0; rt::ROUTE_HEAD];
        (head[1], head[rt::ROUTE_TYPE]) = (bits, 1);
        head
    }

    #[test]
    fn each_hop_of_a_route_is_a_way_out() {
        let hop = |index: u8| [16, 0, 0, 0, index, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, index];
        let route = message(rt::NEWROUTE, &unicast(0), |writer| {
            writer.bytes(rt::MULTIPATH, &[hop(3), hop(7)].concat());
        });

        let through = |index: u8| {
            let gateway = Some(IpAddr::from([192, 0, 2, index]));
            Hop { index: index.into(), reaches: Reaches::Everything, gateway }
        };
        assert_eq!(hops(&route), [Some(vec![through(3), through(7)])]);
    }

    #[test]
    fn a_gateway_may_be_of_the_other_ip_version_and_what_is_behind_it_is_no_neighbour() {
        let route = |write: &dyn Fn(&mut Writer<'_>)| {
            message(rt::NEWROUTE, &unicast(24), |writer| {
                writer.bytes(rt::DST, &[198, 51, 100, 0]);
                writer.bytes(rt::OIF, &3_u32.to_ne_bytes());
                write(writer);
            })
        };
        let via = route(&|writer| {
            writer.bytes(rt::VIA, &[&[10, 0], &address("fe80::1")[..]].concat());
        });
        let direct = route(&|_| ());

        let others =
            Hop { index: 3, reaches: Reaches::Others, gateway: Some("fe80::1".parse().expect("an address")) };
        assert_eq!(hops(&via), [Some(vec![others])]);
        let reaches = Reaches::Neighbours([198, 51, 100, 0].into(), 24);
        assert_eq!(hops(&direct), [Some(vec![Hop { index: 3, reaches, gateway: None }])]);
    }

    #[test]
    fn the_neighbours_that_every_link_has_are_no_network() {
        let route = |to: [u8; 16]| {
            message(rt::NEWROUTE, &unicast(64), |writer| {
                writer.bytes(rt::DST, &to);
                writer.bytes(rt::OIF, &3_u32.to_ne_bytes());
            })
        };

        assert_eq!(hops(&route(address("fe80::"))), [Some(Vec::new())]);
        assert_eq!(hops(&route(address("ff00::"))), [Some(Vec::new())]);
        let reaches = Reaches::Neighbours("fd00:6::".parse().expect("an address"), 64);
        assert_eq!(hops(&route(address("fd00:6::"))), [Some(vec![Hop { index: 3, reaches, gateway: None }])]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..256)
        ) {
            let one = message(rt::NEWROUTE, &bytes, |_| {});
            for message in Messages::new(&one) {
                let _ = read_hops(&message);
            }
        }
    }
}
