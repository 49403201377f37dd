//! Revocation: a connection that the new rules would not let begin ends, although it is established.
//!
//! The rules accept what conntrack calls established, so a connection outlives the line that admitted it until its
//! entry is deleted. That alone would not end a download: see the chain `revoked`, to whose sets the connection's replies
//! are added first. Where conntrack does not know who began a connection, the sockets of this machine are asked.

mod judge;
mod remembered;
mod streams;

use crate::net::protocol;
use crate::netlink::conntrack::{Conntrack, Entry, Tuple, Zones};
use crate::netlink::{NetlinkError, Socket};
use crate::ruleset::{Table, TableId};
use judge::{Fate, Judge};
use std::cmp::Reverse;
use std::collections::HashSet;
use streams::{Streams, in_words};

/// `TCP_CONNTRACK_TIME_WAIT`, `TCP_CONNTRACK_CLOSE`: both sides are done with the connection, and a new one between them
/// is new to conntrack too.
const CLOSED: [u8; 2] = [7, 8];

/// Ends the connections of this network namespace that `now` would deny and `before` let begin, and tells how many. No
/// table before let everything begin.
///
/// What can't be told, because a connection's packets may take more than one way or rules of a foreign kind decide, is
/// left alone, and so is what this machine says to itself. Where it can't be told which side began a connection, and it would
/// have lost its access by that, a warning says so.
///
/// # Errors
///
/// What the kernel says. A kernel that can't list connections is asked for its sockets alone.
pub fn revoke(socket: &Socket, id: &TableId, before: Option<&Table>, now: &Table) -> Result<usize, NetlinkError> {
    let mut streams = Streams::read();
    let mut conntrack = match Conntrack::open() {
        Err(NetlinkError::NoConntrack) => None,
        conntrack => Some(conntrack?),
    };
    // The list costs a walk through the kernel's whole table, which all namespaces share: milliseconds even when it is empty.
    let tracked = match &conntrack {
        Some(conntrack) => conntrack.count()?,
        None => 0,
    };
    if tracked == 0 && streams.is_empty() {
        return Ok(0);
    }
    let mut judge = Judge::new(id, before, now)?;
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

/// What the kernel told, sorted.
#[derive(Default)]
struct Found {
    /// Connections that lost their access, and whether what this machine sends on them is to be remembered.
    lost: Vec<(Entry, bool)>,
    /// The same of sockets, each as the tuple of what this machine sends.
    lost_streams: Vec<(Tuple, bool)>,
    /// Entries of sockets' connections that do not tell who began them.
    of_streams: Vec<Entry>,
    /// Connections that would have lost it if the one or the other side had begun them.
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
            Fate::Lost { began_here } => self.lost.push((entry, !began_here)),
            // Of what is routed there is no socket to ask.
            Fate::Kept if entry.picked_up && is_untranslated(&entry) => {
                if let Fate::Lost { began_here: false } = judge.of_tuple(&entry.reply) {
                    self.unsure.push(entry.original);
                }
            }
            Fate::Kept => {}
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
        // An answer of ICMP revives nothing: conntrack takes none for a beginning.
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

    /// Remembers what would revive the lost ones, then deletes their entries; gives how many connections ended.
    fn end(
        mut self,
        socket: &Socket,
        id: &TableId,
        table: &Table,
        conntrack: Option<&mut Conntrack>,
    ) -> Result<usize, NetlinkError> {
        // Whatever does not fit, those that are in use do.
        self.lost.sort_by_key(|(entry, _)| Reverse(entry.liveliness()));
        let of_streams = self.lost_streams.iter().filter(|(_, remembered)| *remembered).map(|(stream, _)| *stream);
        let of_entries = self.lost.iter().filter(|(_, remembered)| *remembered).map(|(entry, _)| entry.reply);
        let flows: Vec<Tuple> = of_streams.chain(of_entries).collect();
        if let Err((left, error)) = remembered::remember(socket, id, table, &flows) {
            let lost = connections(left);
            tracing::warn!("{lost} that lost their access may be revived by what this machine sends: {error}");
        }
        let Some(conntrack) = conntrack else { return Ok(self.lost_streams.len()) };
        // What was tracked since its socket was looked at is deleted as well, whoever conntrack takes to have begun it.
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

/// An entry that names any with that tuple in one direction, outside of any zone: the kernel looks in both.
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
