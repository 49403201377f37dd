//! Connections of this machine's own sockets, where conntrack does not know who began them.
//!
//! Nothing is tracked before the first table asks for it, and tracked connections can be forgotten (`conntrack -F`).
//! Conntrack then takes the next sender for the side that began: in a download, the server. A socket does not know
//! who began either, but if another socket listens on its port, the other side did.

use super::judge::{Judge, Judgement};
use crate::net::protocol;
use crate::netlink::conntrack::{Entry, Layer4, Tuple};
use crate::netlink::{ConnectedSocket, ListeningSocket, connected_sockets, listening_sockets};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// The lowest port of clients that choose none themselves: Linux's default; other systems begin higher.
const CLIENTS_SEND_FROM: u16 = 32_768;

/// The open connections of sockets, each as the tuple of what this machine sends.
#[derive(Default)]
pub(super) struct Streams {
    open: HashSet<Tuple>,
    /// The users who made their sockets.
    users: HashMap<Tuple, u32>,
}

/// The judged connections.
#[derive(Default)]
pub(super) struct Judged {
    /// Those that lost their access, and whether to remember what this machine sends on them.
    pub lost: Vec<(Tuple, bool)>,
    /// Those that lose it only if a certain side began them.
    pub unsure: Vec<Tuple>,
}

impl Streams {
    /// Those of this network namespace, without this machine's traffic with itself.
    pub(super) fn read() -> Self {
        let sockets = connected_sockets().unwrap_or_else(|error| {
            tracing::warn!("connections that the kernel has not seen begin may go on: {error}");
            Vec::new()
        });
        let elsewhere = |socket: &&ConnectedSocket| {
            let remote = socket.remote.ip();
            remote != socket.local.ip() && !remote.is_loopback() && socket.remote.port() != 0
        };
        let sockets: Vec<&ConnectedSocket> = sockets.iter().filter(elsewhere).collect();
        let user = |socket: &&ConnectedSocket| Some((sent(socket), socket.user?));
        Self { open: sockets.iter().copied().map(sent).collect(), users: sockets.iter().filter_map(user).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes out which user's each connection is.
    pub(super) fn take_users(&mut self) -> HashMap<Tuple, u32> {
        std::mem::take(&mut self.users)
    }

    /// The stream of a conntrack entry that does not show who began it. If the entry does show it, the stream is
    /// removed and `None` returned: the entry is judged instead.
    pub(super) fn better_known_than(&mut self, entry: &Entry) -> Option<Tuple> {
        let began_elsewhere = self.open.contains(&entry.reply);
        let stream = if began_elsewhere { entry.reply } else { *self.open.get(&entry.original)? };
        // Datagrams have no beginning: a flow that seems to have begun here may have been under way before.
        let is_told = match stream.protocol {
            protocol::TCP => !entry.picked_up,
            _ => began_elsewhere,
        };
        if is_told {
            self.open.remove(&stream);
        }
        (!is_told).then_some(stream)
    }

    /// Judges the remaining streams.
    pub(super) fn judge(self, judge: &mut Judge<'_>) -> Judged {
        let mut judged = Judged::default();
        if self.open.is_empty() {
            return judged;
        }
        let listeners = listening_sockets().unwrap_or_else(|error| {
            tracing::warn!("could not see on which ports programs listen: {error}");
            Vec::new()
        });
        let first_own = first_own_port();
        for stream in self.open {
            let mut judgements = Vec::with_capacity(2);
            let began = who_began(&stream, &listeners, first_own);
            if began != Some(Side::This) {
                judgements.push(judge.of_tuple(&stream.inverted()));
            }
            if began != Some(Side::Other) {
                judgements.push(judge.of_tuple(&stream));
            }
            let remembered = |judgement: &Judgement| matches!(judgement, Judgement::Lost { began_here: false });
            if !judgements.contains(&Judgement::Kept) {
                judged.lost.push((stream, judgements.iter().any(remembered)));
            } else if judgements.iter().any(|judgement| *judgement != Judgement::Kept) {
                judged.unsure.push(stream);
            }
        }
        judged
    }
}

fn sent(socket: &ConnectedSocket) -> Tuple {
    Tuple {
        source: socket.local.ip(),
        destination: socket.remote.ip(),
        protocol: socket.protocol,
        layer4: Layer4::Ports { source: socket.local.port(), destination: socket.remote.port() },
    }
}

/// The side that began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    This,
    Other,
}

/// The side that began, if it can be told. `first_own` is the lowest port that this machine assigns to sockets.
fn who_began(stream: &Tuple, listeners: &[ListeningSocket], first_own: u16) -> Option<Side> {
    let (port, remote_port) = stream.ports()?;
    let answers = |listener: &&ListeningSocket| {
        (listener.protocol, listener.port) == (stream.protocol, port) && listens_at(listener, stream.source)
    };
    if listeners.iter().any(|listener| answers(&listener)) {
        return Some(Side::Other);
    }
    // A server may have stopped listening, but clients would not have known of a server on an automatically assigned
    // port.
    (port >= first_own && remote_port < CLIENTS_SEND_FROM).then_some(Side::This)
}

fn listens_at(listener: &ListeningSocket, address: IpAddr) -> bool {
    let any_of_family = listener.address.is_unspecified() && listener.address.is_ipv4() == address.is_ipv4();
    listener.address == address || any_of_family || listener.both
}

/// The lowest port that this machine assigns to sockets (`net.ipv4.ip_local_port_range`, for IPv6 as well).
fn first_own_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(CLIENTS_SEND_FROM)
}

