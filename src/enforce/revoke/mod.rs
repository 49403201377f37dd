//! Revocation: ends established connections that the new rules would not let begin.
//!
//! The rules accept what conntrack calls established, so a connection outlives the rule that admitted it until its
//! conntrack entry is deleted. Deleting the entry alone would not end a download, so the connection's replies are
//! first added to the sets of the chain `revoked`. Where conntrack does not know who began a connection, this
//! machine's sockets decide.

mod judge;
mod remembered;
mod streams;

use crate::net::protocol;
use crate::netlink::conntrack::{Conntrack, Entry, Tuple, Zones};
use crate::netlink::{NetlinkError, Socket};
use crate::ruleset::{Table, TableId};
use judge::{Judge, Judgement};
use std::cmp::Reverse;
use std::collections::HashSet;
use streams::{Streams, in_words};

/// `TCP_CONNTRACK_TIME_WAIT`, `TCP_CONNTRACK_CLOSE`: both sides have closed the connection, and conntrack treats
/// another one between them as new.
const CLOSED: [u8; 2] = [7, 8];

/// Ends the connections of this network namespace that `now` denies and `before` accepted; returns how many. Without
/// a table before, everything was accepted.
///
/// Undecidable connections are left alone, where packets may take several paths or foreign rules decide, and so is
/// this machine's traffic with itself. If it can't be told which side began a connection, and that decides its
/// access, a warning says so.
///
/// # Errors
///
/// The kernel's error. If the kernel can't list connections, only sockets are checked.
pub fn revoke(socket: &Socket, id: &TableId, before: Option<&Table>, now: &Table) -> Result<usize, NetlinkError> {
    let mut streams = Streams::read();
    let mut conntrack = match Conntrack::open() {
        Err(NetlinkError::NoConntrack) => None,
        conntrack => Some(conntrack?),
    };
    // Listing walks the kernel's whole table, which all namespaces share: milliseconds even if it is empty.
    let tracked = match &conntrack {
        Some(conntrack) => conntrack.count()?,
        None => 0,
    };
    if tracked == 0 && streams.is_empty() {
        return Ok(0);
    }
    let mut judge = Judge::new(id, before, now, streams.take_users())?;
    let mut found = Found::default();
    if let Some(conntrack) = conntrack.as_mut().filter(|_| tracked > 0) {
        conntrack.entries(|entry| found.look_at(entry, &mut streams, &mut judge))?;
    }
    found.look_at_sockets(streams, &mut judge);
    if let Some(error) = judge.unroutable {
        tracing::warn!("could not ask how all connections are routed, so some may go on: {error}");
    }
    found.say_what_is_not_known();
    found.end(socket, id, now, conntrack.as_mut())
}

/// The connections found, sorted.
#[derive(Default)]
struct Found {
    /// Connections that lost their access, and whether to remember what this machine sends on them.
    lost: Vec<(Entry, bool)>,
    /// The same for sockets, each as the tuple of what this machine sends.
    lost_streams: Vec<(Tuple, bool)>,
    /// Entries of sockets' connections that do not show who began them.
    of_streams: Vec<Entry>,
    /// Connections that lose their access only if a certain side began them.
    unsure: Vec<Tuple>,
}

impl Found {
    fn look_at(&mut self, entry: Entry, streams: &mut Streams, judge: &mut Judge<'_>) {
        if entry.tcp_state.is_some_and(|state| CLOSED.contains(&state)) {
            return;
        }
        if streams.better_known_than(&entry).is_some() {
            self.of_streams.push(entry);
            return;
        }
        match judge.of_entry(&entry) {
            Judgement::Lost { began_here } => self.lost.push((entry, !began_here)),
            // A forwarded connection has no local socket to consult.
            Judgement::Kept if entry.picked_up && is_untranslated(&entry) => {
                if let Judgement::Lost { began_here: false } = judge.of_tuple(&entry.reply) {
                    self.unsure.push(entry.original);
                }
            }
            Judgement::Kept => {}
        }
    }

    fn look_at_sockets(&mut self, streams: Streams, judge: &mut Judge<'_>) {
        let judged = streams.judge(judge);
        self.lost_streams = judged.lost;
        self.unsure.extend(judged.unsure);
        let lost: HashSet<&Tuple> = self.lost_streams.iter().map(|(stream, _)| stream).collect();
        self.of_streams.retain(|entry| lost.contains(&entry.original) || lost.contains(&entry.reply));
    }

    fn say_what_is_not_known(&self) {
        if let Some(one) = self.unsure.first() {
            tracing::warn!(
                "{} that the kernel has not seen begin may go on, since it can't be told which side began ({}): restart \
                 the programs that serve them to end them",
                connections(self.unsure.len()),
                in_words(one)
            );
        }
        // ICMP answers revive nothing: conntrack never treats one as the start of a connection.
        let forgotten = |(entry, remembered): &&(Entry, bool)| {
            let icmp = [protocol::ICMP, protocol::ICMPV6].contains(&entry.reply.protocol);
            *remembered && !icmp && !remembered::can_be_remembered(&entry.reply)
        };
        let mut forgotten = self.lost.iter().filter(forgotten);
        if let Some((one, _)) = forgotten.next() {
            tracing::warn!(
                "{} that lost their access may be revived by what this machine sends, since nothing tells it from what \
                 begins one ({})",
                connections(forgotten.count() + 1),
                in_words(&one.reply)
            );
        }
    }

    /// Remembers the flows that would revive lost connections, deletes their entries, and returns how many ended.
    fn end(
        mut self,
        socket: &Socket,
        id: &TableId,
        table: &Table,
        conntrack: Option<&mut Conntrack>,
    ) -> Result<usize, NetlinkError> {
        // If not all fit, those in use come first.
        self.lost.sort_by_key(|(entry, _)| Reverse(entry.liveliness()));
        let of_streams = self.lost_streams.iter().filter(|(_, remembered)| *remembered).map(|(stream, _)| *stream);
        let of_entries = self.lost.iter().filter(|(_, remembered)| *remembered).map(|(entry, _)| entry.reply);
        let flows: Vec<Tuple> = of_streams.chain(of_entries).collect();
        if let Err((left, error)) = remembered::remember(socket, id, table, &flows) {
            let lost = connections(left);
            tracing::warn!("{lost} that lost their access may be revived by what this machine sends: {error}");
        }
        let Some(conntrack) = conntrack else { return Ok(self.lost_streams.len()) };
        // Also delete entries made since the socket was read, whichever side conntrack takes for the originator.
        self.of_streams.extend(self.lost_streams.iter().map(|(stream, _)| whatever_has(*stream)));
        let of_streams = conntrack.delete(&self.of_streams);
        let entries: Vec<Entry> = self.lost.into_iter().map(|(entry, _)| entry).collect();
        let ended = conntrack.delete(&entries)?.deleted + self.lost_streams.len();
        of_streams.map(|_| ended)
    }
}

fn is_untranslated(entry: &Entry) -> bool {
    !entry.is_destination_translated() && !entry.is_source_translated()
}

/// An entry that matches any connection with that tuple outside of any zone; the kernel looks in both directions.
fn whatever_has(tuple: Tuple) -> Entry {
    Entry {
        original: tuple,
        reply: tuple.inverted(),
        zones: Zones::default(),
        status: 0,
        id: None,
        mark: 0,
        tcp_state: None,
        picked_up: false,
        timeout: None,
    }
}

/// `1 connection`, `2 connections`
fn connections(number: usize) -> String {
    format!("{number} connection{}", if number == 1 { "" } else { "s" })
}
