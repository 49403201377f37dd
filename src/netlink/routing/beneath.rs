//! Interfaces as rules see them, and those that a packet passes beneath (rtnetlink).

use super::route::Routing;
use crate::netlink::wire::attr::{Fields, Message, string};
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{flag, rt};
use crate::netlink::wire::write::Writer;
use crate::simulate::{Beneath, Properties};
use std::collections::BTreeMap;

/// `IFLA_LINK`: the interface that a VLAN or a macvlan is on.
const LOWER: u16 = 5;
/// `IFLA_LINK_NETNSID`: that interface is in another network namespace.
const LOWER_NAMESPACE: u16 = 37;
/// `IFLA_GROUP`.
const GROUP: u16 = 27;
const END: usize = 38;
/// Offset of the type in `struct ifinfomsg`.
const HARDWARE: usize = 2;

/// An interface and those around it, by their indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stacked {
    name: String,
    kind: Option<String>,
    master: Option<u32>,
    lower: Option<u32>,
}

impl Routing {
    pub(super) fn interfaces_beneath(&self, interface: &str) -> Result<Beneath, NetlinkError> {
        let mut all: BTreeMap<u32, Stacked> = BTreeMap::new();
        self.list(
            "the list of interfaces",
            |bytes, seq| Writer::message(bytes, rt::GETLINK, flag::DUMP, seq, &[0; rt::LINK_HEAD]).finish(),
            &mut all,
            |all, message| {
                let (index, link) = read_stacked(message)?;
                all.insert(index, link);
                Some(())
            },
        )?;
        Ok(beneath(&all, interface))
    }

    /// An interface as rules ask for it; `None` if it is gone.
    pub(super) fn properties_of(&self, interface: &str) -> Result<Option<Properties>, NetlinkError> {
        let Some(link) = self.links()?.into_iter().find(|link| link.name == interface) else { return Ok(None) };
        let mut found = Properties {
            kind: link.kind,
            addresses: link.addresses.into_iter().map(|(address, _)| address).collect(),
            ..Properties::default()
        };
        let write = |bytes: &mut Vec<u8>, seq| {
            let mut writer = Writer::message(bytes, rt::GETLINK, 0, seq, &[0; rt::LINK_HEAD]);
            writer.text(rt::IFNAME, interface);
            writer.finish();
        };
        self.channel().request("an interface", false, write, |message| {
            found.hardware = u16::from_ne_bytes(*message.payload.get(HARDWARE..)?.first_chunk()?);
            let fields = Fields::<END>::read(message.payload.get(rt::LINK_HEAD..)?)?;
            found.group = u32::from_ne_bytes(fields.get(GROUP)?.try_into().ok()?);
            Some(())
        })?;
        Ok(Some(found))
    }
}

fn beneath(all: &BTreeMap<u32, Stacked>, interface: &str) -> Beneath {
    let Some((index, link)) = all.iter().find(|(_, link)| link.name == interface) else { return Beneath::default() };
    let ports = || all.values().filter(|link| link.master == Some(*index)).map(|link| link.name.clone()).collect();
    let lower = || link.lower.and_then(|lower| all.get(&lower)).map(|link| link.name.clone()).into_iter().collect();
    match link.kind.as_deref() {
        Some("bridge") => Beneath { interfaces: ports(), always: true, bridge: true },
        Some("bond" | "team") => Beneath { interfaces: ports(), always: true, bridge: false },
        Some("vlan") => Beneath { interfaces: lower(), always: true, bridge: false },
        // Between two of one parent, packets don't pass the parent.
        Some("macvlan" | "macvtap" | "ipvlan" | "ipvtap") => {
            Beneath { interfaces: lower(), always: false, bridge: false }
        }
        _ => Beneath::default(),
    }
}

fn read_stacked(message: &Message<'_>) -> Option<(u32, Stacked)> {
    if message.kind != rt::NEWLINK {
        return None;
    }
    let index = u32::from_ne_bytes(*message.payload.get(rt::LINK_INDEX..)?.first_chunk()?);
    let fields = Fields::<END>::read(message.payload.get(rt::LINK_HEAD..)?)?;
    let kind = match fields.get(rt::LINKINFO) {
        Some(info) => Fields::<{ rt::INFO_END }>::read(info)?.get(rt::INFO_KIND).map(string),
        None => None,
    };
    let number = |kind| fields.get(kind).and_then(|index| index.try_into().ok()).map(u32::from_ne_bytes);
    let lower = number(LOWER).filter(|_| fields.get(LOWER_NAMESPACE).is_none());
    Some((index, Stacked { name: fields.string(rt::IFNAME)?, kind, master: number(rt::MASTER), lower }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_passes_a_port_of_its_bridge_and_the_parent_of_its_macvlan_but_nothing_beneath_a_tunnel() {
        let link = |name: &str, kind: Option<&str>, master, lower| Stacked {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            master,
            lower,
        };
        let all = BTreeMap::from([
            (2, link("eth0", None, Some(4), None)),
            (3, link("veth1", Some("veth"), Some(4), Some(9))),
            (4, link("br0", Some("bridge"), None, None)),
            (5, link("mv0", Some("macvlan"), None, Some(2))),
            (6, link("vx0", Some("vxlan"), None, Some(2))),
        ]);
        let found = |name| {
            let Beneath { interfaces, always, bridge } = beneath(&all, name);
            (interfaces.join(" "), always, bridge)
        };

        assert_eq!(found("br0"), ("eth0 veth1".to_owned(), true, true));
        assert_eq!(found("mv0"), ("eth0".to_owned(), false, false));
        assert_eq!(found("vx0"), (String::new(), true, false));
        assert_eq!(found("eth0"), (String::new(), true, false));
    }
}
