//! What every room knows of networks: IP versions, names of interfaces, and where in a header a field lies. Plain values, which
//! use nothing else of palisade.

pub mod header;
mod ifname;
mod version;

pub use ifname::{IfName, IfPattern};
pub use version::{Version, address, is_prefix, number, octets};
