//! nf_tables over netlink: encodes a [`Transaction`](crate::ruleset::Transaction), and decodes a dump to a
//! [`Table`](crate::ruleset::Table).
//!
//! The `nftnl` crate writes tables, chains, rules and expressions. Sets and elements are written directly, because a
//! million elements as libnftnl objects cost 1.6 s and 319 MB. All decoding is our own, safe and total: libnftnl
//! rejects a whole rule for one expression that it does not know.
//!
//! It also reads tracked connections ([`conntrack`]), routes ([`routing`]) and interfaces ([`Link`], [`RoutedLink`]).

pub mod conntrack;
mod diag;
mod nftables;
mod readers;
pub mod routing;
mod wire;

pub use diag::{ConnectedSocket, ListeningSocket, TcpSocket, connected_sockets, listening_sockets, tcp_sockets};
pub use nftables::batch::Batch;
pub use nftables::counted::{CountedElement, counted_elements};
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
