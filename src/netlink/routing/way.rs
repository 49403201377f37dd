//! Asks the kernel's routing where a packet goes, including policy routing, reverse path filters and forwarding.

use super::route::{Route, Routing, read_route};
use crate::net::Version;
use crate::netlink::wire::attr::{Fields, Message};
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::rt;
use crate::netlink::wire::write::Writer;
use crate::ruleset::AddressType;
use crate::simulate::{Asked, Beneath, Doubt, Properties, Routes, Way};
use nix::errno::Errno;
use std::net::IpAddr;

/// `RTM_F_FIB_MATCH`: the kernel returns the stored route, with all its next hops.
const FIB_MATCH: u32 = 0x2000;
/// `NETCONFA_IFINDEX_ALL`.
const ALL: u32 = u32::MAX;

impl Routes for Routing {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        let incoming = asked.incoming.map(|name| self.index(name)).transpose()?;
        let mut found = None;
        let result = self.channel().request(
            "the route of a packet",
            false,
            |bytes, seq| write_asked(bytes, seq, asked, incoming),
            |message| {
                found = Some(read_route(message)?);
                Some(())
            },
        );
        match result {
            Ok(_) => {}
            Err(NetlinkError::Refused { errno, .. }) => return self.refused(errno, asked, incoming),
            Err(error) => return Err(cant(&error)),
        }
        match found {
            Some((AddressType::Local, _)) => Ok(Way::Local),
            Some((AddressType::Unicast, Some(_))) if asked.incoming.is_none() && is_loopback(asked.source) => {
                Ok(Way::Lost("answers to ::1 from another machine have no route".into()))
            }
            Some((AddressType::Unicast, Some(index))) => {
                if asked.incoming.is_some() && !self.forwards(asked.source, ALL)? {
                    return Ok(not_forwarded());
                }
                let name = self.interface_name(index).map_err(|error| cant(&error))?;
                name.map(Way::Out).ok_or_else(|| "the interface that the route leaves by is gone".into())
            }
            // Addressed to a whole network: this machine receives it, too.
            Some((AddressType::Broadcast | AddressType::Multicast, _)) if asked.incoming.is_some() => Ok(Way::Local),
            Some((kind, _)) => Err(format!("where a route of the kind {kind:?} leads is not known").into()),
            None => Err("the kernel says nothing of the route".into()),
        }
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        if address.is_multicast() {
            return Ok(AddressType::Multicast);
        }
        let route = self.route_to(address).map_err(|error| cant(&error))?;
        Ok(match (route.map(|route| route.kind), address) {
            (Some(AddressType::Local), _) => AddressType::Local,
            (Some(AddressType::Broadcast), _) => AddressType::Broadcast,
            (Some(AddressType::Anycast), _) => AddressType::Anycast,
            // For IPv4 only the table of this machine's own addresses counts.
            (Some(AddressType::Unicast), _) | (_, IpAddr::V4(_)) => AddressType::Unicast,
            (_, IpAddr::V6(_)) => AddressType::Unreachable,
        })
    }

    fn leads(&self, address: IpAddr) -> Result<Option<String>, Doubt> {
        match self.route_with(address, FIB_MATCH).map_err(|error| cant(&error))? {
            Some(Route { kind: AddressType::Unicast, interface: Some(interface) }) => Ok(Some(interface)),
            Some(Route { kind: AddressType::Unicast, interface: None }) => {
                Err(format!("several routes lead to {address}").into())
            }
            Some(_) | None => Ok(None),
        }
    }

    fn source_towards(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        let found = Self::source_towards(self, address).map_err(|error| cant(&error))?;
        found.ok_or_else(|| format!("no route leads to {address}").into())
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        let found = self.interface_index(interface).map_err(|error| cant(&error))?;
        found.ok_or_else(|| format!("there is no interface {interface}").into())
    }

    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        self.interfaces_beneath(interface).map_err(|error| cant(&error))
    }

    fn properties(&self, interface: &str) -> Result<Properties, Doubt> {
        let found = self.properties_of(interface).map_err(|error| cant(&error))?;
        found.ok_or_else(|| format!("there is no interface {interface}").into())
    }

    fn next_hop(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        let gateway = self.gateway_towards(address).map_err(|error| cant(&error))?;
        Ok(gateway.unwrap_or(address))
    }
}

