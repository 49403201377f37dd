//! The routing as rules alone see it: whoever asks comes in by the interface that the answer leaves by.

use super::super::Interface;
use super::super::zones::network;
use crate::ruleset::AddressType;
use crate::simulate::{Asked, Beneath, Doubt, Properties, Routes, Way, is_link_local};
use std::cell::RefCell;
use std::net::IpAddr;

/// Routes for one sender after the other.
pub(super) struct Ground<'g> {
    interfaces: &'g [Interface],
    own: Vec<IpAddr>,
    /// What the kernel knows of interfaces that are there.
    real: &'g dyn Routes,
    /// Who asks, and the interface that it comes in by.
    sender: RefCell<Option<(IpAddr, String)>>,
}

impl<'g> Ground<'g> {
    /// `own` are the addresses of this machine.
    pub(super) fn new(interfaces: &'g [Interface], own: Vec<IpAddr>, real: &'g dyn Routes) -> Self {
        Self { interfaces, own, real, sender: RefCell::default() }
    }

    pub(super) fn comes(&self, sender: IpAddr, interface: &str) {
        *self.sender.borrow_mut() = Some((sender, interface.to_owned()));
    }

    fn is_there(&self, name: &str) -> bool {
        name == "lo" || self.interfaces.iter().any(|one| one.name == name)
    }

    fn leaves_by(&self, address: IpAddr) -> Option<String> {
        let sender = self.sender.borrow();
        if let Some((_, name)) = sender.as_ref().filter(|(sender, _)| *sender == address) {
            return Some(name.clone());
        }
        let of = |one: &&Interface| {
            one.addresses.iter().any(|(own, prefix)| network(*own, *prefix).is_some_and(|net| net.contains(&address)))
        };
        let near = self.interfaces.iter().find(of).map(|one| one.name.clone());
        near.or_else(|| self.interfaces.iter().find(|one| !one.containers).map(|one| one.name.clone()))
    }
}

impl Routes for Ground<'_> {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        if self.own.contains(&asked.destination) {
            return Ok(Way::Local);
        }
        if asked.destination.is_loopback() {
            return Ok(if asked.incoming.is_none() {
                Way::Local
            } else {
                Way::Lost("no such address comes in".into())
            });
        }
        let name = self.leaves_by(asked.destination);
        Ok(name.map_or_else(|| Way::Lost("no route leads there".into()), Way::Out))
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        Ok(match address {
            address if self.own.contains(&address) || address.is_loopback() => AddressType::Local,
            address if address.is_multicast() => AddressType::Multicast,
            IpAddr::V4(address) if address.is_broadcast() => AddressType::Broadcast,
            _ => AddressType::Unicast,
        })
    }

    fn leads(&self, address: IpAddr) -> Result<Option<String>, Doubt> {
        let is_own = self.own.contains(&address) || address.is_loopback();
        Ok(if is_own { None } else { self.leaves_by(address) })
    }

    fn source_towards(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        let alike =
            |own: &&IpAddr| own.is_ipv4() == address.is_ipv4() && is_link_local(**own) == is_link_local(address);
        let own = self.own.iter().find(alike).copied();
        own.ok_or_else(|| "from which address this machine sends is not known".into())
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        // No interface has the highest number.
        if self.is_there(interface) { self.real.index(interface) } else { Ok(u32::MAX) }
    }

    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        if self.is_there(interface) { self.real.beneath(interface) } else { Ok(Beneath::default()) }
    }

    fn properties(&self, interface: &str) -> Result<Properties, Doubt> {
        let of = |one: &&Interface| one.name == interface;
        let addresses =
            self.interfaces.iter().find(of).map(|one| one.addresses.iter().map(|(own, _)| *own).collect());
        let addresses: Vec<IpAddr> = addresses.unwrap_or_else(|| self.own.clone());
        if self.is_there(interface) {
            let real = self.real.properties(interface)?;
            return Ok(if real.addresses.is_empty() { Properties { addresses, ..real } } else { real });
        }
        // `ARPHRD_ETHER`
        Ok(Properties { hardware: 1, addresses, ..Properties::default() })
    }
}
