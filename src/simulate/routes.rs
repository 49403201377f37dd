//! Where packets go: the routing, as the simulator uses it.

use super::truth::Doubt;
use crate::ruleset::AddressType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Knows the routes: from the kernel, or from a table in a test.
pub trait Routes {
    /// Where a packet goes.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt>;

    /// The type of an address for this machine, as far as the routing tells.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt>;

    /// The interface that packets of this machine to an address leave by; `None` if no route leads there, or the
    /// address is its own.
    ///
    /// # Errors
    ///
    /// Why it can't be told: there are several, for one.
    fn leads(&self, address: IpAddr) -> Result<Option<String>, Doubt> {
        let source = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Ok(match self.way(&Asked { source, destination: address, incoming: None, mark: 0 })? {
            Way::Out(interface) => Some(interface),
            Way::Local | Way::Lost(_) | Way::Refused(_) => None,
        })
    }

    /// The address that this machine sends from to another address.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn source_towards(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        let _ = address;
        Err("from which address this machine sends is not known".into())
    }

    /// The index of an interface.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn index(&self, interface: &str) -> Result<u32, Doubt>;

    /// The interfaces beneath another, whose packets pass them first when they come in and last when they leave.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        Err(format!("which interfaces are beneath {interface} is not known").into())
    }

    /// What kind of interface it is, and its addresses.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn properties(&self, interface: &str) -> Result<Properties, Doubt> {
        Err(format!("what kind of interface {interface} is is not known").into())
    }

    /// The neighbour that packets to an address are handed to: a gateway, or the address itself.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn next_hop(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        Ok(address)
    }
}

/// An interface as rules ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// `ARPHRD_*`.
    pub hardware: u16,
    /// Its group.
    pub group: u32,
    /// The kernel's name for its kind, such as `bridge`; `None` for hardware and the loopback.
    pub kind: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What is beneath an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beneath {
    /// The ports of a bridge or a bond, or the parent of a VLAN or a macvlan: a packet passes one of them.
    pub interfaces: Vec<String>,
    /// Whether every packet passes one, if there is one.
    pub always: bool,
    /// For a bridge, between whose ports tables of the family `bridge` judge, whether br_netfilter takes what comes in
    /// by a port through prerouting.
    pub bridge: Option<Prerouted>,
}

/// Whether br_netfilter (`bridge-nf-call-iptables`) takes what comes in by the ports of a bridge through prerouting, by
/// IP version; `None` if that is not known.
pub type Prerouted = [Option<bool>; 2];

impl Default for Beneath {
    /// Nothing: most interfaces send their packets themselves.
    fn default() -> Self {
        Self { interfaces: Vec::new(), always: true, bridge: None }
    }
}

/// A packet to ask the routing about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'p> {
    /// Its source.
    pub source: IpAddr,
    /// Its destination, after any translation.
    pub destination: IpAddr,
    /// The interface that it came in by; `None` if this machine sends it.
    pub incoming: Option<&'p str>,
    /// Its mark.
    pub mark: u32,
}

/// Where a packet goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To this machine.
    Local,
    /// Out by that interface.
    Out(String),
    /// Nowhere, and its sender hears nothing: the reason as a clause, "this machine does not forward".
    Lost(Doubt),
    /// Nowhere, and its sender is told: the reason as a clause.
    Refused(Doubt),
}

/// Routes of which those to elsewhere leave by one interface.
pub struct LeavingBy<'r> {
    /// The routing otherwise.
    pub routes: &'r dyn Routes,
    /// Who opens the connection: what is sent to it goes the usual way.
    pub opener: IpAddr,
    /// The interface.
    pub interface: String,
}

impl Routes for LeavingBy<'_> {
    fn way(&self, asked: &Asked<'_>) -> Result<Way, Doubt> {
        match self.routes.way(asked)? {
            Way::Out(_) if asked.destination != self.opener => Ok(Way::Out(self.interface.clone())),
            way => Ok(way),
        }
    }

    fn address_type(&self, address: IpAddr) -> Result<AddressType, Doubt> {
        self.routes.address_type(address)
    }

    fn leads(&self, address: IpAddr) -> Result<Option<String>, Doubt> {
        let interface = self.routes.leads(address)?;
        Ok(interface.map(|usual| if address == self.opener { usual } else { self.interface.clone() }))
    }

    fn source_towards(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        if address == self.opener {
            return self.routes.source_towards(address);
        }
        let own = self.routes.properties(&self.interface)?.addresses;
        let alike = own.into_iter().find(|own| own.is_ipv4() == address.is_ipv4());
        alike.ok_or_else(|| format!("{} has no address to send to {address} from", self.interface).into())
    }

    fn index(&self, interface: &str) -> Result<u32, Doubt> {
        self.routes.index(interface)
    }

    fn beneath(&self, interface: &str) -> Result<Beneath, Doubt> {
        self.routes.beneath(interface)
    }

    fn properties(&self, interface: &str) -> Result<Properties, Doubt> {
        self.routes.properties(interface)
    }

    fn next_hop(&self, address: IpAddr) -> Result<IpAddr, Doubt> {
        self.routes.next_hop(address)
    }
}