/// `TCP 203.0.113.1:2049 with 198.51.100.7:700`
pub(super) fn in_words(tuple: &Tuple) -> String {
    let protocol = match tuple.protocol {
        protocol::TCP => "TCP".to_owned(),
        protocol::UDP => "UDP".to_owned(),
        number => format!("protocol {number}"),
    };
    match tuple.ports() {
        Some((source, destination)) => {
            let [here, there] = [(tuple.source, source), (tuple.destination, destination)].map(SocketAddr::from);
            format!("{protocol} {here} with {there}")
        }
        None => format!("{protocol} {} with {}", tuple.source, tuple.destination),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "203.0.113.1";

    fn stream(port: u16, remote_port: u16) -> Tuple {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let layer4 = Layer4::Ports { source: port, destination: remote_port };
        Tuple { source: address(LOCAL), destination: address("198.51.100.7"), protocol: protocol::TCP, layer4 }
    }

    fn listener(address: &str, port: u16, both: bool) -> ListeningSocket {
        let address = address.parse().expect("an address");
        ListeningSocket { protocol: protocol::TCP, port, address, both, interface: None, inode: 0 }
    }

    #[test]
    fn who_began_a_connection_is_told_by_who_listens_and_by_who_sends_from_which_port() {
        let (this, other) = (Some(Side::This), Some(Side::Other));
        let cases = [
            ("0.0.0.0", false, (9000, 50_000), other),
            ("::", true, (9000, 50_000), other),
            ("::", false, (9000, 50_000), None),
            (LOCAL, false, (9000, 50_000), other),
            (LOCAL, false, (9000, 443), other),
            ("127.0.0.1", false, (9000, 50_000), None),
            (LOCAL, false, (40_000, 443), this),
            // The listener may be closed by now, as FTP servers do it.
            (LOCAL, false, (40_000, 50_000), None),
            (LOCAL, false, (2049, 700), None),
        ];
        for (address, both, (port, remote_port), began) in cases {
            let listeners = [listener(address, 9000, both)];
            let told = who_began(&stream(port, remote_port), &listeners, CLIENTS_SEND_FROM);
            assert_eq!(told, began, "{port} with {remote_port}, {address} listens");
        }
        // Here any port may have been assigned.
        assert_eq!(who_began(&stream(2049, 700), &[], 1024), this);
    }

    #[test]
    fn connections_are_named_by_both_ends() {
        assert_eq!(in_words(&stream(9000, 700)), "TCP 203.0.113.1:9000 with 198.51.100.7:700");
        let tunnel = Tuple { protocol: 47, layer4: Layer4::None, ..stream(0, 0) };
        assert_eq!(in_words(&tunnel), "protocol 47 203.0.113.1 with 198.51.100.7");
    }
}
