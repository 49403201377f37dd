//! nf_tables over netlink: a [`Transaction`](crate::transaction::Transaction) to bytes, and a dump to a
//! [`Table`](crate::ruleset::Table).
//!
//! The `nftnl` crate writes tables, chains, rules and expressions; sets and elements have a direct writer, because a
//! million elements as libnftnl objects cost 1.6 s and 319 MB. All reading is our own, safe and total: libnftnl fails a
//! whole rule on one expression that it does not know.
//!
//! Beside it, the connections that the kernel tracks ([`conntrack`]) and the routes that it would take ([`route`]).

mod attr;
mod batch;
mod channel;
pub mod conntrack;
mod decode;
mod elements;
mod encode;
mod error;
mod expr;
mod handles;
mod live;
mod problem;
pub mod route;
mod set;
mod snapshot;
mod socket;
mod stored;
mod trial;
mod uapi;
mod verdict;
mod way;
mod write;

pub use batch::Batch;
pub use channel::End;
pub use encode::encode;
pub use error::{CommitError, NetlinkError};
pub use handles::Handles;
pub use live::{Live, LiveSets};
pub use problem::{EncodeError, Problem};
pub use snapshot::Snapshot;
pub use socket::Socket;
pub use stored::{from_bytes, to_bytes};

#[cfg(test)]
mod tests;
