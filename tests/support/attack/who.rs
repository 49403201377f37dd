//! Who is on the stage, by link address and by IP addresses.

use crate::support::tap::Mac;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where frames are sent from and come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The host itself, once its rules have let it in.
    Host,
    /// The segment at `eth0`.
    Outside,
    /// The segment at `eth1`.
    Uplink,
    C1,
    C2,
    C3,
    Guest,
}

/// Who is in a place.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub name: &'static str,
    pub place: Place,
    pub mac: Mac,
    pub addresses: [IpAddr; 2],
}

impl Who {
    const fn new(name: &'static str, place: Place, mac: u16, v4: [u8; 4], v6: [u16; 3]) -> Self {
        let [high, low] = mac.to_be_bytes();
        let v4 = IpAddr::V4(Ipv4Addr::new(v4[0], v4[1], v4[2], v4[3]));
        let v6 = IpAddr::V6(Ipv6Addr::new(v6[0], v6[1], 0, 0, 0, 0, 0, v6[2]));
        Self { name, place, mac: [2, 0, 0, 0, high, low], addresses: [v4, v6] }
    }

    pub fn address(&self, six: bool) -> IpAddr {
        self.addresses[usize::from(six)]
    }

    /// Its address on its link, as the kernel makes it of the link address.
    pub fn link_local(&self) -> IpAddr {
        let last = u16::from_be_bytes([self.mac[4], self.mac[5]]);
        IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, last))
    }
}

pub const TRUSTED: Who = Who::new("trusted", Place::Outside, 0x09, [203, 0, 113, 9], [0x2001, 0xdb8, 9]);
pub const STRANGER: Who = Who::new("a stranger", Place::Outside, 0x66, [203, 0, 113, 66], [0x2001, 0xdb8, 0x66]);
/// The host's default gateway, and the machines behind it.
pub const ROUTER: Who = Who::new("the router", Place::Outside, 0xfe, [203, 0, 113, 254], [0x2001, 0xdb8, 0xfe]);
pub const FAR: Who = Who::new("somebody far away", Place::Outside, 0xfe, [198, 51, 100, 7], [0x2001, 0xdb9, 7]);
pub const LAN: Who = Who::new("the neighbour at eth1", Place::Uplink, 0x109, [10, 77, 0, 2], [0xfd77, 0, 2]);
pub const C1: Who = Who::new("c1", Place::C1, 0x1702, [172, 17, 0, 2], [0xfd00, 0x17, 2]);
pub const C2: Who = Who::new("c2", Place::C2, 0x1703, [172, 17, 0, 3], [0xfd00, 0x17, 3]);
pub const C3: Who = Who::new("c3", Place::C3, 0x1802, [172, 18, 0, 2], [0xfd00, 0x18, 2]);
/// A machine behind a bridge that no policy names.
pub const GUEST: Who = Who::new("the guest", Place::Guest, 0x3002, [172, 30, 0, 2], [0xfd00, 0x30, 2]);

/// The host at each of its interfaces.
pub const HOST: Who = Who::new("the host", Place::Outside, 0x01, [203, 0, 113, 1], [0x2001, 0xdb8, 1]);
pub const HOST_UPLINK: Who = Who::new("the host at eth1", Place::Uplink, 0x101, [10, 77, 0, 1], [0xfd77, 0, 1]);
pub const DOCKER0: Who = Who::new("the host at docker0", Place::C1, 0x1701, [172, 17, 0, 1], [0xfd00, 0x17, 1]);
pub const BR_APP: Who = Who::new("the host at br-app", Place::C3, 0x1801, [172, 18, 0, 1], [0xfd00, 0x18, 1]);
pub const MYBR0: Who = Who::new("the host at mybr0", Place::Guest, 0x3001, [172, 30, 0, 1], [0xfd00, 0x30, 1]);

impl Place {
    /// The host as it is seen from there.
    pub fn host(self) -> Who {
        match self {
            Self::Host | Self::Outside => HOST,
            Self::Uplink => HOST_UPLINK,
            Self::C1 | Self::C2 => DOCKER0,
            Self::C3 => BR_APP,
            Self::Guest => MYBR0,
        }
    }
}
