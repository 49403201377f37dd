//! nf_tables over netlink: a [`Transaction`](crate::ruleset::Transaction) to bytes, and a dump to a
//! [`Table`](crate::ruleset::Table).
//!
//! The `nftnl` crate writes tables, chains, rules and expressions; sets and elements have a direct writer, because a
//! million elements as libnftnl objects cost 1.6 s and 319 MB. All reading is our own, safe and total: libnftnl fails a
//! whole rule on one expression that it does not know.
//!
//! Beside it, the connections that the kernel tracks ([`conntrack`]), the routes that it would take ([`routing`]) and the
//! interfaces that there are ([`Link`], [`RoutedLink`]).

pub mod conntrack;
mod diag;
mod nftables;
mod readers;
pub mod routing;
mod wire;

pub use diag::{ConnectedSocket, ListeningSocket, TcpSocket, connected_sockets, listening_sockets, tcp_sockets};
pub use nftables::batch::Batch;
pub use nftables::encode::encode;
pub use nftables::handles::Handles;
pub use nftables::live::{Live, LiveSets};
pub use nftables::members::{Members, members};
pub use nftables::problem::{EncodeError, Problem};
pub use nftables::snapshot::{Known, Reading, Snapshot};
pub use nftables::socket::Socket;
pub use nftables::stored::{from_bytes, to_bytes};
pub use nftables::watch::Watch;
#[doc(hidden)]
pub use readers::read_everything;
pub use routing::links::Link;
pub use routing::topology::RoutedLink;
pub use wire::channel::End;
pub use wire::error::{CommitError, NetlinkError};

#[cfg(test)]
mod tests;
