//! Values of the network that need nothing else: addresses, ports and protocols.

mod intervals;
mod ports;
pub mod protocol;

pub use intervals::{AddressRange, Addresses, Intervals};
pub use ports::{Ports, Transport};