impl Routing {
    /// What a routing error means for the packet.
    fn refused(&self, errno: Errno, asked: &Asked<'_>, incoming: Option<u32>) -> Result<Way, Doubt> {
        let forwards = match incoming {
            Some(index) if asked.source.is_ipv4() => self.forwards(asked.source, index)?,
            Some(_) => self.forwards(asked.source, ALL)?,
            None => true,
        };
        let ipv4 = asked.source.is_ipv4();
        Ok(match errno {
            // IPv6 refuses what has no route, whether this machine forwards or not.
            _ if ipv4 && !forwards && errno != Errno::EINVAL && errno != Errno::EXDEV => not_forwarded(),
            Errno::ENETUNREACH => Way::Refused("this machine has no route there".into()),
            Errno::EHOSTUNREACH => Way::Refused("the route says: unreachable".into()),
            Errno::EACCES => Way::Refused("the route says: prohibited".into()),
            Errno::EINVAL if incoming.is_some() => {
                Way::Lost("no such address comes in by that interface, or the route says: blackhole".into())
            }
            Errno::EINVAL => Way::Lost("the route says: blackhole".into()),
            Errno::EXDEV => Way::Lost("the reverse path filter expects that source on another interface".into()),
            errno => return Err(format!("the routing says: {}", errno.desc()).into()),
        })
    }

    /// Whether packets that come in by an interface are forwarded; `ALL` for IPv6, which has a single switch.
    fn forwards(&self, family: IpAddr, index: u32) -> Result<bool, Doubt> {
        let ipv4 = family.is_ipv4();
        // IPv4 checked its own switch before it returned a route.
        if ipv4 && index == ALL {
            return Ok(true);
        }
        let mut forwarding = None;
        let result = self.channel().request(
            "whether this machine forwards",
            false,
            |bytes, seq| {
                let mut writer =
                    Writer::message(bytes, rt::GETNETCONF, 0, seq, &[Version::of(family).nfproto(), 0, 0, 0]);
                writer.bytes(rt::NETCONF_IFINDEX, &index.to_ne_bytes());
                writer.finish();
            },
            |message| {
                forwarding = Some(read_forwarding(message)?);
                Some(())
            },
        );
        result.map_err(|error| cant(&error))?;
        forwarding.ok_or_else(|| "the kernel does not say whether it forwards".into())
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.is_ipv6() && address.is_loopback()
}

fn not_forwarded() -> Way {
    Way::Lost("this machine does not forward".into())
}

fn cant(error: &NetlinkError) -> Doubt {
    format!("the routing can't be asked: {error}").into()
}

/// Writes `RTM_GETROUTE` for a packet.
fn write_asked(bytes: &mut Vec<u8>, seq: u32, asked: &Asked<'_>, incoming: Option<u32>) {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut head = [0; rt::ROUTE_HEAD];
    let version = Version::of(asked.destination);
    let bits = version.address_bits();
    head[0] = version.nfproto();
    head[1] = bits;
    head[2] = bits;
    let mut writer = Writer::message(bytes, rt::GETROUTE, 0, seq, &head);
    writer.bytes(rt::DST, &octets(asked.destination));
    writer.bytes(rt::SRC, &octets(asked.source));
    if let Some(index) = incoming {
        writer.bytes(rt::IIF, &index.to_ne_bytes());
    }
    if asked.mark != 0 {
        writer.bytes(rt::MARK, &asked.mark.to_ne_bytes());
    }
    writer.finish();
}

fn read_forwarding(message: &Message<'_>) -> Option<bool> {
    if message.kind != rt::NEWNETCONF {
        return None;
    }
    let fields = Fields::<{ rt::NETCONF_END }>::read(message.payload.get(4..)?)?;
    let value: [u8; 4] = fields.get(rt::NETCONF_FORWARDING)?.try_into().ok()?;
    Some(u32::from_ne_bytes(value) != 0)
}
