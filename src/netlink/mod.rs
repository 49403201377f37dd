//! nf_tables over netlink: a [`Transaction`](crate::transaction::Transaction) to bytes, and a dump to a
//! [`Table`](crate::ruleset::Table).
//!
//! The `nftnl` crate writes tables, chains, rules and expressions; sets and elements have a direct writer, because a
//! million elements as libnftnl objects cost 1.6 s and 319 MB. All reading is our own, safe and total: libnftnl fails a
//! whole rule on one expression that it does not know.
//!
//! Beside it, the connections that the kernel tracks ([`conntrack`]), the routes that it would take ([`route`]) and the
//! interfaces that there are ([`Link`], [`RoutedLink`]).

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
mod links;
mod live;
mod lookup;
mod members;
mod problem;
mod readers;
pub mod route;
mod set;
mod snapshot;
mod socket;
mod sockets;
mod stored;
mod topology;
mod trial;
mod uapi;
mod verdict;
mod watch;
mod way;
mod write;

pub use batch::Batch;
pub use channel::End;
pub use encode::encode;
pub use error::{CommitError, NetlinkError};
pub use handles::Handles;
pub use links::Link;
pub use live::{Live, LiveSets};
pub use members::{Members, members};
pub use problem::{EncodeError, Problem};
#[doc(hidden)]
pub use readers::read_everything;
pub use snapshot::{Known, Reading, Snapshot};
pub use socket::Socket;
pub use sockets::{ConnectedSocket, ListeningSocket, TcpSocket, connected_sockets, listening_sockets, tcp_sockets};
pub use stored::{from_bytes, to_bytes};
pub use topology::RoutedLink;
pub use watch::Watch;

#[cfg(test)]
mod tests;
