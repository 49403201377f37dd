//! Network types for all rooms: addresses, ports, protocols, IP versions, interface names and the places of header
//! fields. Plain values, which use nothing else of palisade.

mod beside;
pub mod header;
mod ifname;
mod intervals;
mod ports;
pub mod protocol;
mod version;

pub use beside::beside_addresses;
pub use ifname::{IfName, IfPattern};
pub use intervals::{AddressRange, Addresses, Intervals};
pub use ports::{Ports, Transport};
pub use version::{Version, address, is_prefix, number, octets, prefix_len, range_in_words};
